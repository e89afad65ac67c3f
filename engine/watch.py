"""Follows a run: a bar, the time that is left and the loss as a small curve in a terminal or a notebook, else plain lines.

Holds nothing that a run needs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from engine.notebook import NotebookProgress, in_notebook
from engine.runs import events, line, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State, Status
from engine.sparkline import sparkline

# Where a run stands, and what has happened in it since.
Ticks = Iterable[tuple[Status, list[events.Event]]]

_POLL_S = 0.2
# How long the process of a run that has ended may take to leave.
_LEAVING_S = 10.0
_WIDTH = 16
_BAR = 24


def watch(name: str, courtesy_s: float = 0.0, *, root: Path | None = None) -> Status:
    """Wait until a run has ended and return its last status, showing what happens on standard error or in the notebook.

    Dispatches the queue while it waits, so that a run starts even when no page is open. For `courtesy_s` seconds it leaves
    that to an open page, whose standby process begins at once where we would have to load every library. The run is one of
    `root`, or of whoever asks.
    """
    run = RunDirectory.open(name, root)
    ticks = _ticks(run, time.monotonic() + courtesy_s)
    if in_notebook():
        return _in_notebook(run, ticks)
    console = Console(stderr=True)
    return _with_bar(run, console, ticks) if console.is_terminal else _with_lines(run, ticks)


def time_left(status: Status, seconds: float, since: int) -> str:
    """How long the rest takes at the pace of the steps since `since`, in words; "" while nothing is known."""
    done, rest = status.step - since, status.total_steps - status.step
    if done <= 0 or rest <= 0 or seconds <= 0:
        return ""
    return f"{timedelta(seconds=round(rest * seconds / done))} left"


class _Pace:
    """When the first step that was seen was done, and how long the others have taken since."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def left(self, status: Status) -> str:
        """What `time_left` says, from the first step that was seen."""
        if not status.step:
            return ""
        if self._first is None:
            self._first = (status.step, time.monotonic())
        step, began = self._first
        return time_left(status, time.monotonic() - began, step)


def _doing(run: RunDirectory, status: Status) -> str:
    """What the run is at, with how far a download is."""
    moved = f": {transferred(status.transfer)}" if status.transfer else ""
    return (status.phase or _stands(run, status)) + moved


def transferred(transfer: dict[str, Any]) -> str:
    """How much has come from the Hub, and how fast: 12.0 of 30.0 MB, 4.0 MB a second."""
    done, total, speed = (transfer.get(name) or 0 for name in ("done", "total", "per_second"))
    return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB" + (f", {speed / 1e6:,.1f} MB a second" if speed else "")


def _with_bar(run: RunDirectory, console: Console, ticks: Ticks) -> Status:
    # what changes its length stands last, so that the bar keeps its place
    words = (TextColumn("{task.fields[left]}"), TextColumn("{task.description}", markup=False))
    columns = (BarColumn(_BAR), MofNCompleteColumn(), *words)
    losses, pace = list[float](), _Pace()
    with Progress(*columns, console=console) as progress:
        task, status = progress.add_task("queued", total=None, left=""), run.status()
        for status, new in ticks:
            losses += _losses(new)
            doing = _doing(run, status)
            curve = f"  loss {losses[-1]:.4f} {sparkline(losses, _WIDTH)}" if losses else ""
            total = status.total_steps or None
            progress.update(task, completed=status.step, total=total, description=doing + curve, left=pace.left(status))
            for words in _warnings(new):
                progress.console.print(words, markup=False)
        return status


def _in_notebook(run: RunDirectory, ticks: Ticks) -> Status:
    losses, pace, output, status = list[float](), _Pace(), NotebookProgress(), run.status()
    for status, new in ticks:
        losses += _losses(new)
        output.show(run.name, status, losses, pace.left(status))
        for words in _warnings(new):
            print(words)
    return status


def _losses(new: Iterable[events.Event]) -> list[float]:
    """The losses among new events; one that was no number is left out, since no curve can show it."""
    values = [event["values"].get("loss") for event in new if event["type"] == "metric"]
    return [value for value in values if value is not None]


def _warnings(new: Iterable[events.Event]) -> list[str]:
    return [f"warning: {event['message']}" for event in new if event["type"] == "warning"]


def _with_lines(run: RunDirectory, ticks: Ticks) -> Status:
    said, status = "", run.status()
    for status, new in ticks:
        for words in _lines(new):
            print(words, file=sys.stderr, flush=True)
        if _stands(run, status) != said:
            said = _stands(run, status)
            print(f"{run.name}: {said}", file=sys.stderr, flush=True)
    return status


def _stands(run: RunDirectory, status: Status) -> str:
    """The run's state in words; of one that is held up by a paused queue, that it is."""
    held = status.state is State.QUEUED and line.is_paused(run.path.parent)
    return f"{status.state.value}, and the queue is paused: `aitraining queue continue`" if held else status.state.value


def _lines(new: Iterable[events.Event]) -> Iterable[str]:
    for event in new:
        if event["type"] == "metric":
            values = "  ".join(f"{k} {v:.6g}" for k, v in event["values"].items() if isinstance(v, (int, float)))
            yield f"step {event['step']}  {values}"
        elif event["type"] == "transfer":
            yield f"{event['what']}: {transferred(event)}"
        elif event["type"] == "warning":
            yield f"warning: {event['message']}"


def _see_off(run: RunDirectory) -> None:
    """Wait until the process of an ended run has gone: it clears up after it has told how it ended, and a run whose process is
    there can be neither deleted nor trained on.
    """
    until = time.monotonic() + _LEAVING_S
    while run.alive and time.monotonic() < until:
        time.sleep(0.02)


def _ticks(run: RunDirectory, ours_from: float) -> Ticks:
    offset = 0
    while True:
        status = run.status()  # asked before the events, so that an ended run's last events are all read
        new, offset = events.read(run.events_file, offset)
        yield status, new
        if status.ended_state:
            _see_off(run)
            return
        if time.monotonic() >= ours_from:
            queue.dispatch(run.path.parent)
        time.sleep(_POLL_S)
