"""Stop and discard: a run is ended with all its processes and deleted, but never while its worker lives.

What is to be deleted is written down first, in a file under `.discard/` that holds when the run was made. If the worker
cannot be ended now, or whoever asked is killed, `sweep` deletes the run once its worker is gone; the open app does so every
second. A run of the same name that was made later is another run, and stays.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from engine.errors import RunActive, RunError, RunNotFound
from engine.people import label, labelled, queue_root
from engine.runs import launcher, line, listing
from engine.runs.directory import RunDirectory
from engine.runs.place import locked
from engine.runs.status import State


def discard(run: RunDirectory) -> bool:
    """End a run at once and delete it; False when its worker could not be ended yet, and is deleted when it is.

    Raises:
        RunError: it has ended already.
    """
    root = run.path.parent
    with locked(root):
        status = run.status()
        if status.ended_state:
            what = f"The run {run.name!r} has ended already: it is {status.state.value}."
            raise RunError(what, hint="Nothing was deleted. Delete it in the list of runs if you do not need it.")
        (line.folder(queue_root(root), ".discard") / label(run.path)).write_text(repr(status.created))
        if run.waits:
            run.update_status(state=State.STOPPED, ended=time.time(), reason="It was taken out of the queue.", cause="stopped")
            line.leave(root, label(run.path))
    launcher.end_now(run)
    return label(run.path) in sweep(root)


def sweep(root: Path) -> list[str]:
    """Delete what is to be deleted and has no worker any more; returns what those that are gone were called in the queue."""
    gone: list[str] = []
    root = queue_root(root)
    marks = root / ".discard"
    for mark in sorted(marks.iterdir()) if marks.is_dir() else []:
        run = RunDirectory(labelled(root, mark.name))
        if run.created is not None and repr(run.created) == mark.read_text(errors="replace"):
            try:
                listing.delete(run)
            except RunActive:
                continue  # asked again when its worker is gone
            except RunNotFound:
                pass  # somebody else was faster
        mark.unlink(missing_ok=True)
        gone.append(mark.name)
    return gone


def is_discarded(run: RunDirectory) -> bool:
    """Whether somebody asked for this run to be deleted, and it is not yet."""
    with contextlib.suppress(OSError):
        return (queue_root(run.path.parent) / ".discard" / label(run.path)).read_text(errors="replace") == repr(run.created)
    return False
