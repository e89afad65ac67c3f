"""What the list of runs shows at one moment: a part of the runs, and the queue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.runs import line, queue
from engine.runs.directory import RunDirectory
from engine.runs.listing import RunSummary, list_runs
from engine.runs.places import places

# More lines than this nobody reads; the others are counted.
_SHOWN = 200


@dataclass(frozen=True)
class Queue:
    """The queue at one moment: runs that were started, runs that wait, the next one first, and how many may work at once."""

    paused: bool
    places: int
    working: tuple[str, ...]
    waiting: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "working": list(self.working), "waiting": list(self.waiting)}


def queue_now(root: Path) -> Queue:
    """The queue as it is true now."""
    return Queue(line.is_paused(root), len(places()), tuple(queue.working(root)), tuple(queue.waiting(root)))


def runs_page(root: Path, first: int, count: int, find: str) -> tuple[list[RunSummary], int]:
    """`count` runs from place `first` on, newest first, and how many there are; with `find` only those that have each of its
    words in their name, state, trainer, model or data."""
    words = find.lower().split()
    found = list_runs(root)
    if words:
        found = [run for run in found if all(word in _text(run) for word in words)]
    return found[first : first + count], len(found)


def waiting_lines(root: Path, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The first of the runs that wait, as lines that can be shown."""
    lines = []
    for name in names[:_SHOWN]:
        run = RunDirectory(root / name)
        if run.created is not None:  # else it was deleted while we looked
            params = run.params()
            shown = {key: str(params.get(key, "")) for key in ("trainer", "model", "data_path")}
            lines.append({"name": name, "created": run.created, **shown})
    return lines


def _text(run: RunSummary) -> str:
    return " ".join((run.name, run.state, run.trainer, run.model, run.data)).lower()
