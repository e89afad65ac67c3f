"""The standby: a process that has imported torch and waits, so that a job starts in a second and not in ten.

Owns starting it, asking it for a process, and letting it go. It is a help only: whoever gets None from `ask` starts
the job cold. Linux only, since it forks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from engine.runs.channel import Channel

_lock = threading.Lock()
_server: _Standby | None = None

_ANSWER_S = 10.0


class _Standby:
    """The running fork server: its process, its socket's folder, and whether it is ready."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aitraining-"))  # 0700: nobody else may ask for processes
        self.address = str(self.folder / "standby")
        from engine.runs.launcher import worker_environment

        log = (self.folder / "log").open("wb")
        # One thread and no background threads: forking a process with threads is how fork servers hang.
        # PyTorch must count GPUs without touching them: a GPU that was touched before the fork is lost to the child.
        alone = {
            "OPENBLAS_NUM_THREADS": "1",
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine.worker.standby", self.address],
            stdin=subprocess.PIPE,  # its end tells the server that its owner is gone
            stdout=subprocess.PIPE,
            stderr=log,
            env={**worker_environment(), **alone},
            cwd=Path(__file__).resolve().parents[2],
            start_new_session=True,
        )
        log.close()
        self.ready = False

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):  # closed by an app that ends while we wait
            self.ready = self.process.stdout.readline().strip() == b"ready"

    def trouble(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def ensure_standby() -> bool:
    """Start the standby if there is none and wait until it is ready; False where it cannot be had.

    A standby that cannot import its libraries is reported on standard error, and jobs start cold.
    """
    global _server
    if not sys.platform.startswith("linux"):
        return False
    with _lock:
        if _server is not None and _server.process.poll() is None:
            return _server.ready
        if _server is not None:
            _server.close()  # it was killed, or could not start
        _server = server = _Standby()
    server.wait_until_ready()
    if not server.ready and server is _server:
        print(f"The standby process did not start; runs start slower.\n{server.trouble()}", file=sys.stderr)
    return server.ready


def standby_ready() -> bool:
    return _server is not None and _server.ready and _server.process.poll() is None


def close_standby() -> None:
    """Let the standby go. Processes that came from it go on."""
    global _server
    with _lock:
        server, _server = _server, None
    if server is not None:
        server.close()


def ask(job: str, args: dict[str, Any], *, log: Path | None, env: dict[str, str]) -> tuple[int, Channel] | None:
    """A process that does `job`: its pid, and a channel to it. None when there is no standby to ask."""
    server = _server
    if server is None or not standby_ready():
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel = Channel(connection)
    try:
        connection.connect(server.address)
        channel.send({"job": job, "args": args, "log": str(log) if log else None, "env": env, "cwd": os.getcwd()})
        answer = channel.receive(_ANSWER_S)
    except (OSError, TimeoutError):
        answer = None
    if answer is None:
        channel.close()
        return None
    return int(answer["pid"]), channel
