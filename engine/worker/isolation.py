"""Whether a model keeps documents apart that lie end to end in one row: found out by trying, whatever the architecture.

Attention can be told where documents begin; a recurrent state or a convolution (Mamba and its kin), or positions that
the model counts by itself, often cannot. Then what is learned from one row would leak into the next.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch

from engine.worker.flat import flatten, forward_inputs

_TOKENS = 8


def keeps_apart(model: Any) -> bool:
    """Compare a document's hidden states behind another document with those it has alone; equal but for rounding is apart."""
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    vocabulary = bare.config.get_text_config().vocab_size
    first, second = (np.arange(start, start + _TOKENS) * 7 % vocabulary for start in (1, 1 + _TOKENS))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), in_half(bare):
            alone, behind = _states(bare, [second]), _states(bare, [first, second])[-_TOKENS:]
    finally:
        model.train(was_training)
    full = bare.dtype == torch.float32 and not getattr(bare, "is_quantized", False) and not _needs_half(bare)
    return float((behind - alone).abs().max()) <= (1e-3 if full else 0.1) * float(alone.std())


def in_half(bare: Any) -> Any:
    """Half precision for a model that is asked outside the training, where its attention computes in nothing else."""
    return torch.autocast(bare.device.type, torch.bfloat16) if _needs_half(bare) else contextlib.nullcontext()


def _needs_half(bare: Any) -> bool:
    return bare.config._attn_implementation == "flash_attention_2" and bare.dtype == torch.float32


def _states(bare: Any, documents: list[np.ndarray]) -> torch.Tensor:
    row = flatten([{"input_ids": ids, "labels": ids, "documents": [len(ids)]} for ids in documents])
    given = {key: value.to(bare.device) if isinstance(value, torch.Tensor) else value for key, value in row.items()}
    return bare.base_model(**forward_inputs(bare, given), use_cache=False).last_hidden_state[0].float()
