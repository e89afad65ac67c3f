"""Starts and ends processes; the only place that does. Knows jobs by name, not what they do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from engine import keys
from engine.errors import RunNotFound
from engine.people import environment, queue_root
from engine.runs import process, standby
from engine.runs.channel import Channel
from engine.runs.directory import RunDirectory
from engine.runs.family import Family
from engine.runs.lock import FileLock
from engine.runs.status import Status

# How long a worker that was asked to stop may be silent before it is told to end, and then before it is killed. One that
# gives signs of life (it saves a large model, say) is waited for.
GRACE_S = 60.0
TERM_S = 5.0

_PROJECT = Path(__file__).resolve().parents[2]


def worker_environment(secrets: Iterable[str] = ()) -> dict[str, str]:
    """The environment of a process that holds a model: this one's, plus what keeps such a process quiet and polite.

    Of the secrets in it (engine/keys.py) only those named in `secrets` are handed on.

    OMP_WAIT_POLICY=PASSIVE lets threads sleep while they wait: beside the page (or any other busy process) spinning
    threads were measured several times slower. A short spin of GNU's OpenMP (GOMP_SPINCOUNT) gives most of the speed of a
    free machine back: 6,800 tokens/s against 5,700 without and 8,400 with long spins; beside a busy process 4,700
    against 4,900 and 2,800.

    oneDNN keeps the code that it compiles for each new length of a step, 1,024 pieces of it unless told otherwise: 40 steps
    of DPO on the starter took 1.08 GB with all and 0.85 GB with 64, at the same speed (benchmarks/memory.py).

    On an NVIDIA GPU every step has another length. With segments that grow, PyTorch's allocator uses freed memory again
    whatever the next size is; without them it reserved 20 GB for the 12.5 GB of a LoRA training (benchmarks/gpu.py).
    """
    return {
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "OMP_WAIT_POLICY": "PASSIVE",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
        "GOMP_SPINCOUNT": "1000",
        **keys.without(os.environ, secrets),
        **environment(),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def start_worker(run: RunDirectory, environment: dict[str, str] | None = None) -> int:
    """Start the process that trains `run`, with `environment` over its own, and return its pid. It outlives us.

    The worker is told when it was launched: should it come to life after the run was launched anew, it leaves.
    """
    run.stop_file.unlink(missing_ok=True)
    run.pid_file.unlink(missing_ok=True)
    launched = time.time()
    run.update_status(launched=launched, started=None, ended=None)
    home = {"AITRAINING_HOME": str(queue_root(run.path.parent))}  # ours may be another by now: ./runs where nothing is said
    args, secrets = {"run": str(run.path), "launched": launched, "environment": {**home, **(environment or {})}}, keys.ALL
    warm = standby.ask("train", args, log=run.log_file, env=_settings(secrets))
    if warm is not None:
        pid, channel = warm
        channel.close()
    else:
        with run.log_file.open("ab") as log:
            pid = _cold("train", args, secrets, output=log).pid
    _note_pid(run, pid)
    return pid


def _note_pid(run: RunDirectory, pid: int) -> None:
    try:
        run.pid_file.write_text(f"{pid} {process.began(pid)}", encoding="ascii")
    except psutil.NoSuchProcess:
        run.pid_file.write_text(str(pid), encoding="ascii")  # it has ended already


def start_follower(run: RunDirectory, module: str) -> None:
    """Start `python -m module RUN`, which follows what trains `run` elsewhere. It outlives us."""
    run.pid_file.unlink(missing_ok=True)
    run.update_status(launched=time.time(), started=None, ended=None)
    with run.log_file.open("ab") as log:
        _note_pid(run, _started([module, str(run.path)], log, [], keys.HUB).pid)


def open_worker(job: str, args: dict[str, Any], *, hub: bool = False) -> Channel:
    """Start a process that answers over a channel; it ends when the channel is closed. With `hub` it may ask the Hub."""
    args, secrets = {**args, "hub": hub}, keys.HUB if hub else ()
    warm = standby.ask(job, args, log=None, env=_settings(secrets))
    if warm is not None:
        return warm[1]
    here, there = socket.socketpair()
    with there:
        _cold(job, args, secrets, channel=there)
    return Channel(here)


def stop(run: RunDirectory, *, force: bool = False) -> None:
    """Ask a worker to finish its step, save and end; make sure of it in the background. `force`: end it at once."""
    if run.status().ended_state:
        return
    family = _family(run)  # before it is asked: a worker that heeds at once leaves nothing to know its group by
    run.request_stop()
    if force:
        _end(run, family)
    else:
        threading.Thread(target=_end_later, args=(run, family), name=f"stop {run.name}", daemon=True).start()


def wait_until_stopped(name: str) -> Status:
    """Wait for a run that was asked to stop, ending it by force when it falls silent; returns its last status."""
    run = RunDirectory.open(name)
    _end_later(run, _family(run))
    return run.status()


def _settings(secrets: Iterable[str]) -> dict[str, str]:
    """Variables that may have changed since the standby was started, and the secrets, which it never had."""
    here = worker_environment(secrets)
    return {k: v for k, v in here.items() if k.startswith(("AITRAINING_", "HF_", "CUDA_", "OMP_")) or k in keys.ALL}


def _cold(
    job: str, args: dict[str, Any], secrets: Iterable[str], *, output: Any = None, channel: socket.socket | None = None
) -> subprocess.Popen[bytes]:
    argv = ["engine.worker", job, json.dumps(args), *([str(channel.fileno())] if channel else [])]
    return _started(argv, output, [channel.fileno()] if channel else [], secrets)


def start_detached(module: str, *args: str, log: Path, keep: FileLock, secrets: Iterable[str] = keys.ALL) -> int:
    """Start `python -m module args`, writing to `log`, as a process that outlives us and holds the lock `keep` while it
    lives; returns its pid. It may start workers, and so has all secrets unless `secrets` names those it needs.

    The lock goes over by its open file: there is no moment in which nobody holds it.
    """
    with log.open("ab") as output:
        return _started([module, *args], output, [keep.fileno()], secrets).pid


def _started(argv: list[str], output: Any, handed_on: list[int], secrets: Iterable[str]) -> subprocess.Popen[bytes]:
    """A process of ours in a group of its own, that closing a terminal or ending the page does not end."""
    return subprocess.Popen(
        [sys.executable, "-m", *argv],
        stdin=subprocess.DEVNULL,
        stdout=output or subprocess.DEVNULL,
        stderr=subprocess.STDOUT if output else None,
        pass_fds=handed_on,
        env={
            **worker_environment(secrets),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH")])),
        },
        start_new_session=True,
    )


def end_now(run: RunDirectory) -> None:
    """Kill a worker and all of its process group; for work of which nothing is to be kept."""
    family = _family(run)
    run.request_stop()
    _end(run, family, signal.SIGKILL)


def _end_later(run: RunDirectory, family: Family | None) -> None:
    sign, heard = run.last_sign_of_life(), time.monotonic()
    while not _gone(run, 1.0):
        family = family or _family(run)
        # whether a new sign came, not how old it is: the clock that dates it may be set meanwhile
        if (now := run.last_sign_of_life()) != sign:
            sign, heard = now, time.monotonic()
        elif time.monotonic() - heard > GRACE_S:
            _end(run, family)
            return
    if family is not None:
        family.end_those_left(TERM_S)


def _end(run: RunDirectory, family: Family | None, *how: signal.Signals) -> None:
    """SIGTERM to the whole process group, then SIGKILL (or only `how`); what is left of the group when the worker is gone is
    killed. Only ever the group of the process that wrote this run's status."""
    if family is None:
        return
    for which in how or (signal.SIGTERM, signal.SIGKILL):
        family.signal(which)
        if _gone(run, TERM_S):
            break
    family.end_those_left(TERM_S)


def _family(run: RunDirectory) -> Family | None:
    """This run's worker and its group; None when it is gone, even if another process has its number now."""
    if run.status().ended_state:
        return None
    status = run.written_status()
    pid = status.pid if status.pid_started else run.started_pid
    return None if pid is None else Family.of(pid, status.pid_started)


def _ended(run: RunDirectory) -> bool:
    try:
        return bool(run.status().ended_state)
    except RunNotFound:
        return True  # deleted or renamed the moment it had ended


def _gone(run: RunDirectory, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not _ended(run):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True
