"""Attention over several documents that lie end to end in one row, without padding and without a mask.

Registered with transformers as "documents": the row is cut at the document starts (`cu_seq_lens_q`, as the flash
kernels name them) and each document runs through PyTorch's causal attention by itself, so the cost is the sum of the
documents' squared lengths and not the square of their sum. No mask function is registered under this name, so
transformers builds none.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "documents"


def documents_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each document.

    query is (1, heads, T, size), key and value (1, key heads, T, size); the result is (1, T, heads, size).
    `cu_seq_lens_q` holds the running ends of the documents, 0 first.
    """
    edges = cu_seq_lens_q.tolist()
    grouped = key.shape[1] != query.shape[1]
    parts = [
        scaled_dot_product_attention(
            query[:, :, start:end],
            key[:, :, start:end],
            value[:, :, start:end],
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=grouped,
        )
        for start, end in itertools.pairwise(edges)
    ]
    joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return joined.transpose(1, 2), None


AttentionInterface.register(NAME, documents_attention)


def supported(config: Any, max_length: int) -> bool:
    """Whether "documents" computes what this model's own attention would: plain causal attention over every token."""
    text = config.get_text_config()
    if getattr(text, "attn_logit_softcapping", None) or getattr(text, "alibi", False):
        return False
    window = getattr(text, "sliding_window", None) if getattr(text, "use_sliding_window", True) else None
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    if kinds - {"full_attention", "sliding_attention"}:
        return False
    return window is None or window >= max_length
