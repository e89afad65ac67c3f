"""The queue. Any process may put a run in or start the next one; none of them owns the queue.

A marker file per waiting run (line.py) and per started run, under `.active/`, which holds its place (places.py), keeps this
cheap however many runs there are; the run's own status is the truth, and a marker that contradicts it is dropped.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from engine.compute.rented import rented
from engine.compute.target import target_of
from engine.errors import RunActive, RunError
from engine.params import LLMTrainingParams
from engine.people import label, labelled, queue_root
from engine.runs import checkpoints, discard, line
from engine.runs.directory import DELETED, DRAFT, RunDirectory, runs_root
from engine.runs.place import locked
from engine.runs.places import Place, places
from engine.runs.status import ENDED, State, Status
from engine.runs.worked import seconds_at_work


def enqueue(
    params: LLMTrainingParams,
    *,
    request_id: str | None = None,
    root: Path | None = None,
    admit: Callable[[LLMTrainingParams], None] | None = None,
) -> RunDirectory:
    """Put a run at the end of the queue. The same `request_id` gives the same run, from any process, at any time; `admit` is
    asked only when there is none yet, and may refuse it.

    Raises:
        RunNameTaken: the wished name is in use.
    """
    root = root or runs_root()
    with locked(root):
        request = line.folder(root, ".requests") / hashlib.sha256((request_id or "").encode()).hexdigest()[:32]
        if request_id and request.is_file():
            name, _, born = request.read_text().partition("\n")
            same = RunDirectory(root / name)
            if born and same.created == float(born):  # else it was deleted or renamed, and the name may be another's now
                return same
        if admit:
            admit(params)
        name = params.project_name or _free_name(root, params)
        run, born = RunDirectory(root / name), time.time()
        run.refuse_taken()
        # the run comes last: whoever is killed before has promised nothing, and what lies about is no run and is dropped
        if request_id:
            _replace(request, f"{name}\n{born!r}")
        line.join(root, label(run.path))
        return RunDirectory.create(params.model_dump(mode="json"), name, root, born)


def resume(run: RunDirectory) -> None:
    """Put a run that was stopped or interrupted back in the queue; its worker goes on from the last checkpoint, or from
    what a teacher has answered so far. One that was cut off before it had either begins again.

    Raises:
        RunActive: it is still working.
        RunError: it failed before its first checkpoint, or it is done.
    """
    with locked(run.path.parent):
        status = run.status()
        state = status.state
        if state not in ENDED:
            raise RunActive(f"The run {run.name!r} is {state.value}; it needs no resuming.")
        if state is State.DONE:
            raise RunError(f"The run {run.name!r} is done.", hint="Start a new run from its model to train it further.")
        if not (has_progress(run) or begins_again(run, status)):
            raise RunError(
                f"The run {run.name!r} cannot be resumed: {_why_not(run)}", hint="Start it again with the same settings."
            )
        run.stop_file.unlink(missing_ok=True)
        # before its state says that it waits: one that waits has a marker, whoever is killed
        line.join(run.path.parent, label(run.path))
        run.update_status(
            state=State.QUEUED,
            phase="",
            reason="",
            hint="",
            cause="",
            launched=None,
            worked_before=seconds_at_work(run, status) or 0.0,
            started=None,
            ended=None,
            pid=None,
            pid_started=None,
        )


def has_progress(run: RunDirectory) -> bool:
    """Whether an ended run left something to go on from: a checkpoint, what a teacher has written, a machine at work."""
    job = rented(run)
    if job is not None:
        return job.at_work
    return any(run.data_dir.glob("*.answers.jsonl")) or checkpoints.look(run).newest is not None


def _why_not(run: RunDirectory) -> str:
    """Why there is nothing to go on from."""
    damaged = checkpoints.look(run).damaged
    if damaged:
        return " ".join(map(str, damaged))
    return "its checkpoints were removed." if run.written_status().checkpoints_removed else "it has no checkpoint yet."


def begins_again(run: RunDirectory, status: Status) -> bool:
    """Whether an ended run that has nothing to go on from is simply begun again: one that was cut off from outside before
    its first checkpoint. One that failed there would fail there again, and a rented machine is not rented again unasked.
    """
    cut_off = status.state in (State.STOPPED, State.INTERRUPTED)
    return cut_off and not (status.resumable or status.checkpoints_removed) and rented(run) is None


def dispatch(root: Path) -> list[str]:
    """Start the runs that wait longest, whoever's they are, where a place is free, unless the queue is paused; returns their
    names."""
    root = queue_root(root)
    if line.is_paused(root) or not line.waiting(root):
        return []
    lock = line.lock(root)
    if not lock.acquire():
        return []  # somebody else is at it
    try:
        _undo_broken_starts(root)
        started = _sent_off(root)
        free = [] if line.is_paused(root) else _free_places(root)
        for called in line.waiting(root):
            if not free:
                break
            run = RunDirectory(labelled(root, called))
            if run.waits:
                (line.folder(root, ".active") / called).write_text(free[0].name)
                if _start(run, free[0].environment):
                    free.pop(0)
                    started.append(run.name)
            line.leave(root, called)
        return started
    finally:
        lock.release()


def _sent_off(root: Path) -> list[str]:
    """Start the waiting runs that train elsewhere: they wait for no device of this machine."""
    started = list[str]()
    for called in line.waiting(root):
        run = RunDirectory(labelled(root, called))
        if run.waits and not target_of(run).takes_turns:
            if _start(run, {}):
                started.append(run.name)
            line.leave(root, called)
    return started


def stop(run: RunDirectory, *, force: bool = False) -> None:
    """Take a run that waits out of the queue; ask one that works to finish its step, save and end (`force`: at once)."""
    if not _taken_out(run):
        target_of(run).stop(run, force=force)


def cancel(run: RunDirectory) -> None:
    """Take a run that waits out of the queue, and leave one that has begun alone.

    Raises:
        RunError: it does not wait.
    """
    if not _taken_out(run):
        what = f"The run {run.name!r} does not wait any more: it is {run.status().state.value}."
        raise RunError(what, hint="Nothing was done. Stop it on its own page, or with `aitraining stop`.")


def _taken_out(run: RunDirectory) -> bool:
    with locked(run.path.parent):
        if not run.waits:
            return False
        run.update_status(state=State.STOPPED, ended=time.time(), reason="It was taken out of the queue.", cause="stopped")
        line.leave(run.path.parent, label(run.path))
        return True


def move(run: RunDirectory, to: str | int) -> None:
    """Let a run that waits wait elsewhere: `up`, `down`, `first`, `last`, or a place counted from 1.

    Raises:
        RunError: it does not wait, or there is no such place.
    """
    root = run.path.parent
    with locked(root):
        line.move(root, label(run.path), to, waiting(root))


def waiting(root: Path) -> list[str]:
    """What the runs that wait are called in the queue, the next one first."""
    root = queue_root(root)
    return list(dict.fromkeys(called for called in line.waiting(root) if RunDirectory(labelled(root, called)).waits))


def working(root: Path) -> list[str]:
    """What the runs that were started and have not ended are called in the queue."""
    root = queue_root(root)
    return sorted(called for called in _active(root) if _at_work(RunDirectory(labelled(root, called))))


def position(name: str, root: Path | None = None) -> int | None:
    """How many runs wait before this one; None when it does not wait."""
    root = root or runs_root()
    names, mine, root = line.waiting(root), label(root / name), queue_root(root)
    if mine not in names or not RunDirectory(labelled(root, mine)).waits:
        return None
    return sum(RunDirectory(labelled(root, other)).waits for other in names[: names.index(mine)])


def recover(root: Path) -> None:
    """Put queued runs whose marker was lost (the machine went down in between) back in line, and end what was broken off."""
    if not root.is_dir():
        return
    with locked(root):
        for left in (*root.glob(f"{DRAFT}*"), *root.glob(f"{DELETED}*")):
            shutil.rmtree(left, ignore_errors=True)  # whoever made or deleted it was killed; nobody makes runs now
        marked = set(line.waiting(root))
        found = [RunDirectory(path) for path in root.iterdir() if not path.name.startswith(".") and label(path) not in marked]
        lost = [run for run in found if run.waits]
        for run in sorted(lost, key=lambda run: (run.created or 0.0, run.name)):
            line.join(root, label(run.path))
        for run in found:
            if run.job_file.is_file() and _unfollowed(run):
                _start(run, {})
    discard.sweep(root)


def _start(run: RunDirectory, environment: dict[str, str]) -> bool:
    """Start a run's worker; a run whose worker cannot be started has failed, and the next one gets its turn."""
    try:
        target_of(run).start(run, environment)
    except OSError as error:
        reason = f"The training process could not be started: {error}."
        run.update_status(state=State.FAILED, ended=time.time(), reason=reason, cause="start")
        return False
    return True


