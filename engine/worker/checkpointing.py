"""Checkpoints that survive: room is looked for first, they are written aside and put in place, older ones go afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.filesize import decimal

from engine.errors import TrainingError
from engine.runs.checkpoints import step_of
from engine.runs.usage import bytes_in
from engine.worker.placing import put

# Beside the weights: tokenizer, random numbers, the history of the run. And what others may write meanwhile.
_BESIDE = 256 << 10
_SPARE = 1.02


class SafeCheckpoints:
    """Mixed into a transformers Trainer, before it: how a checkpoint comes into the run's folder."""

    accelerator: Any
    args: Any
    model: Any
    optimizer: Any
    state: Any
    _aside: Path | None = None

    def _get_output_dir(self, trial: Any) -> str:
        """Where the checkpoint that is being written goes: aside, until it is whole."""
        return str(self._aside) if self._aside else super()._get_output_dir(trial)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """
        Raises:
            TrainingError: there is no room for it; the ones before it are as they were.
        """
        folder, first = Path(self.args.output_dir), self.args.process_index == 0
        aside = folder / ".part"
        if first:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            require_room(folder, self._size(folder), "The next checkpoint")
        self.accelerator.wait_for_everyone()  # each process writes its random numbers beside the weights of the first
        self._aside = aside
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            self.accelerator.wait_for_everyone()
            written = aside / f"checkpoint-{self.state.global_step}"
            if first:
                put(written, folder / written.name)
        finally:
            self._aside = None
            if first:
                shutil.rmtree(aside, ignore_errors=True)
        if first:
            _forget_older(folder, self.state.global_step, self.args.save_total_limit or 1)

    def _size(self, folder: Path) -> int:
        """Bytes that the next checkpoint will take: the tensors that it holds, or as many as the one before it took."""
        peft = hasattr(self.model, "peft_config")
        weights = _bytes(p for p in self.model.parameters() if p.requires_grad or not peft)
        kept = getattr(self.optimizer, "state", {}).values()
        moments = _bytes(v for values in kept for v in values.values() if isinstance(v, torch.Tensor))
        before = max((bytes_in(path) for path in folder.glob("checkpoint-*")), default=0)
        return max(weights + moments + _BESIDE, before)


def require_room(folder: Path, needed: int, what: str) -> None:
    """
    Raises:
        TrainingError: the disk of `folder` has no room for `needed` bytes more; `what` needs them.
    """
    free = shutil.disk_usage(folder).free
    if needed * _SPARE > free:
        raise TrainingError(f"{what} takes {decimal(needed)}, and {decimal(free)} are free in {folder}.", cause="disk")


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _forget_older(folder: Path, newest: int, most: int) -> None:
    """Keep the newest `most`. By step: a file's time is of a clock that may have been set back. What is of a later step than
    the newest is of a course that was given up."""
    steps = {step_of(path): path for path in folder.glob("checkpoint-*") if step_of(path) >= 0}
    kept = sorted((step for step in steps if step <= newest), reverse=True)[:most]
    for step, path in steps.items():
        if step not in kept:
            shutil.rmtree(path, ignore_errors=True)
