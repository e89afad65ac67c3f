"""The end of a container, which ends every process in it: runs that are at work save what they have learned."""

from __future__ import annotations

import time
from pathlib import Path

from engine.runs.directory import RunDirectory
from engine.runs.listing import list_runs


def shut_down(roots: list[Path], wait_s: float) -> list[str]:
    """Ask every run at work in these folders to finish its step and save, wait for them at most `wait_s` seconds, and return
    their names.

    One that is not done by then is killed with the container, and goes on from its checkpoint before that.
    """
    at_work = [run for run in (RunDirectory(root / told.name) for root in roots for told in list_runs(root)) if run.alive]
    for run in at_work:
        if not run.stop_requested:
            run.request_stop("shutdown")
    deadline = time.monotonic() + wait_s
    while any(run.alive for run in at_work) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [run.name for run in at_work]
