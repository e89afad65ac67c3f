"""Strikes: when, at whom, with which signal. Everything is drawn from one seeded source."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from tests.faults.checks import ENDED, worker_of
from tests.faults.studio import Studio

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
TARGETS = ("worker",) * 5 + ("server",) * 2 + ("standby",)
# What is waited for before a strike; "any" is a random time.
MOMENTS = ("any", "launched", "preparing", "training", "checkpoint", "evaluating", "saving", "training", "checkpoint", "saving")
_WAIT_S = 60.0


@dataclass(frozen=True)
class Strike:
    """What is to be done: at which moment and how long after it, at whom, with which signal, stopped for how long."""

    moment: str
    after_s: float
    target: str
    signal: signal.Signals
    stopped_s: float


def draw(random: Random, longest_stop_s: float, targets: Sequence[str] = TARGETS) -> Strike:
    """The next strike."""
    moment = random.choice(MOMENTS)
    after = random.uniform(0, 4.0) if moment == "any" else random.choice((0.0, random.uniform(0, 0.3)))
    stopped = min(longest_stop_s, random.expovariate(6 / longest_stop_s))
    return Strike(moment, after, random.choice(targets), random.choice(SIGNALS), stopped)


def phase_of(folder: Path) -> str:
    """Where a run stands, from its files; `checkpoint` while one is being written."""
    try:
        status = json.loads((folder / "status.json").read_bytes())
    except (OSError, ValueError):
        return "queued"
    state = status["state"]
    if state == "queued":
        return "launched" if status.get("launched") else "queued"
    if state == "training" and _writing_checkpoint(folder):
        return "checkpoint"
    return "ended" if state in ENDED else state


def _writing_checkpoint(folder: Path) -> bool:
    try:
        written = list((folder / "checkpoints").iterdir())
    except OSError:
        return False
    return any(path.is_dir() and not (path / "trainer_state.json").is_file() for path in written)


def await_moment(folder: Path, strike: Strike) -> bool:
    """Wait for the strike's moment; False when the run ended before it came."""
    deadline = time.monotonic() + _WAIT_S
    while strike.moment != "any" and (phase := phase_of(folder)) != strike.moment:
        if phase == "ended" or time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    time.sleep(strike.after_s)
    return True


def aimed(strike: Strike, folder: Path, studio: Studio) -> psutil.Process | None:
    """The process to strike; None when there is none of that kind now."""
    if strike.target == "server":
        return psutil.Process(studio.process.pid) if studio.process is not None and studio.alive else None
    return studio.standby() if strike.target == "standby" else worker_of(folder)
