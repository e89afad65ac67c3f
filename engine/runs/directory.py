"""One run's directory: the files that are the protocol between the worker and everybody who watches.

params.json (once, no secrets) · data.json · plan.json · status.json (atomic replace) · events.jsonl · worker.log ·
alive.lock (held by the worker for life) · stop (a request) · pid (who was started) · data/ · checkpoints/ ·
model/ (moved into place last, so that its presence means complete)
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from engine.errors import RunError, RunNameTaken, RunNotFound
from engine.params import NAME_PATTERN
from engine.runs import events
from engine.runs.lock import FileLock, is_held
from engine.runs.status import ENDED, LAUNCH_GRACE_S, State, Status, truth, unfollowed


def runs_root() -> Path:
    """Where runs live: AITRAINING_HOME, else ./runs."""
    return Path(os.environ.get("AITRAINING_HOME") or "runs").expanduser().resolve()


def make_root(root: Path) -> None:
    """Make the runs folder if it is not there.

    Raises:
        RunError: it cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The folder {root} cannot be written: {error.strerror}.", hint="Set AITRAINING_HOME to another folder."
        ) from error


class RunDirectory:
    """The directory of one run. Holds no state of its own: two objects of the same path are the same run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.params_file = path / "params.json"
        self.data_file = path / "data.json"
        self.plan_file = path / "plan.json"
        self.status_file = path / "status.json"
        self.events_file = path / "events.jsonl"
        self.log_file = path / "worker.log"
        self.lock_file = path / "alive.lock"
        self.stop_file = path / "stop"
        self.pid_file = path / "pid"
        self.job_file = path / "job.json"  # of a machine that was rented for it: engine/compute/rented.py
        self.data_dir = path / "data"
        self.checkpoints_dir = path / "checkpoints"
        self.model_dir = path / "model"

    @classmethod
    def open(cls, name: str, root: Path | None = None) -> RunDirectory:
        """The run called `name`.

        Raises:
            RunNotFound: there is none, or the name could point outside the runs folder.
        """
        run = cls((root or runs_root()) / name)
        if not re.fullmatch(NAME_PATTERN, name) or not run.status_file.is_file():
            raise RunNotFound(f"There is no run called {name!r}.", hint="The Runs page lists those there are.")
        return run

    @classmethod
    def create(cls, params: dict[str, Any], name: str, root: Path | None = None) -> RunDirectory:
        """Make a queued run; the directory's creation is the lock, so two people cannot take one name.

        Raises:
            RunNameTaken: the name is in use.
            RunError: the runs folder cannot be written.
        """
        run = cls((root or runs_root()) / name)
        make_root(run.path.parent)
        try:
            run.path.mkdir()
        except FileExistsError:
            raise RunNameTaken(f"A run called {name!r} exists.", hint="Choose another name.") from None
        except OSError as error:
            raise RunError(f"The folder {run.path.parent} cannot be written: {error.strerror}.") from error
        write_json(run.params_file, params)
        run.write_status(Status(State.QUEUED, created=time.time()))
        return run

    def params(self) -> dict[str, Any]:
        return read_json(self.params_file)

    def data(self) -> dict[str, Any]:
        """data.json, or an empty dict while the data is not prepared yet."""
        return read_json(self.data_file) if self.data_file.is_file() else {}

    def plan(self) -> dict[str, Any]:
        return read_json(self.plan_file) if self.plan_file.is_file() else {}

    @property
    def alive(self) -> bool:
        """Whether a worker holds this run's lock right now."""
        return is_held(self.lock_file)

    def lock(self) -> FileLock:
        return FileLock(self.lock_file)

    def written_status(self) -> Status:
        """status.json as it stands.

        Raises:
            RunError: it was damaged (a full disk, a hand that edited it).
        """
        try:
            return Status.from_dict(read_json(self.status_file))
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise RunError(
                f"The state of the run {self.name!r} cannot be read: {self.status_file} is damaged.",
                hint="Its model, if it has one, is in the folder `model` beside that file.",
            ) from error

    def status(self) -> Status:
        """The state that is true now: what was written, corrected by whether the worker lives."""
        alive = self.alive  # asked first: a worker writes its last state before it lets go of the lock
        written = self.written_status()
        launching = not alive and self._launching(written)
        if self.job_file.is_file() and not (alive or launching):
            return unfollowed(written)
        return truth(written, alive=alive, launching=launching, stop_requested=self.stop_requested)

    def _launching(self, written: Status) -> bool:
        """Whether a worker was started that may yet take its lock; a cold one imports torch first."""
        if written.launched is None or written.started is not None or written.state in ENDED:
            return False
        if time.time() - written.launched > LAUNCH_GRACE_S:
            return False
        pid = self.started_pid
        return pid is None or _runs_still(pid)

    @property
    def started_pid(self) -> int | None:
        """The process that was started for this run; None while it is being started."""
        try:
            return int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None

    def last_sign_of_life(self) -> float:
        """When the worker last wrote anything (seconds since 1970); between its writes it touches its lock file."""
        times = []
        for path in self.path.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # checkpoints come and go while we look
                if path != self.stop_file:
                    times.append(path.stat().st_mtime)
        return max(times, default=0.0)

    def write_status(self, status: Status) -> None:
        write_json(self.status_file, events.finite(status.to_dict()))

    def update_status(self, **changes: Any) -> Status:
        """Change fields of status.json; only the worker, or whoever queues or ends a run without one, does this."""
        status = replace(self.written_status(), **changes)
        self.write_status(status)
        return status

    def log_event(self, kind: str, /, **values: Any) -> None:
        events.append(self.events_file, kind, **values)

    def request_stop(self) -> None:
        """Ask the worker to finish its step, save and end."""
        self.stop_file.touch()

    @property
    def stop_requested(self) -> bool:
        return self.stop_file.exists()


def _runs_still(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Replace a file by the JSON of `value` in one step: a reader sees the old text or the new, never half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=default), encoding="utf-8")
    os.replace(part, path)
