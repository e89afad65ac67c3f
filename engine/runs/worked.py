"""How long a run has worked: all its parts together, however often it was stopped and resumed."""

from __future__ import annotations

import time

from engine.runs.directory import RunDirectory
from engine.runs.status import WORKING, Status


def seconds_at_work(run: RunDirectory, status: Status) -> float | None:
    """Seconds at work so far; None for a run that has not begun. One that was killed worked up to its last event."""
    if status.started is None:
        return status.worked_before or None
    until = status.started
    if status.ended is not None:
        until = status.ended
    elif status.state in WORKING:
        until = time.time()
    elif run.events_file.is_file():
        until = run.events_file.stat().st_mtime
    return status.worked_before + max(0.0, until - status.started)  # a clock that was set back makes nothing negative
