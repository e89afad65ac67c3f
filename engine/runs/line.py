"""The runs that wait, in their order, and whether the queue is paused. Starts nothing.

A marker file per waiting run lies under `.queue/`, called by a number and what the run is called in the queue (its name, and
on a server with logins whose it is; engine/people.py): their order is the order of the queue. It is one for the machine: the
folder of any person's runs stands for it. The file `.queue.paused` holds the queue still until it is taken away.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence
from pathlib import Path

from engine.errors import RunError
from engine.people import queue_root
from engine.runs.directory import make_root
from engine.runs.lock import FileLock, is_held

# Where a run may be moved, as people say it.
PLACES = ("up", "down", "first", "last")
_MARKER = re.compile(r"[0-9]+-.+")


def lock(root: Path) -> FileLock:
    """The lock of whoever changes the queue, or deletes what may be in it."""
    make_root(root)
    return FileLock(queue_root(root) / ".queue.lock")


def folder(root: Path, name: str) -> Path:
    """A folder of the queue's own beside the runs, made if it is not there."""
    path = root / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def waiting(root: Path) -> list[str]:
    """Names that have a marker, in their order. A marker alone proves nothing: see `queue`."""
    return [_name(marker) for marker in _markers(root)]


def join(root: Path, name: str) -> None:
    """Put a run at the end, also when the clock went back since the last one came."""
    last = max((_number(marker) for marker in _markers(root)), default=0)
    (folder(queue_root(root), ".queue") / _called(max(time.time_ns(), last + 1), name)).touch()


def leave(root: Path, name: str) -> None:
    """Take a run out of the line."""
    for marker in _markers(root):
        if _name(marker) == name:
            marker.unlink(missing_ok=True)


def move(root: Path, name: str, to: str | int, among: Sequence[str]) -> None:
    """Put a run at another place: `up`, `down`, `first`, `last`, or a place counted from 1, of the runs `among`, which is
    the line without what only has a marker. The caller holds the lock.

    Raises:
        RunError: it does not wait, or there is no such place.
    """
    if name not in among:
        raise RunError(f"The run {name!r} does not wait in the queue.", hint="`aitraining queue` shows those that do.")
    now = among.index(name)
    wished = {"up": now - 1, "down": now + 1, "first": 0, "last": len(among) - 1}
    if not isinstance(to, int) and to not in wished:
        raise RunError(f"{to!r} is no place in the queue.", hint=f"Say {', '.join(PLACES)}, or a number from 1.")
    place = to - 1 if isinstance(to, int) else wished[to]
    place = min(max(place, 0), len(among) - 1)
    others = [other for other in among if other != name]
    _put_in_front(root, [*others[:place], name])


def _put_in_front(root: Path, names: Sequence[str]) -> None:
    """Make these the first, in this order.

    The last of them that moves is the one that was wished elsewhere: whoever is killed in between leaves the old order or
    the new one, since those before it only close ranks.
    """
    by_name = {_name(marker): marker for marker in _markers(root)}
    below = min(_number(marker) for marker in by_name.values())
    for place, name in enumerate(names):
        by_name[name].rename(by_name[name].with_name(_called(below - len(names) + place, name)))


def pause(root: Path) -> None:
    """Start nothing from now on; what is at work goes on."""
    make_root(root)
    _paused(root).touch()


def go_on(root: Path) -> None:
    """Start runs again."""
    _paused(root).unlink(missing_ok=True)


def is_paused(root: Path) -> bool:
    return _paused(root).exists()


def attend(root: Path) -> FileLock | None:
    """Say that this process starts whatever waits, for as long as the lock is held; None when another one said so."""
    if not root.is_dir():
        return None
    attending = FileLock(queue_root(root) / ".attended.lock")
    return attending if attending.acquire() else None


def attended(root: Path) -> bool:
    """Whether an open app starts what waits: it has libraries loaded already that we would have to load."""
    return is_held(queue_root(root) / ".attended.lock")


def _paused(root: Path) -> Path:
    return queue_root(root) / ".queue.paused"


def _markers(root: Path) -> list[Path]:
    """In their order; what else somebody or their file manager (.DS_Store) has put there is no marker."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(file for file in (queue_root(root) / ".queue").iterdir() if _MARKER.fullmatch(file.name))
    return []


def _called(number: int, name: str) -> str:
    return f"{number:020d}-{name}"


def _number(marker: Path) -> int:
    return int(marker.name.partition("-")[0])


def _name(marker: Path) -> str:
    return marker.name.partition("-")[2]
