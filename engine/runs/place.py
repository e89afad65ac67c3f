"""The folder of the runs as a place that can fail: gone away, read-only, full. Holds the lock of its queue.

A server remembers which folder it began with: the disk that holds it may be taken away, and then an empty folder of the
same name, or none, must not be taken for one without runs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import RunError
from engine.people import queue_root
from engine.runs.lock import FileLock

MAKE_ROOM = "Make room: remove the checkpoints of ended runs (Runs page, Free space; or aitraining prune), or delete old runs."
ELSEWHERE = "Set AITRAINING_HOME to a folder that can be written, or make this one writable."
# Made by everybody who takes the queue's lock, so a folder that was in use has it.
_MARK = ".queue.lock"
_remembered: set[Path] = set()


def remember(root: Path) -> None:
    """From now on a `root` without what it holds now is one that went away."""
    if (root / _MARK).is_file():
        _remembered.add(root)


def forget(root: Path) -> None:
    _remembered.discard(root)


def gone(root: Path) -> RunError | None:
    """What to tell when the folder that was there is not there now; a person's goes with the machine's."""
    root = queue_root(root)
    try:
        if root not in _remembered or (root / _MARK).is_file():
            return None
        why = "it is empty now" if root.is_dir() else "it is not there any more"
    except OSError as error:  # a network disk that does not answer
        why = (error.strerror or str(error)).lower()
    return RunError(
        f"The folder of the runs, {root}, has gone away: {why}.",
        hint="Is its disk unplugged or unmounted? Once it is back, everything goes on. If you removed it, restart the studio.",
    )


def look_at(root: Path) -> str:
    """What keeps the runs folder from being used in full, in words: "" where it can be written. Makes it if it is missing.

    Raises:
        RunError: it is not there and cannot be made, or it cannot be read.
    """
    make_root(root)
    if os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return ""
    if not os.access(root, os.R_OK | os.X_OK):
        raise RunError(f"The folder of the runs, {root}, cannot be read.", hint=ELSEWHERE)
    return f"The folder of the runs, {root}, is read-only: its runs can be looked at, and none can be started. {ELSEWHERE}"


def make_root(root: Path) -> None:
    """Make the runs folder if it is not there.

    Raises:
        RunError: it cannot be made, or it was there and has gone away.
    """
    away = gone(root)
    if away:
        raise away
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(error, root) from error


def unusable(error: OSError, root: Path) -> RunError:
    """What an error of the system means for whoever wanted to write in `root`."""
    away = gone(root)
    if away:
        return away
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"The disk of {root} is full.", hint=MAKE_ROOM)
    if error.errno is None:  # a lock that was waited for in vain
        return RunError(str(error), hint="Try again in a moment. If it stays so, end the process that holds it.")
    why = error.strerror or str(error)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOENT, errno.EEXIST):
        return RunError(f"The folder {root} cannot be written: {why}.", hint=ELSEWHERE)
    return RunError(
        f"The folder {root} cannot be used: {why}.", hint="Is its disk in order? Else set AITRAINING_HOME elsewhere."
    )


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Tell what keeps us from writing there.

    Raises:
        RunError: the system refused something that was done within.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a lock that was waited for in vain, say
            raise
        raise unusable(error, root) from error


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of the queue while runs change. Raises as `writing`."""
    make_root(root)
    with writing(root), FileLock(queue_root(root) / _MARK):
        yield
