"""Attention over several documents that lie end to end in one row, without padding the row and without a mask.

Registered with transformers as "documents": the row is cut at the document starts (`cu_seq_lens_q`, as the flash
kernels name them). In half precision on an NVIDIA GPU (Ampere or newer) PyTorch's own flash kernel for documents of
different lengths does it all; elsewhere documents of about the same length are stacked, and each stack runs through
PyTorch's causal attention in one go. The cost is the sum of the documents' squared lengths and not the square of their
sum; what a stack pads (under a third of it) lies behind a document's end, where causal attention never looks. No mask
function is registered under this name, so transformers builds none.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "documents"
# A stack takes in documents down to this share of its longest one.
_ALIKE = 0.7


class _Stacks(NamedTuple):
    """Shapes (documents, longest) of the stacks, where their tokens come from, and where the row's are found again."""

    shapes: list[tuple[int, int]]
    sources: torch.Tensor
    back: torch.Tensor


class _Stack(torch.autograd.Function):
    """Tokens from the row into the stacks. What is padding has no gradient, so the way back is a plain choice as well."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, sources: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(back)
        return tokens.index_select(0, sources)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradients[0].index_select(0, ctx.saved_tensors[0]), None, None


class _Unstack(torch.autograd.Function):
    """Tokens from the stacks back into the row; padding is left behind."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(back)
        ctx.shape = tokens.shape
        return tokens.index_select(0, back)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0].new_zeros(ctx.shape).index_copy_(0, ctx.saved_tensors[0], gradients[0]), None


@lru_cache(maxsize=8)
def _stacks(edges: torch.Tensor, device: torch.device) -> _Stacks:
    """The stacks of a row, on its device. Known by the tensor itself, which all layers are given: reading it, and moving
    what follows from it, would make a GPU wait in each of them.
    """
    shapes, sources, back = _stacked(tuple(edges.tolist()))
    return _Stacks(shapes, sources.to(device), back.to(device))


def _stacked(edges: tuple[int, ...]) -> _Stacks:
    """Sort the documents between `edges` into stacks."""
    starts, lengths = np.array(edges[:-1]), np.diff(edges)
    order = np.argsort(-lengths, kind="stable")
    shapes, sources, back, filled, first = [], [], np.empty(edges[-1], np.int64), 0, 0
    while first < len(order):
        longest = int(lengths[order[first]])
        last = first + int((lengths[order[first:]] >= longest * _ALIKE).sum())
        members = order[first:last]
        inside = np.arange(longest)
        source = starts[members, None] + np.minimum(inside, lengths[members, None] - 1)
        own = inside < lengths[members, None]
        back[source[own]] = filled + np.flatnonzero(own)
        shapes.append(source.shape)
        sources.append(source.ravel())
        filled, first = filled + source.size, last
    return _Stacks(shapes, torch.from_numpy(np.concatenate(sources)), torch.from_numpy(back))


def documents_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each document.

    query is (1, heads, T, size), key and value (1, key heads, T, size); the result is (1, T, heads, size).
    `cu_seq_lens_q` holds the running ends of the documents, 0 first.
    """
    if torch.is_autocast_enabled(query.device.type):  # rotary positions leave fp32 behind
        fast = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(fast), key.to(fast), value.to(fast)
    options: dict[str, Any] = {"dropout_p": dropout, "is_causal": True, "scale": scaling}
    options["enable_gqa"] = key.shape[1] != query.shape[1]
    if len(cu_seq_lens_q) == 2:
        return scaled_dot_product_attention(query, key, value, **options).transpose(1, 2), None
    if max_length_q and _flash_knows(query, key, value, dropout):
        return _flash(query, key, value, cu_seq_lens_q, max_length_q, scaling), None
    return _in_stacks(query, key, value, _stacks(cu_seq_lens_q, query.device), options), None


def _flash_knows(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float) -> bool:
    """Whether PyTorch's flash kernel computes this: half precision, heads of one size, no dropout, a card that can."""
    size = query.shape[-1]
    fits = query.dtype in (torch.bfloat16, torch.float16) and size == value.shape[-1] and size % 8 == 0 and size <= 256
    return query.is_cuda and fits and not dropout and _has_flash(query.device)


@cache
def _has_flash(device: torch.device) -> bool:
    return torch.backends.cuda.is_flash_attention_available() and torch.cuda.get_device_capability(device) >= (8, 0)


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, edges: torch.Tensor, longest: int, scaling: float | None
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    made: Any = varlen_attn(q, k, v, edges, edges, longest, longest, scale=scaling, window_size=(-1, 0))
    return made[None]


