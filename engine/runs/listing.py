"""The list of runs, and what can be done to a run that is not working: rename it, delete it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunActive, RunError, RunNameTaken
from engine.params import NAME_PATTERN
from engine.runs.directory import RunDirectory, read_json
from engine.runs.lock import is_held
from engine.runs.status import Status


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs. Times are seconds since 1970, `seconds` how long it worked so far."""

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


def list_runs(root: Path) -> list[RunSummary]:
    """Every run under `root`, newest first; folders that are no runs are left out.

    Raises:
        RunError: there is something at `root` that cannot be looked into.
    """
    try:
        found = [RunDirectory(path) for path in root.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(
            f"The runs in {root} cannot be listed: {error.strerror}.", hint="Set AITRAINING_HOME to another folder."
        ) from None
    summaries = [_readable(run) for run in found if run.status_file.is_file() and run.params_file.is_file()]
    return sorted((s for s in summaries if s is not None), key=lambda s: s.created, reverse=True)


def _readable(run: RunDirectory) -> RunSummary | None:
    """The run's line; None for a run that was deleted or damaged, which must not hide the others."""
    try:
        return summary(run)
    except (OSError, ValueError, RunError, RecursionError, AttributeError):
        return None


def summary(run: RunDirectory) -> RunSummary:
    """One run's line, as it is true now."""
    params, status = read_json(run.params_file), run.status()
    return RunSummary(
        name=run.name,
        state=status.state.value,
        reason=status.reason,
        trainer=str(params.get("trainer", "")),
        model=str(params.get("model", "")),
        data=str(params.get("data_path", "")),
        created=status.created,
        seconds=_seconds(run, status),
        step=status.step,
        total_steps=status.total_steps,
        best_value=status.best_value,
        metrics=status.metrics,
    )


def rename(run: RunDirectory, new: str) -> None:
    """Give a run another name.

    Raises:
        RunActive: it is working or waits.
        RunNameTaken: another run has that name.
        RunError: the name cannot be a folder's.
    """
    if not re.fullmatch(NAME_PATTERN, new):
        raise RunError(
            f"{new!r} cannot be a run's name.",
            hint="Use letters, digits, dots, dashes and underscores, beginning with a letter or digit; at most 80.",
        )
    _refuse_active(run)
    target = run.path.parent / new
    if target.exists():
        raise RunNameTaken(f"A run called {new!r} exists.", hint="Choose another name.")
    run.path.rename(target)


def delete(run: RunDirectory) -> None:
    """Delete a run's directory and nothing else; a link is removed, what it points to stays.

    Raises:
        RunActive: it is working or waits.
    """
    _refuse_active(run)
    if run.path.is_symlink():
        run.path.unlink()
        return
    # first out of the list in one step, so that a half-deleted run is never shown
    doomed = run.path.with_name(f".deleted-{run.name}")
    if doomed.exists():
        shutil.rmtree(doomed)
    run.path.rename(doomed)
    shutil.rmtree(doomed)


def _refuse_active(run: RunDirectory) -> None:
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


def _seconds(run: RunDirectory, status: Status) -> float | None:
    """Time at work; for a run that was killed, up to its last event."""
    if status.started is None:
        return None
    if status.ended is not None:
        return status.ended - status.started
    if run.events_file.is_file():
        return run.events_file.stat().st_mtime - status.started
    return 0.0
