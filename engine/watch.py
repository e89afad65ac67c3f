"""Follows a run in a terminal: a progress bar where there is one, plain lines when piped. Holds nothing a run needs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engine.runs import events, queue
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.status import Status

_POLL_S = 0.2


def watch(name: str) -> Status:
    """Wait until a run has ended and return its last status, printing what happens on standard error.

    Dispatches the queue while it waits, so that a run starts even when no page is open.
    """
    run = RunDirectory.open(name)
    console = Console(stderr=True)
    return _with_bar(run, console) if console.is_terminal else _with_lines(run)


def _with_bar(run: RunDirectory, console: Console) -> Status:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task, status = progress.add_task("queued", total=None), run.status()
        for status, new in _ticks(run):
            loss = next((e["values"]["loss"] for e in reversed(new) if e["type"] == "metric" and "loss" in e["values"]), None)
            words = status.phase or status.state.value
            progress.update(task, completed=status.step, total=status.total_steps or None)
            if loss is not None or status.ended_state or not status.step:
                progress.update(task, description=words if loss is None else f"{words}  loss {loss:.4f}")
        return status


def _with_lines(run: RunDirectory) -> Status:
    said, status = "", run.status()
    for status, new in _ticks(run):
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


def _ticks(run: RunDirectory) -> Iterable[tuple[Status, list[events.Event]]]:
    offset = 0
    while True:
        status = run.status()  # asked before the events, so that an ended run's last events are all read
        new, offset = events.read(run.events_file, offset)
        yield status, new
        if status.ended_state:
            return
        queue.dispatch(runs_root())
        time.sleep(_POLL_S)
