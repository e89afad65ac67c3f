"""What the list of runs shows at one moment: a part of the runs, and the queue."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.people import LOCAL, OF, labelled, owner_and_name, queue_root, visible, who
from engine.runs import line, queue
from engine.runs.directory import RunDirectory
from engine.runs.listing import RunSummary, list_runs
from engine.runs.places import places

# More lines than this nobody reads; the others are counted.
_SHOWN = 200


@dataclass(frozen=True)
class Queue:
    """The queue at one moment: runs that were started, runs that wait, the next one first, and how many may work at once.

    On a server with logins the names are those of whoever asks (an admin's are everybody's), and of other people's runs it is
    told only how many there are.
    """

    paused: bool
    places: int
    working: tuple[str, ...]
    waiting: tuple[str, ...]
    others_working: int = 0
    others_waiting: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "working": list(self.working), "waiting": list(self.waiting)}


def queue_now(root: Path) -> Queue:
    """The queue as it is true now."""
    working, waiting = queue.working(root), queue.waiting(root)
    own, lined = _visible(root, working), _visible(root, waiting)
    return Queue(line.is_paused(root), len(places()), own, lined, len(working) - len(own), len(waiting) - len(lined))


def _visible(root: Path, called: list[str]) -> tuple[str, ...]:
    """The names by which whoever asks knows the runs that they may see."""
    paths = {one: labelled(queue_root(root), one) for one in called}
    named = {one: path.name for one, path in paths.items() if path.parent == root}
    admin = {one: one if OF in one else f"{LOCAL}{OF}{one}" for one in called if one not in named} if who().admin else {}
    return tuple({**named, **admin}[one] for one in called if one in named or one in admin)


def runs_page(root: Path, first: int, count: int, find: str) -> tuple[list[RunSummary], int]:
    """`count` runs from place `first` on, newest first, and how many there are; with `find` only those that have each of its
    words in their name, state, trainer, model or data. An admin's are everybody's."""
    words = find.lower().split()
    found = list_runs(root)
    for person in visible()[1:]:
        found += [replace(run, name=f"{person.id or LOCAL}{OF}{run.name}") for run in list_runs(person.folder)]
    found.sort(key=lambda run: run.created, reverse=True)
    if words:
        found = [run for run in found if all(word in _text(run) for word in words)]
    return found[first : first + count], len(found)


def waiting_lines(root: Path, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The first of the runs that wait, as lines that can be shown."""
    lines = []
    for name in names[:_SHOWN]:
        owner, own_name = owner_and_name(name)
        run = RunDirectory((owner.folder if OF in name else root) / own_name)
        with suppress(OSError, RunError):  # deleted while we looked, or damaged
            created, params = run.written_status().created, run.params()
            shown = {key: str(params.get(key, "")) for key in ("trainer", "model", "data_path")}
            lines.append({"name": name, "created": created, **shown})
    return lines


def _text(run: RunSummary) -> str:
    return " ".join((run.name, run.state, run.trainer, run.model, run.data)).lower()
