"""The process that waits for a sweep's runs: it outlives the page or the terminal that began it.

It starts what is queued when no page is open, and of an adaptive sweep it queues the next run when one has ended. Whoever asks
checks everything, queues what is known, and hands the sweep's lock on to this process: see engine/pipelines/detached.py.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from engine.errors import RunActive, RunError, RunNameTaken, StudioError
from engine.runs import launcher
from engine.runs.lock import FileLock
from engine.sweeps import drive
from engine.sweeps.group import Group
from engine.sweeps.sweep import Sweep

_MODULE = "engine.sweeps.detached"
# So long a page that is open, whose standby process begins at once, is left to start each run.
_COURTESY_S = 2.0


def start(sweep: Sweep, request: str = "") -> str:
    """Queue a sweep's runs and return its name at once. The same `request` gives the same sweep, however often it is asked.

    Raises:
        ParamError: some combination cannot be used; nothing was queued.
        RunNameTaken: there is a sweep, or a run, of such a name.
    """
    known = _asked_before(request)
    if known is not None:
        return known
    try:
        with drive.begun(sweep, request) as (group, lock):
            _leave(group, lock)
    except (RunNameTaken, RunActive):  # the same wish, asked at the same moment
        if not Group(sweep.name).asked_as(request):
            raise
    return sweep.name


def _asked_before(request: str) -> str | None:
    """The sweep that this request made; its name may have been chosen for it, so it is looked for among all."""
    for name in Group.names() if request else []:
        try:
            if Group(name).asked_as(request):
                return name
        except RunError:  # damaged; told where sweeps are listed
            continue
    return None


def go_on(name: str) -> None:
    """Go on with a sweep that was begun: runs that are done or failed stay as they are, the rest is queued again.

    Raises:
        RunNotFound: no sweep of this name was begun.
        RunActive: another process goes through it.
    """
    with drive.taken_up(name) as (group, lock):
        _leave(group, lock)


def stop(name: str, *, force: bool = False, root: Path | None = None) -> None:
    """End a sweep: what waits is taken out of the queue, the run that trains finishes its step, saves and is kept.

    It is one of `root`, or of whoever asks.

    Raises:
        RunNotFound: there is no such sweep.
    """
    group = Group.open(name, root)
    group.stop_file.touch()
    drive.stop_runs(group, force=force)


def _leave(group: Group, lock: FileLock) -> None:
    launcher.start_detached(_MODULE, group.name, log=group.log_file, keep=lock)


def main(argv: Sequence[str]) -> int:
    """Wait for the runs of the sweep `argv[0]`, whose lock we were given. Whatever ends us is written down for the page."""
    group = Group.open(argv[0])
    if not group.is_driven:
        print(f"Nobody holds the lock of {group.name}. Go on with it by: aitraining sweep {group.name} --resume")
        return 2
    try:
        drive.go_through(group, lambda words: print(words, flush=True), _COURTESY_S)
    except StudioError as error:
        print(error, flush=True)
        group.ended_by(error.message, error.hint)
        return 1
    except Exception as error:
        traceback.print_exc()
        told = f"The process that waits for the runs ended by an error: {type(error).__name__}: {error}."
        group.ended_by(told, f"Its log tells more: {group.log_file}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