def _in_stacks(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, stacks: _Stacks, options: dict[str, Any]
) -> torch.Tensor:
    """The same by stacks, each through PyTorch's causal attention."""
    _, sources, back = stacks
    dropout = options["dropout_p"]
    sizes = [documents * longest for documents, longest in stacks.shapes]
    parts = [_Stack.apply(part[0].transpose(0, 1), sources, back).split(sizes) for part in (query, key, value)]
    made = []
    for shape, *stack in zip(stacks.shapes, *parts, strict=True):
        q, k, v = (part.unflatten(0, shape).transpose(1, 2) for part in stack)
        attend = _spelt_out if _is_short(q, dropout) else scaled_dot_product_attention
        made.append(attend(q, k, v, **options).transpose(1, 2).flatten(0, 1))
    joined = made[0] if len(made) == 1 else torch.cat(made)
    return _Unstack.apply(joined, back)[None]


# Queries of one step through a stack; the keys behind them are never touched, which halves the work on long documents.
_BLOCK = 128


def _is_short(query: torch.Tensor, dropout: float) -> bool:
    """Whether `_InBlocks` is faster than PyTorch's fused kernel, whose backward is slow on a CPU in bfloat16.

    Forwards and backwards on one core: at 60 tokens a quarter of the time, at 340 and 512 half, at 2,048 the same. In fp32
    the fused kernel is faster from 100 tokens on.
    """
    longest = query.shape[-2]
    return query.device.type == "cpu" and not dropout and longest <= (1_500 if query.dtype == torch.bfloat16 else 64)


def _spelt_out(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float | None, **_: Any) -> torch.Tensor:
    """softmax(QKᵀ·scale + causal mask)·V (Vaswani et al. 2017, equation 1); shapes (documents, heads, length, size)."""
    heads, _, size = query.shape[-3:]
    if key.shape[-3] != heads:
        key, value = (part.repeat_interleave(heads // part.shape[-3], -3) for part in (key, value))
    together = (part.flatten(0, 1) for part in (query * (scale or size**-0.5), key, value))
    return _InBlocks.apply(*together).unflatten(0, query.shape[:2])


class _InBlocks(torch.autograd.Function):
    """Causal attention of queries (N, length, size) that are scaled already, a block of them at a time."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        made, weights = torch.empty_like(value), []
        later = torch.full((_BLOCK, _BLOCK), float("-inf"), dtype=query.dtype, device=query.device).triu_(1)
        for first in range(0, query.shape[1], _BLOCK):
            block = slice(first, min(first + _BLOCK, query.shape[1]))
            scores = torch.bmm(query[:, block], key[:, : block.stop].mT)
            scores[:, :, block] += later[: block.stop - first, : block.stop - first]
            weights.append(torch.softmax(scores, -1))
            made[:, block] = torch.bmm(weights[-1], value[:, : block.stop])
        ctx.save_for_backward(query, key, value, *weights)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        query, key, value, *weights = ctx.saved_tensors
        of_query, of_key, of_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for number, weight in enumerate(weights):
            block = slice(number * _BLOCK, number * _BLOCK + weight.shape[1])
            given = gradients[0][:, block]
            of_value[:, : block.stop] += torch.bmm(weight.mT, given)
            of_weight = torch.bmm(given, value[:, : block.stop].mT)
            of_scores = torch._softmax_backward_data(of_weight, weight, -1, weight.dtype)
            of_query[:, block] = torch.bmm(of_scores, key[:, : block.stop])
            of_key[:, : block.stop] += torch.bmm(of_scores.mT, query[:, block])
        return of_query, of_key, of_value


AttentionInterface.register(NAME, documents_attention)


def supported(model: Any, max_length: int) -> bool:
    """Whether "documents" computes what this model's own attention would: plain causal attention over every token."""
    if not getattr(model, "_supports_attention_backend", False):
        return False  # its attention is written out in its own code
    text = model.config.get_text_config()
    if getattr(text, "attn_logit_softcapping", None) or getattr(text, "alibi", False):
        return False
    window = getattr(text, "sliding_window", None) if getattr(text, "use_sliding_window", True) else None
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    if kinds - {"full_attention", "sliding_attention"}:
        return False
    return window is None or window >= max_length
