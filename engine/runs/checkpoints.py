"""The checkpoints of a run: which there are, and which are whole, so that a run can go on from them. No torch.

A kill, a full disk or a power cut may leave half of one. Each file is looked at as its format allows without reading all of
it: safetensors says how long it must be, and what PyTorch writes is a zip whose table comes last.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import NamedTuple

from engine.runs.directory import RunDirectory, read_json

_STATE = "trainer_state.json"
# Where DeepSpeed's processes put their parts of the optimizer.
_PARTED = "global_step*"


class Damaged(NamedTuple):
    """A checkpoint that nothing can go on from: its step, and why in words."""

    step: int
    why: str

    def __str__(self) -> str:
        return f"The checkpoint of step {self.step} is damaged: {self.why}."


class Found(NamedTuple):
    """What a run has to go on from: its newest whole checkpoint, and those after it that are damaged, newest first."""

    newest: Path | None
    damaged: tuple[Damaged, ...]


def step_of(folder: Path) -> int:
    """The step of `checkpoint-123`; -1 for a folder that is none."""
    number = folder.name.removeprefix("checkpoint-")
    return int(number) if number.isdecimal() and number != folder.name else -1


def all_of(run: RunDirectory) -> list[Path]:
    """Every checkpoint's folder, the newest first: by step, since a clock may have been set back."""
    found = [path for path in run.checkpoints_dir.glob("checkpoint-*") if step_of(path) >= 0 and path.is_dir()]
    return sorted(found, key=step_of, reverse=True)


def look(run: RunDirectory) -> Found:
    """The newest checkpoint that is whole, and the damaged ones that are newer."""
    damaged: list[Damaged] = []
    for folder in all_of(run):
        why = trouble(folder)
        if not why:
            return Found(folder, tuple(damaged))
        damaged.append(Damaged(step_of(folder), why))
    return Found(None, tuple(damaged))


def trouble(folder: Path) -> str:
    """What is wrong with a checkpoint, in words; "" for one that is whole."""
    try:
        return _state_trouble(folder) or _weights_trouble(folder) or _rest_trouble(folder)
    except OSError as error:
        return f"{error.filename or folder} cannot be read ({error.strerror})"


def _state_trouble(folder: Path) -> str:
    file = folder / _STATE
    if not file.is_file():
        return f"{_STATE} is missing"
    try:
        state = read_json(file)
    except (ValueError, RecursionError):
        return f"{_STATE} is cut off"
    same = isinstance(state, dict) and state.get("global_step") == step_of(folder)
    return "" if same else f"{_STATE} is of another step"


def _weights_trouble(folder: Path) -> str:
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    parts = {name for index in folder.glob("*.safetensors.index.json") for name in _named_in(index)}
    missing = parts - {file.name for file in files} or (set() if files else {"model.safetensors"})
    if missing:
        return f"{min(missing)} is missing"
    for file in files:
        try:
            with safe_open(file, framework="numpy"):
                pass  # opening compares the table with the file's length
        except (SafetensorError, ValueError):
            return f"{file.name} is cut off"
    return ""


def _named_in(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        return {index.name.removesuffix(".index.json")}


def _rest_trouble(folder: Path) -> str:
    """Optimizer, schedule, random numbers, and what a trainer keeps besides."""
    kept = [*folder.glob("*.pt"), *folder.glob("*.pth"), *folder.glob(f"{_PARTED}/*.pt")]
    if not (folder / "optimizer.pt").is_file() and not any(folder.glob(f"{_PARTED}/*optim_states.pt")):
        return "optimizer.pt is missing"
    return next((f"{file.name} is cut off" for file in sorted(kept) if not zipfile.is_zipfile(file)), "")
