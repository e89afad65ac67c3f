"""The queue of one device. Any process may put a run in or start the next one; none of them owns the queue.

A marker file per waiting run under `.queue/` and per started run under `.active/` keeps this cheap however many runs
there are; the run's own status is the truth, and a marker that contradicts it is dropped.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

from engine.compute.rented import rented
from engine.compute.target import target_of
from engine.errors import RunActive, RunError
from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory, make_root, runs_root
from engine.runs.lock import FileLock
from engine.runs.status import ENDED, State


def enqueue(params: LLMTrainingParams, *, request_id: str | None = None, root: Path | None = None) -> RunDirectory:
    """Put a run at the end of the queue. The same `request_id` gives the same run, from any process, at any time.

    Raises:
        RunNameTaken: the wished name is in use.
    """
    root = root or runs_root()
    with _lock(root):
        request = _folder(root, ".requests") / hashlib.sha256((request_id or "").encode()).hexdigest()[:32]
        if request_id and request.is_file():
            name, _, born = request.read_text().partition("\n")
            same = RunDirectory(root / name)
            if born and _created(same) == float(born):  # else it was deleted or renamed, and the name may be another's now
                return same
        name = params.project_name or _free_name(root, params)
        run = RunDirectory.create(params.model_dump(mode="json"), name, root)
        if request_id:
            request.write_text(f"{name}\n{_created(run)!r}")
        _mark_waiting(run)
    return run


def resume(run: RunDirectory) -> None:
    """Put a run that was stopped or interrupted back in the queue; its worker goes on from the last checkpoint, or from
    what a teacher has answered so far.

    Raises:
        RunActive: it is still working.
        RunError: it has no checkpoint, or it is done.
    """
    with _lock(run.path.parent):
        state = run.status().state
        if state not in ENDED:
            raise RunActive(f"The run {run.name!r} is {state.value}; it needs no resuming.")
        if state is State.DONE:
            raise RunError(f"The run {run.name!r} is done.", hint="Start a new run from its model to train it further.")
        if not has_progress(run):
            raise RunError(
                f"The run {run.name!r} ended before its first checkpoint.",
                hint="Start it again with the same settings.",
            )
        run.stop_file.unlink(missing_ok=True)
        run.update_status(
            state=State.QUEUED,
            phase="",
            reason="",
            hint="",
            cause="",
            launched=None,
            started=None,
            ended=None,
            pid=None,
            pid_started=None,
        )
        _mark_waiting(run)


def has_progress(run: RunDirectory) -> bool:
    """Whether an ended run left something to go on from: a checkpoint, what a teacher has written, a machine at work."""
    answered = any(run.data_dir.glob("*.answers.jsonl"))
    job = rented(run)
    if job is not None:
        return job.at_work
    return answered or any(run.checkpoints_dir.glob("checkpoint-*/trainer_state.json"))


def dispatch(root: Path) -> list[str]:
    """Start the run that waits longest if the device is free; returns the names of those started."""
    if not _waiting(root):
        return []
    lock = FileLock(root / ".queue.lock")
    if not lock.acquire():
        return []  # somebody else is at it
    try:
        elsewhere = _sent_off(root)
        if elsewhere or _device_busy(root):
            return elsewhere
        for marker in _waiting(root):
            run = RunDirectory(root / marker.name.split("-", 1)[1])
            if _still_queued(run):
                (_folder(root, ".active") / run.name).touch()
                started = _start(run)
                marker.unlink()
                if started:
                    return [run.name]
            else:
                marker.unlink()
        return []
    finally:
        lock.release()


def _sent_off(root: Path) -> list[str]:
    """Start the waiting runs that train elsewhere: they wait for no device of this machine."""
    started = list[str]()
    for marker in _waiting(root):
        run = RunDirectory(root / marker.name.split("-", 1)[1])
        if _still_queued(run) and not target_of(run).takes_turns:
            if _start(run):
                started.append(run.name)
            marker.unlink()
    return started


def stop(run: RunDirectory, *, force: bool = False) -> None:
    """Take a run that waits out of the queue; ask one that works to finish its step, save and end (`force`: at once)."""
    with _lock(run.path.parent):
        if _still_queued(run):
            reason = "It was taken out of the queue."
            run.update_status(state=State.STOPPED, ended=time.time(), reason=reason, cause="stopped")
            return
    target_of(run).stop(run, force=force)


def _start(run: RunDirectory) -> bool:
    """Start a run's worker; a run whose worker cannot be started has failed, and the next one gets its turn."""
    try:
        target_of(run).start(run)
    except OSError as error:
        reason = f"The training process could not be started: {error}."
        run.update_status(state=State.FAILED, ended=time.time(), reason=reason, cause="start")
        return False
    return True


