"""What must be true of a run whatever was done to it, looked at from outside: files and processes, not the engine's view."""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

WORKING = {"preparing", "training", "evaluating", "saving"}
ENDED = {"done", "failed", "stopped", "interrupted"}
# Beside a checkpoint's weights: without one of these a resumed run would not go on as it was.
_OF_A_CHECKPOINT = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


def within(timeout_s: float, true: Callable[[], bool], poll_s: float = 0.1) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True


# ---- processes -----------------------------------------------------------------------------------------------------------


def worker_of(folder: Path) -> psutil.Process | None:
    """The living process that works on the run in `folder`; None when it is gone."""
    for pid in pids_of(folder):
        try:
            process = psutil.Process(pid)
            mine = process.environ().get("AITRAINING_HOME") == str(folder.parent)
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.Error:
            continue
    return None


def held_still(worker: psutil.Process | None) -> bool:
    """Whether it is one that somebody stopped: it can neither work nor leave."""
    try:
        return worker is not None and worker.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def pids_of(folder: Path) -> list[int]:
    """The processes that were started for a run, as its files tell."""
    status, file = _json(folder / "status.json") or {}, folder / "pid"
    words = file.read_text(encoding="ascii").split() if file.is_file() else []
    given = int(words[0]) if words else None
    return [pid for pid in dict.fromkeys((given, status.get("pid"))) if isinstance(pid, int)]


def left_of_group(pid: int) -> list[int]:
    """The living processes of the group that a worker led."""
    left = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process.pid)
        except (ProcessLookupError, psutil.Error):
            continue
    return left


# ---- files ---------------------------------------------------------------------------------------------------------------


def corrupt(folder: Path) -> Iterator[str]:
    """What is broken in the folder of a run that nobody works on now."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or any(part.endswith(".part") for part in relative.parts) or _unfinished(path):
            continue
        try:
            _open(path)
        except Exception as error:  # whatever a reader of it would meet
            yield f"{relative}: {type(error).__name__} {error}"
    for taken in folder.glob("checkpoints/checkpoint-*/trainer_state.json"):
        missing = [name for name in _OF_A_CHECKPOINT if not (taken.parent / name).is_file()]
        if missing or not list(taken.parent.glob("*.safetensors")):
            yield f"{taken.parent.name} is taken for whole without {missing or 'weights'}"


def _unfinished(path: Path) -> bool:
    """Whether it lies in a checkpoint that nobody takes for one, or belongs to data that are not prepared yet."""
    if path.parent.name.startswith("checkpoint-"):
        return not (path.parent / "trainer_state.json").is_file()
    return path.parent.name == "data" and not (path.parent.parent / "data.json").is_file()


def _open(path: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_bytes())
    elif path.suffix == ".jsonl":
        for line in path.read_bytes().split(b"\n")[:-1]:  # what comes after the last line's end may be torn
            json.loads(line)
    elif path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            assert file.keys(), "no tensors"
    elif path.suffix == ".npy":
        import numpy

        numpy.load(path, mmap_mode="r")
    elif path.suffix in (".pt", ".pth"):
        import torch

        torch.load(path, map_location="cpu", weights_only=False)


# transformers sets up what it loads by switches of the whole process.
_loading = threading.Lock()


def unloadable(folder: Path) -> str:
    """Why plain transformers cannot load a finished model; "" when it can."""
    try:
        with _loading:
            import transformers

            kind = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
            _, report = kind.from_pretrained(folder, output_loading_info=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    wrong = [*report["missing_keys"], *report["unexpected_keys"]]
    return f"other weights than expected: {wrong[:3]}" if wrong else ""


# ---- curves --------------------------------------------------------------------------------------------------------------


def broken_curves(curves: dict[str, Any], headline: str, steps: int) -> Iterator[str]:
    """What is wrong with the curves of a finished run: each step once, every value a number, none missing."""
    for key, (at, values) in curves.items():
        if any(b <= a for a, b in pairwise(at)):
            yield f"{key} has steps twice or out of order: {at}"
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
            yield f"{key} is not always a number: {values}"
    drawn = [step for step in curves.get("loss", curves.get(headline, [[]]))[0] if step]
    if drawn != list(range(1, steps + 1)):
        yield f"the loss has points at {drawn}, not at 1 to {steps}"


def lost_points(folder: Path) -> int:
    """How many points the log tells of that the events do not have."""
    told = len(re.findall(r"^\[[\d:]+\] step \d+ ", (folder / "worker.log").read_text(errors="replace"), re.MULTILINE))
    kept = 0
    for line in (folder / "events.jsonl").read_bytes().splitlines():
        kept += b'"type": "metric"' in line
    return max(0, told - kept)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
