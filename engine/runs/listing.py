"""The list of runs, and what can be done to a run that is not working: rename it, delete it."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunActive, RunError, RunNameTaken, RunNotFound
from engine.params import NAME_PATTERN
from engine.registry import specs
from engine.runs.directory import RunDirectory
from engine.runs.lock import is_held
from engine.runs.place import gone, locked, writing
from engine.runs.readers import refuse_needed
from engine.runs.status import State, Status, kept_measurement
from engine.runs.worked import seconds_at_work

_Marks = tuple[int, ...]


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs. Times are seconds since 1970, `seconds` how long it worked so far, `best_value` the
    held-out measurement of the weights that are saved."""

    name: str
    state: str
    reason: str
    trainer: str
    model: str
    data: str
    created: float
    seconds: float | None
    step: int
    total_steps: int
    best_value: float | None
    metrics: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


# Lines that stay true while their file is not written anew: of runs that have ended or wait. With thousands of runs nearly
# all are, and looking at a file's marks is thirty times cheaper than reading it.
_known: dict[Path, dict[str, tuple[_Marks, RunSummary]]] = {}


def list_runs(root: Path) -> list[RunSummary]:
    """Every run under `root`, newest first; folders that are no runs are left out.

    Raises:
        RunError: there is something at `root` that cannot be looked into.
    """
    before, now = _known.get(root, {}), {}
    found = []
    for path in _entries(root):
        marks = _marks(path)
        known = before.get(path)
        if marks is None:
            continue
        summary, settled = (known[1], True) if known and known[0] == marks else _readable(RunDirectory(Path(path)))
        if summary is not None:
            found.append(summary)
            if settled:
                now[path] = (marks, summary)
    _known[root] = now
    return sorted(found, key=lambda s: s.created, reverse=True)


def folders_of(root: Path) -> list[Path]:
    """The folders of all runs, in no order. Raises as `list_runs`."""
    return [path for path in map(Path, _entries(root)) if (path / "status.json").is_file()]


def _entries(root: Path) -> list[str]:
    away = gone(root)
    if away:
        raise away
    try:
        with os.scandir(root) as entries:
            return [entry.path for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(
            f"The runs in {root} cannot be listed: {error.strerror}.", hint="Set AITRAINING_HOME to another folder."
        ) from None


def _marks(path: str) -> _Marks | None:
    """What changes when a run's status is written anew: the file is always replaced, never written over. The settings beside it
    are written once, before it. None for a folder that holds no run."""
    try:
        status = os.stat(f"{path}/status.json")
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _readable(run: RunDirectory) -> tuple[RunSummary | None, bool]:
    """The run's line, and whether it stays true until one of its files changes; None for a run that was deleted or damaged,
    which must not hide the others."""
    try:
        written = run.written_status()
        # neither depends on whether a worker lives
        waits = written.state is State.QUEUED and written.launched is None
        settled = waits or (written.ended_state and written.ended is not None)
        return _summary(run, written if settled else run.status()), settled
    except (OSError, ValueError, RunError, RecursionError, AttributeError):
        return None, False


def summary(run: RunDirectory) -> RunSummary:
    """One run's line, as it is true now."""
    return _summary(run, run.status())


def _summary(run: RunDirectory, status: Status) -> RunSummary:
    params = run.params()
    return RunSummary(
        name=run.name,
        state=status.state.value,
        reason=status.reason,
        trainer=str(params.get("trainer", "")),
        model=str(params.get("model", "")),
        data=str(params.get("data_path", "")),
        created=status.created,
        seconds=seconds_at_work(run, status),
        step=status.step,
        total_steps=status.total_steps,
        best_value=saved[1] if (saved := saved_measurement(params, status)) else None,
        metrics=status.metrics,
    )


def saved_measurement(params: dict[str, Any], status: Status) -> tuple[int | None, float] | None:
    """What was measured on held-out rows of the weights that are saved, and at which step: the best of what was trained, or the
    last, whose step is None. None while nothing that was trained has been measured."""
    if params.get("keep_best", True):
        if kept := kept_measurement(status):
            return kept
    elif (spec := specs().get(str(params.get("trainer")))) and spec.judged_by in status.metrics:
        return None, status.metrics[spec.judged_by]
    return (status.best_step, status.best_value) if status.best_step != 0 and status.best_value is not None else None


def rename(run: RunDirectory, new: str) -> None:
    """Give a run another name.

    Raises:
        RunActive: it is working or waits, or a run that does needs its model.
        RunNameTaken: another run has that name.
        RunError: the name cannot be a folder's.
    """
    if not re.fullmatch(NAME_PATTERN, new):
        raise RunError(
            f"{new!r} cannot be a run's name.",
            hint="Use letters, digits, dots, dashes and underscores, beginning with a letter or digit; at most 80.",
        )
    with locked(run.path.parent):
        refuse_active(run)
        refuse_needed(run)
        target = run.path.parent / new
        if target.exists():
            raise RunNameTaken(f"A run called {new!r} exists.", hint="Choose another name.")
        run.path.rename(target)


def delete(run: RunDirectory) -> None:
    """Delete a run's directory and nothing else; a link is removed, what it points to stays.

    Raises:
        RunActive: it is working or waits, or a run that does needs its model.
        RunError: the folder of the runs cannot be written.
    """
    root = run.path.parent
    doomed = root / f".deleted-{run.name}"
    with locked(root):  # so that it cannot be started between being looked at and being gone
        refuse_active(run)
        refuse_needed(run)
        if run.path.is_symlink():
            run.path.unlink()
            return
        # first out of the list in one step, so that a half-deleted run is never shown
        if doomed.exists():
            shutil.rmtree(doomed)
        run.path.rename(doomed)
    with writing(root):
        shutil.rmtree(doomed)


def refuse_active(run: RunDirectory) -> None:
    """
    Raises:
        RunActive: it is working or waits.
        RunNotFound: somebody else has deleted it just now.
    """
    if not os.path.lexists(run.path):
        raise RunNotFound(f"There is no run called {run.name!r} any more.", hint="It was deleted or renamed.")
    if run.alive:
        raise RunActive(f"The run {run.name!r} is at work.", hint="Stop it first.")
    if is_held(run.upload_lock):
        raise RunActive(f"The model of {run.name!r} is being uploaded.", hint="Wait until it is there.")
    try:
        status = run.status()
    except RunError:
        return  # damaged, and nobody works on it
    if not status.ended_state:
        raise RunActive(f"The run {run.name!r} is {status.state.value}.", hint="Stop it first.")