def _unfollowed(run: RunDirectory) -> bool:
    """Whether a rented machine is at work and nobody here knows what it does."""
    try:
        return run.written_status().state not in ENDED and run.status().state is State.INTERRUPTED
    except RunError:
        return False


def _undo_broken_starts(root: Path) -> None:
    """Let a run wait again whose start was broken off because whoever started it was killed just then.

    We hold the lock, so nobody is starting it now. A worker that did come to life has the run's lock, or will find that the
    run was launched anew, and leave (engine/worker/train.py).
    """
    for name in set(_active(root)) & set(line.waiting(root)):
        run = RunDirectory(labelled(root, name))
        try:
            written = run.written_status()
        except RunError:
            continue
        launched = written.state is State.QUEUED and written.launched is not None
        if launched and run.started_pid is None and not run.alive:
            run.update_status(launched=None)


def _free_places(root: Path) -> list[Place]:
    """Places in which nothing is at work. A run that was started where other places were counted takes up one of ours."""
    taken: list[str] = []
    for name, place in _active(root).items():
        # a run that waits again (it was resumed) is not at work: its old marker must not keep it from starting
        if _at_work(RunDirectory(labelled(root, name))):
            taken.append(place)
        else:
            (root / ".active" / name).unlink(missing_ok=True)
    every = places()
    free = [place for place in every if place.name not in taken]
    return free[: max(0, len(every) - len(taken))]


