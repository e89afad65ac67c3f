"""events.jsonl: what happened in a run, one JSON object a line, only ever appended to.

A reader keeps the byte offset it has seen and ignores a torn last line, so any number of processes can follow a run
and none of them holds anything that could be lost. Every event has `t` (seconds since 1970) and `type`:

- metric  {step, values: {key: number}, m}  numbers that are not finite are written as null; m: seconds on a clock that
          nobody can set, to measure pace with
- phase   {phase, detail, done, total}      what the worker is doing; done/total may be missing
- sample  {step, prompt, answer}            one fixed prompt answered at a step
- warning {message, hint}                 and for some: about, rows, of, longest (see engine/worker/rows.py)
- best    {step, value}                     a new best held-out measurement
- saved   {step, path}                      a checkpoint, or the model
- resumed {step}                            the run goes on from this step; from 0, it was begun again
- transfer {what, done, total, per_second}  bytes fetched from the Hugging Face Hub so far, every few seconds
- uploaded {address}                        the finished model is there
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Event = dict[str, Any]
_STEP = ("step", int)
# What a reader needs of an event besides `t`, by its type.
_NEEDED: dict[str, tuple[tuple[str, type], ...]] = {
    "metric": (_STEP, ("values", dict)),
    "sample": (_STEP, ("prompt", str), ("answer", str)),
    "warning": (("message", str),),
    "best": (_STEP,),
    "resumed": (_STEP,),
}


def append(path: Path, kind: str, /, **values: Any) -> None:
    """Append one event as one write, so that a reader never sees two events mixed.

    Raises:
        OSError: it cannot be written; a disk that took only half of it has given that back.
    """
    line = json.dumps({"t": round(time.time(), 3), "type": kind, **finite(values)}, ensure_ascii=False)
    data = line.encode("utf-8", "replace") + b"\n"
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        if file.write(data) != len(data):
            file.truncate(before)  # else the next event would be joined to half of this one, and both be lost
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read(path: Path, offset: int = 0, limit_bytes: int = 8_000_000) -> tuple[list[Event], int]:
    """Events from byte `offset` on (at most about `limit_bytes` of them), and the offset to ask from next time."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit_bytes)
    except FileNotFoundError:
        return [], 0
    end = data.rfind(b"\n") + 1
    return list(_parsed(data[:end].splitlines())), offset + end


def after_resumes(found: Iterable[Event]) -> list[Event]:
    """Events without those of the steps that were thrown away when the run went back to a checkpoint, or to its beginning."""
    kept: list[Event] = []
    for event in found:
        if event["type"] == "resumed":
            last = event["step"] or -1  # what was measured before the first step is measured anew as well
            kept = [e for e in kept if e.get("step", -1) <= last]
        kept.append(event)
    return kept


def mend(path: Path) -> None:
    """Cut off a last line that was torn when its writer was killed, so that the next event is not joined to half of it."""
    try:
        with path.open("r+b") as file:
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
    except FileNotFoundError:
        return


def _parsed(lines: Iterable[bytes]) -> Iterable[Event]:
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue  # torn by a crash and then appended to: the one line that may be lost
        if isinstance(event, dict) and _is_sound(event):
            yield event


def _is_sound(event: Event) -> bool:
    """Whether an event has what every reader of its kind goes by: one line that somebody damaged hides no others."""
    if not isinstance(event.get("t"), (int, float)) or not isinstance(event.get("type"), str):
        return False
    return all(isinstance(event.get(name), kind) for name, kind in _NEEDED.get(event["type"], ()))


def finite(value: Any) -> Any:
    """The value with null for every number that JSON cannot hold (NaN and the infinities)."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
