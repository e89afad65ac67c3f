"""Queues a sweep's runs and waits for them: all at once where they are known, one after the other where each is chosen by
what came of those before it.

Whoever calls this may be killed at any moment: runs that were queued go on, and `taken_up` goes on from what they say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.admission import refuse_many
from engine.errors import ParamError
from engine.runs import listing, queue
from engine.runs.directory import RunDirectory
from engine.runs.lock import FileLock
from engine.runs.status import State
from engine.sweeps.group import Group, Progress
from engine.sweeps.sampling import Outcome, Values, following
from engine.sweeps.sweep import Sweep
from engine.sweeps.tries import one, planned

Tell = Callable[[str], None]

_POLL_S = 0.5
# A draw that cannot be used beside the others is passed over; so many in a row, and the ranges are at fault.
_PATIENCE = 20


@contextmanager
def begun(sweep: Sweep, request: str = "") -> Iterator[tuple[Group, FileLock]]:
    """A new sweep, every combination of it checked, written down and queued, and the lock of whoever waits for it.

    Raises:
        ParamError: some combination cannot be used, or nothing is held out to tell which is best; nothing was queued.
        RunNameTaken: there is a sweep, or a run, of such a name.
        RunError: on a server for others, these are too many runs of one person.
    """
    group = Group(sweep.name)
    group.must_be_new(sweep.wanted)
    made = planned(sweep)
    refuse_many(sweep.wanted)
    with group.driven() as lock:
        group.create(sweep, [one.values for one in made], request)
        _queue_all(group)
        yield group, lock


@contextmanager
def taken_up(name: str) -> Iterator[tuple[Group, FileLock]]:
    """A sweep that was begun and is not over, with what was taken out of the queue back in it, and the lock.

    Raises:
        RunNotFound: no sweep of this name was begun.
        RunActive: another process goes through it.
    """
    group = Group.open(name)
    with group.driven() as lock:
        group.sweep()  # told first if the file is damaged
        group.forget_the_end()
        queue.recover(group.root)
        _queue_all(group)
        yield group, lock


def go_through(group: Group, tell: Tell, courtesy_s: float = 0.0) -> Progress:
    """Wait until every run of a sweep whose lock is held has ended, and choose the next where they are chosen.

    A failed run stops no other. For `courtesy_s` an open page, whose standby process begins at once, may start each run.
    """
    said: dict[str, str] = {}
    free_since = time.monotonic()
    sweep = group.sweep()
    while True:
        progress = group.progress()
        _say(progress, said, tell)
        if not progress.at_work and not _queued_next(group, sweep, progress):
            return progress
        if any(t.at_work and t.state != State.QUEUED.value for t in progress.tries):
            free_since = time.monotonic()
        elif time.monotonic() - free_since >= courtesy_s:
            queue.dispatch(group.root)
        time.sleep(_POLL_S)


def _queued_next(group: Group, sweep: Sweep, progress: Progress) -> bool:
    """Queue what an adaptive sweep tries next; False when there is nothing, or it was asked to end."""
    if sweep.kind != "adaptive" or len(progress.tries) >= sweep.wanted or group.stop_file.exists():
        return False
    values = _next(sweep, [Outcome(t.values, t.value if t.rank else None) for t in sorted(progress.tries, key=_number)])
    if values is None:
        return False
    group.add(values)
    _queue_all(group)
    return True


def _number(one: Any) -> int:
    return one.number


def _next(sweep: Sweep, past: list[Outcome]) -> Values | None:
    """The next combination that can be used; one that cannot counts as tried and bad."""
    wrong: ParamError | None = None
    for _ in range(_PATIENCE):
        values = following(sweep, past)
        if values is None:
            break
        try:
            one(sweep, values)
        except ParamError as error:
            wrong, past = error, [*past, Outcome(values)]
        else:
            return values
    if wrong is not None:
        raise wrong
    return None


def _queue_all(group: Group) -> None:
    """Put every run in the queue that is not over: for the first time, or again after it was taken out or cut off."""
    sweep = group.sweep()
    for place, written in enumerate(group.tries()):
        run = RunDirectory(group.root / written["run"])
        if run.status_file.is_file():
            _queue_again(group, sweep, place, run, written["values"])
        elif not written["queued"]:
            _queue(group, sweep, place, run.name, written["values"])
    if group.stop_file.exists():
        stop_runs(group)  # whoever asked found no run to stop: there was none a moment ago


def _queue(group: Group, sweep: Sweep, place: int, name: str, values: Values) -> None:
    params = one(sweep, values).params.model_copy(update={"project_name": name})
    # the request makes it one run even if we die before it is written down as queued
    request = f"sweep {group.name} {group.created()!r} {name}"
    queue.enqueue(params, request_id=request, root=group.root)
    group.note(place, name, queued=True)


def _queue_again(group: Group, sweep: Sweep, place: int, run: RunDirectory, values: Values) -> None:
    status = run.status()
    if status.state not in (State.STOPPED, State.INTERRUPTED):
        group.note(place, run.name, queued=True)
    elif queue.has_progress(run):
        queue.resume(run)
    elif status.launched is None:  # it was taken out of the queue and holds nothing
        listing.delete(run)
        _queue(group, sweep, place, run.name, values)
    else:
        number, name = 2, f"{run.name}-2"
        while (group.root / name).exists():
            number, name = number + 1, f"{run.name}-{number + 1}"
        _queue(group, sweep, place, name, values)


def stop_runs(group: Group, *, force: bool = False) -> None:
    """Take those that wait out of the queue, then ask the one that trains to finish its step and save (`force`: at once)."""
    working = [one for one in group.progress().tries if one.at_work]
    for found in sorted(working, key=lambda one: (one.state != State.QUEUED.value, -one.number)):
        run = RunDirectory(group.root / found.run)
        if run.status_file.is_file():
            queue.stop(run, force=force)


def _say(progress: Progress, said: dict[str, str], tell: Tell) -> None:
    """A line for every run whose state is another one than before."""
    for found in sorted(progress.tries, key=_number):
        if said.get(found.run) == found.state:
            continue
        said[found.run] = found.state
        reached = "" if found.value is None or found.at_work else f", {progress.metric} {found.value:.4g}"
        why = f". {found.reason}" if found.state == State.FAILED.value and found.reason else ""
        tell(f"{found.run}: {found.state}{reached}{why}")
