"""How many runs are at work at once: one a device, and what the worker in each place is told to see."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from engine.device import cores, gpus
from engine.errors import DeviceError

# How many at once, when a person knows better than one a device.
WISH = "AITRAINING_PLACES"
# A worker sees its own GPU alone, and starts the next run when it ends: it is told which others there are.
ALL_GPUS = "AITRAINING_ALL_GPUS"


@dataclass(frozen=True)
class Place:
    """Room for one run; `environment` is what its worker has to be started with."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)


def places() -> list[Place]:
    """Every place there is. More places than GPUs share the GPUs in turn; places on a processor share its cores.

    Raises:
        DeviceError: AITRAINING_PLACES is no number of runs.
    """
    found = [one for one in os.environ.get(ALL_GPUS, "").split(",") if one] or list(gpus())
    count = _wished() or len(found) or 1
    if found:
        if count == 1 and len(found) == 1:
            return [Place("1")]  # the only one is seen without being named
        everyone = ",".join(found)
        return [Place(str(n + 1), {"CUDA_VISIBLE_DEVICES": found[n % len(found)], ALL_GPUS: everyone}) for n in range(count)]
    if count == 1:
        return [Place("1")]
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // count))
    return [Place(str(n + 1), {"OMP_NUM_THREADS": threads}) for n in range(count)]


def _wished() -> int:
    text = os.environ.get(WISH, "").strip()
    if not text:
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise DeviceError(f"{WISH} is {text!r}, which is no number of runs.", hint="Give one from 1 to 64, or take it away.")
    return int(text)
