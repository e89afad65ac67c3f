"""All of the queue that pages and programs may ask for, by names of runs: what stands in it, its order, its pause."""

from __future__ import annotations

from typing import Any

from engine import people
from engine.errors import RunError
from engine.runs import line, queue
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.listing import RunSummary
from engine.runs.overview import Queue, queue_now, runs_page, waiting_lines

__all__ = ["Queue", "cancel", "go_on", "move", "now", "overview", "pause"]


def now() -> Queue:
    """Whether it is paused, what is at work, and what waits, the next one first."""
    return queue_now(runs_root())


def overview(first: int, count: int, find: str = "") -> tuple[list[RunSummary], int, Queue, list[dict[str, Any]]]:
    """`count` runs from place `first` on that have the words of `find`, how many there are, and the queue with its lines."""
    found, total = runs_page(runs_root(), first, count, find)
    stands = now()
    return found, total, stands, waiting_lines(runs_root(), stands.waiting)


def pause() -> None:
    """Start nothing until `go_on`, also after a restart; what is at work goes on. Raises RunError as `move`."""
    _refuse_others()
    line.pause(runs_root())


def go_on() -> None:
    """Start what waits again. Raises RunError as `move`."""
    _refuse_others()
    line.go_on(runs_root())
    if not line.attended(runs_root()):  # an open app starts what waits within a second, and faster than we could
        queue.dispatch(runs_root())


def move(name: str, to: str | int, *, created: float | None = None) -> None:
    """Let a run that waits wait elsewhere: `up`, `down`, `first`, `last`, or a place counted from 1. With `created` only the
    run that was made then is meant, and no later one of its name.

    Raises:
        RunError: it does not wait, there is no such place, or the queue is also other people's and whoever asks is no admin.
    """
    _refuse_others()
    queue.move(RunDirectory.open(name, created=created), to)


def _refuse_others() -> None:
    if people.logins() == "people" and not people.who().admin:
        raise RunError(
            "This queue is everybody's, so its order and its pauses are for those who look after the studio.",
            hint="You can take your own runs out of it.",
        )


def cancel(name: str, *, created: float | None = None) -> None:
    """Take a run that waits out of the queue. Raises RunError for one that has begun, which is left alone."""
    queue.cancel(RunDirectory.open(name, created=created))
