"""Room on the disk, for the page, the command line, Python and other programs: what runs take, and deleting them or a part.

What is refused here is refused everywhere: a run that works or waits, one whose model a run that has not ended reads, and one
of a pipeline that is under way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine import renaming
from engine.errors import RunActive, RunError
from engine.people import machine_root
from engine.pipelines.course import progress_of_all
from engine.runs import listing, place, retention
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.retention import Held, Pruned
from engine.runs.usage import free_bytes


def look_at() -> str:
    """What keeps the folder of everybody's runs from being used in full, in words; RunError where it cannot be used at all."""
    return place.look_at(machine_root())


def space() -> dict[str, Any]:
    """What runs take of the disk: `root`, `free` there, `total` and `checkpoints` of all runs, and `runs`, the largest first
    (see `Held`). Bytes.

    Raises:
        RunError: the folder of the runs has gone away or cannot be read.
    """
    root = runs_root()
    found = retention.held(root)
    return {
        "root": str(root),
        "free": free_bytes(root),
        "total": sum(one.total for one in found),
        "checkpoints": sum(one.checkpoints for one in found),
        "runs": [one.to_dict() for one in found],
    }


def space_of(name: str) -> Held:
    """What one run takes."""
    return retention.of_run(RunDirectory.open(name))


def removable(*, done: bool = True) -> list[Held]:
    """The ended runs that have checkpoints; with `done` those alone that are done, whose model is all that is wanted."""
    found = retention.held(runs_root())
    return [one for one in found if one.removable and (one.state == "done" or not done)]


def remove_checkpoints(name: str, root: Path | None = None) -> int:
    """Delete what a run only needs to go on, and return the bytes freed: its model, curves and log stay, it cannot be resumed.

    It is a run of `root`, here and below, or of whoever asks.

    Raises:
        RunActive: it works or waits, or its pipeline is under way.
    """
    run = RunDirectory.open(name, root)
    refuse_under_way(run)
    return retention.remove_checkpoints(run)


def prune(names: list[str]) -> list[Pruned]:
    """The same for several runs; what is refused for one keeps no other."""
    return retention.prune(names, remove_checkpoints)


def delete(name: str, *, created: float | None = None, root: Path | None = None) -> None:
    """Delete a run and all it wrote: with `created`, only the one made then. Touches nothing outside its directory.

    Raises:
        RunActive: it works or waits, a run that does needs its model, or its pipeline is under way.
    """
    run = RunDirectory.open(name, root, created=created)
    refuse_under_way(run)
    listing.delete(run)


def rename(name: str, new: str, *, created: float | None = None) -> None:
    """Give a run another name, and follow it where it is named. Raises as `delete`, and RunNameTaken."""
    run = RunDirectory.open(name, created=created)
    refuse_under_way(run)
    renaming.rename(run, new)


def unusable(error: OSError) -> RunError:
    """What an error of the system means for whoever wanted something of the runs."""
    return place.unusable(error, runs_root())


def refuse_under_way(run: RunDirectory) -> None:
    """
    Raises:
        RunActive: a pipeline that is under way has made this run, and later stages or a retry may need it.
    """
    for pipeline in progress_of_all(run.path.parent):
        if pipeline.driven and any(run.name == stage.run for stage in pipeline.stages):
            raise RunActive(
                f"The run {run.name!r} is a stage of the pipeline {pipeline.name!r}, which is under way.",
                hint="Wait until the pipeline has ended, or stop it first.",
            )
