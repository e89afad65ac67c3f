"""Keeps the trainable weights as they were at their best held-out measurement, and puts them back at the end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.linalg import vector_norm

from engine.worker.splitting import part_again, whole


class BestWeights:
    """A safetensors file of the weights that are trained; for LoRA that is the adapter alone."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def step(self) -> int | None:
        """The step after which the kept weights were so; None while none are kept."""
        try:
            with safe_open(str(self.file), "pt") as kept:
                return int((kept.metadata() or {}).get("step", 0))
        except FileNotFoundError:
            return None

    def keep(self, model: Any, step: int, *, write: bool = True) -> None:
        """Write the trainable weights, replacing the file in one step. All processes ask that hold a part of the model, and
        one of them writes.
        """
        weights = {}
        for name, weight in _trainable(model):
            found = whole(weight.detach())
            if write:
                weights[name] = found.cpu().contiguous()
        if write:
            part = self.file.with_suffix(".part")
            save_file(weights, part, {"step": str(step)})
            os.replace(part, self.file)

    def restore(self, model: Any) -> None:
        """Put the kept weights back into the model."""
        kept = load_file(self.file)
        with torch.no_grad():
            for name, parameter in _trainable(model):
                parameter.copy_(kept[name])

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)


def fingerprint(model: Any) -> torch.Tensor:
    """Sum and length of each trainable tensor: if no bit of it changed, neither did these. Shape (tensors, 2), float64."""
    with torch.no_grad():
        # Apple's GPUs have no float64; elsewhere no copy is made in it, which a large embedding would have no room for
        near = (p.detach().cpu() if p.device.type == "mps" else p.detach() for _, p in _trainable(model))
        both = ((p.sum(dtype=torch.float64), vector_norm(p, dtype=torch.float64)) for p in near)
        sums = [torch.stack([whole(one) for one in pair]).cpu() for pair in both]
    return torch.stack(sums)


def _trainable(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    part_again(model)
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
