"""The whole history of a run, shaped once for all who watch it.

Twenty people who open a run of a hundred thousand points ask for the same. What is kept may end a little before the end of
the file: whoever gets it asks for the rest, from the offset that comes with it, as for anything new.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

from engine.runs import events
from engine.runs.directory import RunDirectory

# Points a curve keeps in the first answer: more than a screen has columns, twice for highs and lows.
_POINTS = 4000
# A shorter history is read anew each time, and a kept one is used until as much has been added: some 4,000 points.
_WORTH_KEEPING = 1_000_000
_RUNS = 8

Curve = tuple[list[int], list[float | None]]


class _Kept(NamedTuple):
    of: tuple[int, float]
    reached: int
    shaped: dict[str, Any]


_kept: OrderedDict[str, _Kept] = OrderedDict()
_lock = threading.Lock()


def whole(run: RunDirectory, created: float, at_least: int = 0) -> tuple[dict[str, Any], int]:
    """The run's history from its beginning to about its end, and the offset at which that is: `at_least` this one.

    `created` tells the run from an earlier one of the same name. What is returned is shared: nobody may change it.
    """
    try:
        if run.events_file.stat().st_size < _WORTH_KEEPING:
            return _read(run)
    except FileNotFoundError:
        return shaped([], thin=True), 0
    name = str(run.path)
    with _lock:  # whoever else asks meanwhile gets what is being made
        stat = run.events_file.stat()  # not before the wait: what was made meanwhile may reach further than that
        kept, of = _kept.get(name), (stat.st_ino, created)
        near = kept and at_least <= kept.reached <= stat.st_size < kept.reached + _WORTH_KEEPING
        if kept is None or kept.of != of or not near:
            made, reached = _read(run)
            kept = _kept[name] = _Kept(of, reached, made)
        _kept.move_to_end(name)
        while len(_kept) > _RUNS:
            _kept.popitem(last=False)
    return kept.shaped, kept.reached


def _read(run: RunDirectory) -> tuple[dict[str, Any], int]:
    found: list[events.Event] = []
    reached = 0
    while True:
        further, end = events.read(run.events_file, reached)
        if end <= reached:
            return shaped(events.after_resumes(found), thin=True), reached
        found, reached = found + further, end


def shaped(found: list[events.Event], *, thin: bool) -> dict[str, Any]:
    """Events as a page draws them; see engine/runs/live.py for the keys."""
    curves: defaultdict[str, Curve] = defaultdict(lambda: ([], []))
    by_type: defaultdict[str, list[events.Event]] = defaultdict(list)
    for event in found:
        by_type[event["type"]].append(event)
        if event["type"] == "metric":
            for key, value in event["values"].items():
                if value is None or isinstance(value, (int, float)):
                    curves[key][0].append(event["step"])
                    curves[key][1].append(value)
    resumed = max((place for place, event in enumerate(found) if event["type"] == "resumed"), default=0)
    paced = [event for event in found[resumed:] if event["type"] == "metric" and "loss" in event["values"]]
    return {
        "curves": {key: _thinned(curve) if thin else curve for key, curve in curves.items() if key != "epoch"},
        "first": _paced(paced[0]) if paced else None,
        "last": _paced(paced[-1]) if paced else None,
        "samples": by_type["sample"],
        "phases": by_type["phase"],
        "warnings": by_type["warning"],
        "best": by_type["best"],
        "resumed": [event["step"] for event in by_type["resumed"]],
    }


def _paced(point: events.Event) -> list[float]:
    return [point.get("m", point["t"]), point["step"], point["t"]]


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
