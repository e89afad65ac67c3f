"""Follows a run: a progress bar and the loss as a small curve in a terminal or a notebook, plain lines when piped.

Holds nothing that a run needs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engine.runs import events, queue
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.status import Status
from engine.sparkline import sparkline

_POLL_S = 0.2
_WIDTH = 16


def watch(name: str, courtesy_s: float = 0.0) -> Status:
    """Wait until a run has ended and return its last status, printing what happens on standard error.

    Dispatches the queue while it waits, so that a run starts even when no page is open. For `courtesy_s` seconds it leaves
    that to an open page, whose standby process begins at once where we would have to load every library.
    """
    run = RunDirectory.open(name)
    console = Console(stderr=True)
    show = _with_bar if console.is_terminal or console.is_jupyter else _with_lines
    return show(run, console, time.monotonic() + courtesy_s)


def _with_bar(run: RunDirectory, console: Console, ours_from: float) -> Status:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    losses: list[float] = []
    with Progress(*columns, console=console) as progress:
        task, status = progress.add_task("queued", total=None), run.status()
        for status, new in _ticks(run, ours_from):
            losses += [value for value in _losses(new) if value is not None]
            words = status.phase or status.state.value
            curve = f"  loss {losses[-1]:.4f} {sparkline(losses, _WIDTH)}" if losses else ""
            progress.update(task, completed=status.step, total=status.total_steps or None, description=words + curve)
        return status


def _losses(new: Iterable[events.Event]) -> Iterable[float | None]:
    return (event["values"]["loss"] for event in new if event["type"] == "metric" and "loss" in event["values"])


def _with_lines(run: RunDirectory, console: Console, ours_from: float) -> Status:
    said, status = "", run.status()
    for status, new in _ticks(run, ours_from):
        for line in _lines(new):
            print(line, file=sys.stderr, flush=True)
        if status.state.value != said:
            said = status.state.value
            print(f"{run.name}: {said}", file=sys.stderr, flush=True)
    return status


def _lines(new: Iterable[events.Event]) -> Iterable[str]:
    for event in new:
        if event["type"] == "metric":
            values = "  ".join(f"{k} {v:.6g}" for k, v in event["values"].items() if isinstance(v, (int, float)))
            yield f"step {event['step']}  {values}"
        elif event["type"] == "warning":
            yield f"warning: {event['message']}"


def _ticks(run: RunDirectory, ours_from: float) -> Iterable[tuple[Status, list[events.Event]]]:
    offset = 0
    while True:
        status = run.status()  # asked before the events, so that an ended run's last events are all read
        new, offset = events.read(run.events_file, offset)
        yield status, new
        if status.ended_state:
            return
        if time.monotonic() >= ours_from:
            queue.dispatch(runs_root())
        time.sleep(_POLL_S)
