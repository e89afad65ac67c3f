"""What is new in a run, shaped for the page that watches it. Holds nothing: the watcher says what it has seen.

The first answer carries the whole history, each curve thinned to what a screen can show; later ones only what was
appended since. `live` returns a dict:

- events, log: byte offsets to ask from next time · reset: forget what you have, this is the whole history · more: ask again
- curves: {metric: [[steps], [values]]} · first, last: [seconds, step] of the first and last point · samples, phases,
  warnings, best: events in order · text: new lines of the log · status: the state that is true now
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from engine.compute.rented import rented
from engine.runs import events, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import WORKING

# Points a curve keeps in the first answer: more than a screen has columns, twice for highs and lows.
_POINTS = 4000
_LOG_TAIL = 64_000
_LOG_PIECE = 256_000

Curve = tuple[list[int], list[float | None]]


def live(run: RunDirectory, events_offset: int, log_offset: int) -> dict[str, Any]:
    """What was added to the run's events and log after these byte offsets; all of it after 0."""
    status = run.status()  # before the events: what it says has happened is then among them
    size = run.events_file.stat().st_size if run.events_file.is_file() else 0
    offset = events_offset if 0 <= events_offset <= size else 0
    found, reached = events.read(run.events_file, offset)
    if offset and any(event["type"] == "resumed" for event in found):
        offset = 0  # the run went back to a checkpoint, so points after it are no longer true
        found, reached = events.read(run.events_file, 0)
    if offset == 0:
        found, reached = _all(run.events_file, found, reached)
    anew = bool(events_offset) and not offset  # what the watcher has is of another history
    text, log_reached = _log(run.log_file, 0 if anew else log_offset)
    return {
        "events": reached,
        "log": log_reached,
        "reset": offset == 0,
        "more": bool(found) and reached < size,  # a torn last line is no more to come
        **_shaped(_after_resume(found), thin=offset == 0),
        "text": text,
        "status": _status(run, status),
    }


def _all(path: Path, found: list[events.Event], reached: int) -> tuple[list[events.Event], int]:
    """The rest of a history that is too long for one read."""
    while True:
        further, end = events.read(path, reached)
        if end <= reached:
            return found, reached
        found, reached = found + further, end


def _status(run: RunDirectory, status: Any) -> dict[str, Any]:
    return {
        **status.to_dict(),
        "working": status.state in WORKING,
        "ended_state": status.ended_state,
        "waiting_behind": queue.position(run.name, run.path.parent),
        "stop_asked": run.stop_requested and not status.ended_state,
        "has_model": run.model_dir.is_dir(),
        "job": job.shown() if (job := rented(run)) else None,
        "now": time.time(),
    }


def _after_resume(found: list[events.Event]) -> list[events.Event]:
    """Events without the steps that were thrown away when the run went back to a checkpoint."""
    kept: list[events.Event] = []
    for event in found:
        if event["type"] == "resumed":
            kept = [e for e in kept if e.get("step", 0) <= event["step"]]
        kept.append(event)
    return kept


def _shaped(found: list[events.Event], *, thin: bool) -> dict[str, Any]:
    curves: defaultdict[str, Curve] = defaultdict(lambda: ([], []))
    by_type: defaultdict[str, list[events.Event]] = defaultdict(list)
    for event in found:
        by_type[event["type"]].append(event)
        if event["type"] == "metric":
            for key, value in event["values"].items():
                curves[key][0].append(event["step"])
                curves[key][1].append(value)
    points = by_type["metric"]
    resumed = max((event["t"] for event in by_type["resumed"]), default=0.0)
    paced = [event for event in points if event["t"] >= resumed and "loss" in event["values"]]
    return {
        "curves": {key: _thinned(curve) if thin else curve for key, curve in curves.items() if key != "epoch"},
        "first": [paced[0]["t"], paced[0]["step"]] if paced else None,
        "last": [paced[-1]["t"], paced[-1]["step"]] if paced else None,
        "samples": by_type["sample"],
        "phases": by_type["phase"],
        "warnings": by_type["warning"],
        "best": by_type["best"],
    }


def _thinned(curve: Curve) -> Curve:
    """A curve of at most `_POINTS` points that keeps the lowest and the highest of every stretch."""
    steps, values = curve
    if len(steps) <= _POINTS:
        return curve
    width = -(-len(steps) * 2 // _POINTS)
    kept: list[int] = []
    for start in range(0, len(steps), width):
        stretch = [i for i in range(start, min(start + width, len(steps))) if values[i] is not None]
        if stretch:
            ends = min(stretch, key=lambda i: values[i] or 0.0), max(stretch, key=lambda i: values[i] or 0.0)
            kept += sorted(set(ends))
    return [steps[i] for i in kept], [values[i] for i in kept]


def _log(path: Path, offset: int) -> tuple[str, int]:
    """Text after byte `offset`; from 0 on only the log's end."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = offset if 0 < offset <= size else max(0, size - _LOG_TAIL)
            file.seek(start)
            data = file.read(_LOG_PIECE)
    except FileNotFoundError:
        return "", 0
    cut = (data.rfind(b"\n") + 1 if len(data) == _LOG_PIECE else 0) or len(data)
    return data[:cut].decode("utf-8", "replace"), start + cut
