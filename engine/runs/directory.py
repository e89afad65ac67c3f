"""One run's directory: the files that are the protocol between the worker and everybody who watches.

params.json (once, no secrets) · data.json · plan.json · status.json (atomic replace) · events.jsonl · worker.log ·
alive.lock (held by the worker for life) · stop (a request) · pid (who was started) · data/ · checkpoints/ ·
model/ (moved into place last, so that its presence means complete) · adapter/ · upload.json and upload.lock (engine/hub/)
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import RunError, RunNameTaken, RunNotFound
from engine.params import NAME_PATTERN
from engine.people import who
from engine.runs import events, process
from engine.runs.lock import FileLock, is_held
from engine.runs.place import gone, make_root, unusable, writing
from engine.runs.status import ENDED, LAUNCH_GRACE_S, State, Status, truth, unfollowed

# What a run's folder is called while it is being made.
DRAFT = ".new-"
# And while it is being deleted.
DELETED = ".deleted-"


def runs_root() -> Path:
    """Where the runs of whoever asks live: AITRAINING_HOME, else ./runs; on a server with logins a folder for each person.

    Raises:
        NobodyAsks: there are logins, and it was not said who asks.
    """
    return who().folder


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
        self.adapter_dir = path / "adapter"
        self.upload_file = path / "upload.json"
        self.upload_lock = path / "upload.lock"

    @classmethod
    def open(cls, name: str, root: Path | None = None, *, created: float | None = None) -> RunDirectory:
        """The run called `name`; with `created`, the one that was made then and no later one of its name.

        Raises:
            RunNotFound: there is none, or the name could point outside the runs folder.
            RunError: the run that was made then is gone, and another has its name.
        """
        run = cls((root or runs_root()) / name)
        if not re.fullmatch(NAME_PATTERN, name) or not run.status_file.is_file():
            away = gone(run.path.parent)
            if away:
                raise away
            hint = "The Runs page and `aitraining runs` list those there are."
            raise RunNotFound(f"There is no run called {name!r}.", hint=hint)
        if created is not None and run.created != created:
            what = f"The run {name!r} that was meant is gone: it was deleted or renamed, and another run has its name now."
            raise RunError(what, hint="Nothing was done. Load the page again to see the run that is there now.")
        return run

    @classmethod
    def create(cls, params: dict[str, Any], name: str, root: Path | None = None, created: float | None = None) -> RunDirectory:
        """Make a queued run; the directory's creation is the lock, so two people cannot take one name.

        It appears in one step with all its files: whoever is killed while making it leaves nothing under its name.

        Raises:
            RunNameTaken: the name is in use.
            RunError: the runs folder cannot be written.
        """
        run = cls((root or runs_root()) / name)
        make_root(run.path.parent)
        run.refuse_taken()
        draft = cls(run.path.with_name(f"{DRAFT}{name}.{os.getpid()}.{threading.get_ident()}"))
        try:
            shutil.rmtree(draft.path, ignore_errors=True)
            draft.path.mkdir()
            write_json(draft.params_file, params)
            draft.write_status(Status(State.QUEUED, created=created or time.time()))
            draft.path.rename(run.path)
        except OSError as error:
            shutil.rmtree(draft.path, ignore_errors=True)
            run.refuse_taken()  # by somebody in the same moment
            raise unusable(error, run.path.parent) from error
        return run

    def refuse_taken(self) -> None:
        """
        Raises:
            RunNameTaken: there is something of this name.
        """
        if os.path.lexists(self.path):
            raise RunNameTaken(f"A run called {self.name!r} exists.", hint="Choose another name.")

    def params(self) -> dict[str, Any]:
        """
        Raises:
            RunError: params.json was damaged.
        """
        found = _object(self.params_file)
        if found is None:
            raise RunError(
                f"The settings of the run {self.name!r} cannot be read: {self.params_file} is damaged.",
                hint="Its model, if it has one, is in the folder `model` beside that file.",
            )
        return found

    def data(self) -> dict[str, Any]:
        """data.json, or an empty dict while the data is not prepared yet, or where the file was damaged."""
        return (_object(self.data_file) or {}) if self.data_file.is_file() else {}

    def plan(self) -> dict[str, Any]:
        """plan.json; empty as data.json is."""
        return (_object(self.plan_file) or {}) if self.plan_file.is_file() else {}

    def upload(self) -> dict[str, Any] | None:
        """How the last upload that the page was asked for stands (see engine/hub/sending.py); None where there was none."""
        if not self.upload_file.is_file():
            return None
        sending = is_held(self.upload_lock)  # asked first: it writes how it ended before it lets go
        found = _object(self.upload_file) or {}
        if "state" not in found:
            return {
                "state": "failed",
                "error": "How the upload went cannot be read: its file is damaged.",
                "hint": "Try it again.",
            }
        if found["state"] == "sending" and not sending:
            return {**found, "state": "failed", "error": "The upload ended without a word.", "hint": "Try it again."}
        return found

    @property
    def created(self) -> float | None:
        """When the run was made; None for a folder that holds none."""
        try:
            return self.written_status().created
        except (OSError, RunError):
            return None

    @property
    def waits(self) -> bool:
        """Whether it waits to be started; a place in the line alone does not say so, since a run may be stopped there."""
        try:
            written = self.written_status()
        except (OSError, RunError):
            return False  # gone, or damaged: nobody can start it
        return written.state is State.QUEUED and written.launched is None

    @property
    def alive(self) -> bool:
        """Whether a worker holds this run's lock right now."""
        return is_held(self.lock_file)

    def lock(self) -> FileLock:
        return FileLock(self.lock_file)

    def written_status(self) -> Status:
        """status.json as it stands.

        Raises:
            RunNotFound: it was deleted meanwhile.
            RunError: it was damaged (a full disk, a hand that edited it).
        """
        try:
            return Status.from_dict(read_json(self.status_file))
        except FileNotFoundError:
            raise RunNotFound(f"There is no run called {self.name!r} any more.", hint="It was deleted or renamed.") from None
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
        return truth(written, alive=alive, launching=launching, stop_requested=self.stop_requested and not self.shut_down)

    def _launching(self, written: Status) -> bool:
        """Whether a worker was started that may yet take its lock; a cold one imports torch first."""
        if written.launched is None or written.started is not None or written.state in ENDED:
            return False
        pid = self.started_pid
        if pid is not None:
            return process.lives(pid, self._pid_file()[1])
        return abs(time.time() - written.launched) < LAUNCH_GRACE_S  # whoever was to start it died before it could

    @property
    def started_pid(self) -> int | None:
        """The process that was started for this run; None while it is being started."""
        return self._pid_file()[0]

    def _pid_file(self) -> tuple[int | None, float | None]:
        """Who was started, and when that process began (see engine/runs/process.py); None for what is not written."""
        try:
            pid, *began = self.pid_file.read_text(encoding="ascii").split()
            return int(pid), float(began[0]) if began else None
        except (OSError, ValueError):
            return None, None

    def last_sign_of_life(self) -> float:
        """When the worker last wrote anything (seconds since 1970); between its writes it touches its lock file."""
        times = []
        for folder, _, files in os.walk(self.path):  # passes over folders that go while we look, as checkpoints do
            for path in (Path(folder), *(Path(folder, file) for file in files)):
                with contextlib.suppress(FileNotFoundError):
                    if path not in (self.path, self.stop_file):
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

    def request_stop(self, cause: str = "stopped") -> None:
        """Ask the worker to finish its step, save and end; `cause` is "shutdown" if the machine ends and nobody wants it to."""
        with writing(self.path.parent):
            self.stop_file.write_text(cause, encoding="ascii")

    @property
    def shut_down(self) -> bool:
        """Whether it was asked to end only because the machine does."""
        try:
            return self.stop_file.read_text(encoding="ascii") == "shutdown"
        except FileNotFoundError:
            return False

    @property
    def stop_requested(self) -> bool:
        return self.stop_file.exists()


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _object(path: Path) -> dict[str, Any] | None:
    """The JSON object that a file holds; None where a full disk or a careless hand left something else."""
    try:
        found = read_json(path)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, value: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Replace a file by the JSON of `value` in one step: a reader sees the old text or the new, never half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=default), encoding="utf-8", errors="replace")
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
