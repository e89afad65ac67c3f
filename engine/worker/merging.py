"""Adds an adapter's weights to those of its base, so that the sum computes what both computed together."""

from __future__ import annotations

from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from engine.models import ModelSource
from engine.worker.models import add_up, load_any


def merge(model: Any, source: ModelSource, dtype: torch.dtype) -> Any:
    """The complete model that `model`, an adapter on `source`, computes, in `dtype`, the format of the base's file.

    A base that was held in a coarser format while it trained is read again: weights that nothing was added to stay what they
    were to the bit, and sums are rounded once. Where there is no memory for that, the held ones are taken.
    """
    if _rounded(model, dtype) and _has_room(model, dtype):
        _put_back(model, _base(model, source, dtype))
    return add_up(model).to(dtype)


def _rounded(model: Any, dtype: torch.dtype) -> bool:
    """Whether the base is held in a format that cannot say all that its file says; fp32 can."""
    fine = (dtype, torch.float32)
    return any(w.is_floating_point() and w.dtype not in fine for w in model.parameters() if not w.requires_grad)


def _has_room(model: Any, dtype: torch.dtype) -> bool:
    return sum(w.numel() for w in model.parameters()) * dtype.itemsize < psutil.virtual_memory().available


def _base(model: Any, source: ModelSource, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The base's weights by name, as they are in its file, in the machine's memory."""
    kind: Any = AutoModelForCausalLM
    further: dict[str, Any] = {}
    if not model.can_generate():
        kind, further = AutoModelForSequenceClassification, {"num_labels": model.config.num_labels}
    return load_any(source, kind, dtype=dtype, use_safetensors=True, trust_remote_code=False, **further).state_dict()


def _put_back(model: Any, exact: dict[str, torch.Tensor]) -> None:
    """Frozen weights of `model` become those of `exact`; a fresh head, which no file has, is among those that are trained."""
    for name, weight in model.get_base_model().named_parameters():
        plain = name.replace(".base_layer.", ".")
        if not weight.requires_grad and plain in exact:
            weight.data = exact[plain]
    model.to("cpu")