def _active(root: Path) -> dict[str, str]:
    """Runs that were started and the places where, as they were noted: in no place if that cannot be read."""
    folder = root / ".active"
    files = [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    noted = dict[str, str]()
    for file in files:
        with suppress(FileNotFoundError):  # it ended while we looked
            noted[file.name] = file.read_text(errors="replace")
    return noted


def _at_work(run: RunDirectory) -> bool:
    if not run.status_file.is_file():
        return False
    try:
        return run.alive or not (run.status().ended_state or run.waits)
    except RunError:
        return False


def unfinished(root: Path) -> list[str]:
    """The names of the runs in `root` that wait or are at work, going by their markers; their own status is the truth."""
    everybodys = queue_root(root)
    found = (labelled(everybodys, called) for called in (*line.waiting(root), *_active(everybodys)))
    return [path.name for path in found if path.parent == root]


def _replace(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


def _free_name(root: Path, params: LLMTrainingParams) -> str:
    """`sft-starter-1`, `sft-starter-2`, …: readable, and short enough to type."""
    model = re.sub(r"[^A-Za-z0-9.]+", "-", Path(params.model).name).strip("-.")[:40] or "model"
    number = 1
    while (root / f"{params.trainer}-{model}-{number}").exists():
        number += 1
    return f"{params.trainer}-{model}-{number}"
