"""Room on the disk: what ended runs take there, and taking away what their models do not need."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunError, StudioError
from engine.runs.directory import RunDirectory
from engine.runs.listing import folders_of, refuse_active
from engine.runs.place import locked
from engine.runs.status import State
from engine.runs.usage import only_to_go_on, usage


@dataclass(frozen=True)
class Held:
    """What one run holds of the disk, in bytes. `removable`: it has ended, so its checkpoints may go; `has_model`: a finished
    model stays then."""

    name: str
    state: str
    total: int
    checkpoints: int
    removable: bool
    has_model: bool

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Pruned:
    """What came of removing one run's checkpoints: bytes freed, or why not and what to do."""

    name: str
    freed: int
    error: str = ""
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


def held(root: Path) -> list[Held]:
    """What every run takes, the largest first; damaged runs take room too.

    Raises:
        RunError: the folder of the runs has gone away or cannot be read.
    """
    found = [of_run(RunDirectory(path)) for path in folders_of(root)]
    return sorted(found, key=lambda one: one.total, reverse=True)


def prune(names: list[str], remove: Callable[[str], int]) -> list[Pruned]:
    """What comes of `remove` for each run; what is refused for one keeps no other."""
    made = []
    for name in names:
        try:
            made.append(Pruned(name, remove(name)))
        except StudioError as error:
            made.append(Pruned(name, 0, error.message, error.hint))
    return made


def remove_checkpoints(run: RunDirectory) -> int:
    """Delete what is there only to go on from, and return how many bytes that was; the model, curves and log stay.

    Raises:
        RunActive: the run is working or waits.
        RunError: the folder cannot be written.
    """
    with locked(run.path.parent):
        refuse_active(run)
        freed = usage(run).checkpoints
        going = only_to_go_on(run)
        if not going:
            return 0
        # said first: half of them would be told as damage
        try:
            if run.written_status().state is not State.DONE:
                run.update_status(resumable=False, checkpoints_removed=True)
        except RunError:
            pass  # its state is damaged, so nobody resumes it anyway
        for path in going:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return freed


def of_run(run: RunDirectory) -> Held:
    """What one run takes."""
    takes = usage(run)
    try:
        status = run.status()
        state, ended = status.state.value, status.ended_state
    except (RunError, OSError):
        state, ended = "damaged", not run.alive
    removable = ended and bool(only_to_go_on(run))
    return Held(run.name, state, takes.total, takes.checkpoints, removable, run.model_dir.is_dir())