def position(name: str, root: Path | None = None) -> int | None:
    """How many runs wait before this one; None when it does not wait."""
    root = root or runs_root()
    names = [marker.name.split("-", 1)[1] for marker in _waiting(root)]
    if name not in names or not _still_queued(RunDirectory(root / name)):
        return None
    return sum(_still_queued(RunDirectory(root / other)) for other in names[: names.index(name)])


def recover(root: Path) -> None:
    """Put queued runs whose marker was lost (the machine went down in between) back in line."""
    if not root.is_dir():
        return
    with _lock(root):
        marked = {marker.name.split("-", 1)[1] for marker in _waiting(root)}
        for path in root.iterdir():
            run = RunDirectory(path)
            if path.name.startswith(".") or path.name in marked or not run.status_file.is_file():
                continue
            if _still_queued(run):
                _mark_waiting(run)
            elif run.job_file.is_file() and _unfollowed(run):
                _start(run)


def _unfollowed(run: RunDirectory) -> bool:
    """Whether a rented machine is at work and nobody here knows what it does."""
    try:
        return run.written_status().state not in ENDED and run.status().state is State.INTERRUPTED
    except RunError:
        return False


def _device_busy(root: Path) -> bool:
    busy = False
    for marker in _folder(root, ".active").iterdir():
        run = RunDirectory(root / marker.name)
        # a run that waits again (it was resumed) is not at work: its old marker must not keep it from starting
        if run.status_file.is_file() and (run.alive or _working(run)):
            busy = True
        else:
            marker.unlink(missing_ok=True)
    return busy


def _working(run: RunDirectory) -> bool:
    try:
        return not (run.status().ended_state or _still_queued(run))
    except RunError:
        return False


def _created(run: RunDirectory) -> float | None:
    """When the run was made; None for a folder that holds none."""
    try:
        return run.written_status().created
    except (OSError, RunError):
        return None


def _still_queued(run: RunDirectory) -> bool:
    """Whether it waits to be started; a marker alone does not say so, since a run may be stopped while it waits."""
    if not run.status_file.is_file():
        return False
    try:
        written = run.written_status()
    except RunError:
        return False  # damaged: nobody can start it
    return written.state is State.QUEUED and written.launched is None


def _mark_waiting(run: RunDirectory) -> None:
    (_folder(run.path.parent, ".queue") / f"{time.time_ns():020d}-{run.name}").touch()


def _waiting(root: Path) -> list[Path]:
    folder = root / ".queue"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _folder(root: Path, name: str) -> Path:
    path = root / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def _lock(root: Path) -> FileLock:
    make_root(root)
    return FileLock(root / ".queue.lock")


def _free_name(root: Path, params: LLMTrainingParams) -> str:
    """`sft-starter-1`, `sft-starter-2`, …: readable, and short enough to type."""
    model = re.sub(r"[^A-Za-z0-9.]+", "-", Path(params.model).name).strip("-.")[:40] or "model"
    number = 1
    while (root / f"{params.trainer}-{model}-{number}").exists():
        number += 1
    return f"{params.trainer}-{model}-{number}"
