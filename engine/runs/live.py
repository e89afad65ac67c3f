"""What is new in a run, shaped for the page that watches it. Holds nothing: the watcher says what it has seen.

The first answer carries the whole history, each curve thinned to what a screen can show; later ones only what was
appended since. `live` returns a dict:

- events, log: byte offsets to ask from next time · reset: forget what you have, this is the whole history · more: ask again
- curves: {metric: [[steps], [values]]} · first, last: [seconds on a clock that nobody can set,
  step, seconds since 1970] of the first and last point · samples, phases, warnings, best: events in order
- resumed: the steps from which the run went on, in order · text: new lines of the log · status: the state that is true now
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from engine.compute.rented import rented
from engine.errors import RunError
from engine.runs import discard, events, history, line, queue
from engine.runs.directory import RunDirectory
from engine.runs.listing import saved_measurement
from engine.runs.status import WORKING
from engine.runs.worked import seconds_at_work

_LOG_TAIL = 64_000
_LOG_PIECE = 256_000


def live(run: RunDirectory, events_offset: int, log_offset: int) -> dict[str, Any]:
    """What was added to the run's events and log after these byte offsets; all of it after 0."""
    status = run.status()  # before the events: what it says has happened is then among them
    size = run.events_file.stat().st_size if run.events_file.is_file() else 0
    offset = events_offset if 0 <= events_offset <= size else 0
    found, reached = events.read(run.events_file, offset) if offset else ([], 0)
    if any(event["type"] == "resumed" for event in found):
        offset = 0  # the run went back to a checkpoint, so points after it are no longer true
    if offset:
        shaped = history.shaped(found, thin=False)
    else:
        shaped, reached = history.whole(run, status.created, at_least=reached)
    anew = bool(events_offset) and not offset  # what the watcher has is of another history
    text, log_reached = _log(run.log_file, 0 if anew else log_offset)
    return {
        "events": reached,
        "log": log_reached,
        "reset": offset == 0,
        "more": bool(found or not offset) and reached < size,  # a torn last line is no more to come
        **shaped,
        "text": text,
        "status": _status(run, status),
    }


def everything(run: RunDirectory) -> dict[str, Any]:
    """What `live` tells in its first answer and in those that a page asks for at once."""
    seen = live(run, 0, 0)
    while seen["more"]:
        further = live(run, seen["events"], seen["log"])
        seen = further if further["reset"] else _joined(seen, further)
    return seen


def _joined(seen: dict[str, Any], further: dict[str, Any]) -> dict[str, Any]:
    curves = dict(seen["curves"])
    for key, (steps, values) in further["curves"].items():
        before = curves.get(key, ([], []))
        curves[key] = ([*before[0], *steps], [*before[1], *values])
    lists = {key: [*seen[key], *further[key]] for key in ("samples", "phases", "warnings", "best", "resumed")}
    pace = {"first": seen["first"] or further["first"], "last": further["last"] or seen["last"]}
    return {**further, **lists, **pace, "curves": curves, "text": seen["text"] + further["text"], "reset": True}


def _status(run: RunDirectory, status: Any) -> dict[str, Any]:
    return {
        **status.to_dict(),
        "worked": seconds_at_work(run, status),
        "saved": saved_measurement(run.params(), status),
        "working": status.state in WORKING,
        "ended_state": status.ended_state,
        "waiting_behind": queue.position(run.name, run.path.parent),
        "paused": run.waits and line.is_paused(run.path.parent),
        "discarded": discard.is_discarded(run),
        "stop_asked": run.stop_requested and not status.ended_state,
        "has_model": run.model_dir.is_dir(),
        "has_adapter": run.adapter_dir.is_dir(),
        "upload": run.upload(),
        "job": _job(run),
        "now": time.time(),
    }


def _job(run: RunDirectory) -> dict[str, Any] | None:
    try:
        job = rented(run)
    except RunError:  # told to whoever wants to resume it; everything else is shown
        return None
    return job.shown() if job else None


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
