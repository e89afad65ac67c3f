"""A server of the studio in a process of its own, as programs know it: by its address, and by the processes that it starts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[2]
# With a busy machine beside us a server may take long to answer for the first time.
START_S = 600.0
ASK_S = 120.0


class NoAnswer(Exception):
    """The server is not there, or went away while it was asked."""


class Studio:
    """One server on one runs folder. `start` may be called again once it is dead."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            RuntimeError: it ended instead.
            TimeoutError: it never answered.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(exist_ok=True)
        quiet = {
            "HF_HUB_OFFLINE": "1",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        own = {"AITRAINING_HOME": str(self.root), "PORT": str(self.port), "TMPDIR": str(self.temporary)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=PROJECT, env={**os.environ, **quiet, **own}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while not self.answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"The server ended with code {self.process.returncode}: {self.log.read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError("The server never answered.")
            time.sleep(0.1)

    @property
    def temporary(self) -> Path:
        return self.root.with_name(f"{self.root.name}-tmp")

    @property
    def log(self) -> Path:
        return self.root.with_name(f"{self.root.name}-server.log")

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/studio/api/runs")[0] == 200
        except NoAnswer:
            return False

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of one request.

        Raises:
            NoAnswer: there was none.
        """
        data = None if body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            sent["Content-Type"] = "application/json"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ASK_S) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")
        except (OSError, ValueError) as error:
            raise NoAnswer(str(error)) from error

    def standby(self) -> psutil.Process | None:
        """The process that waits with its libraries loaded, if there is one."""
        if self.process is None:
            return None
        for process in _children(self.process.pid):
            if "engine.worker.standby" in _words(process):
                return process
        return None

    def warm(self) -> bool:
        """Whether its standby takes orders."""
        return self.standby() is not None and any(self.temporary.glob("aitraining-*/standby"))

    def end(self, which: signal.Signals, timeout_s: float = 180.0) -> int:
        """End the server and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it did not end.
        """
        assert self.process is not None
        self.process.send_signal(which)
        return self.process.wait(timeout_s)


def ours(root: Path) -> Iterator[psutil.Process]:
    """Every living process that belongs to a runs folder: servers, standbys, workers and what they started."""
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("AITRAINING_HOME") == str(root):
                yield process
        except psutil.Error:
            continue


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
