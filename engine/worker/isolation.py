"""Whether a model keeps documents apart that lie end to end in one row: found out by trying, whatever the architecture.

Attention can be told where documents begin; a recurrent state or a convolution (Mamba and its kin), or positions that
the model counts by itself, often cannot. Then what is learned from one row would leak into the next.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch

from engine.errors import ModelError
from engine.worker.flat import flatten, forward_inputs
from engine.worker.splitting import is_split, part_again

_TOKENS = 8


def keeps_apart(model: Any) -> bool:
    """Compare a document's hidden states behind another document with those it has alone; equal but for rounding is apart.

    Raises:
        ModelError: it does not and is split: documents one by one would be as many passes as each process has documents.
    """
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
    halved = getattr(bare, "is_quantized", False) or _needs_half(bare) or is_split(bare)  # whose layers may compute in half
    full = bare.dtype == torch.float32 and not halved
    apart = float((behind - alone).abs().max()) <= (1e-3 if full else 0.1) * float(alone.std())
    if not apart and is_split(bare):
        raise ModelError(
            "This kind of model cannot keep rows apart that lie end to end, and so cannot be split among processes.",
            hint="Turn FSDP off, or choose a model of another family.",
        )
    return apart


def in_half(bare: Any) -> Any:
    """Half precision for a model that is asked outside the training, where its attention computes in nothing else."""
    return torch.autocast(bare.device.type, torch.bfloat16) if _needs_half(bare) else contextlib.nullcontext()


def _needs_half(bare: Any) -> bool:
    return bare.config._attn_implementation == "flash_attention_2" and bare.dtype == torch.float32


def _states(bare: Any, documents: list[np.ndarray]) -> torch.Tensor:
    row = flatten([{"input_ids": ids, "labels": ids, "documents": [len(ids)]} for ids in documents])
    given = {key: value.to(bare.device) if isinstance(value, torch.Tensor) else value for key, value in row.items()}
    if is_split(bare):  # it is put together for those who ask the whole of it
        found = bare(**forward_inputs(bare, given), use_cache=False, output_hidden_states=True).hidden_states[-1][0].float()
        part_again(bare)
        return found
    return bare.base_model(**forward_inputs(bare, given), use_cache=False).last_hidden_state[0].float()
