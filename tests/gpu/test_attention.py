"""Attention over documents that lie end to end, on a GPU: what each document has alone, in every number format."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from engine.worker import attention
from engine.worker.isolation import keeps_apart
from tests.train.test_keeps_apart import build

EXACT = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}


def row(lengths: list[int], key_heads: int, size: int, dtype: torch.dtype) -> tuple[list[Any], torch.Tensor]:
    torch.manual_seed(3)
    edges = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device="cuda")
    made = [torch.randn(1, heads, sum(lengths), size, device="cuda", dtype=dtype) for heads in (4, key_heads, key_heads)]
    return made, edges


@pytest.mark.parametrize("dtype", list(EXACT), ids=str)
@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("size", [16, 64, 128])
def test_attention_and_its_gradients_are_those_of_each_document_alone(size: int, key_heads: int, dtype: torch.dtype) -> None:
    lengths = [5, 130, 1, 64, 300, 17]
    given, edges = row(lengths, key_heads, size, dtype)
    ours = [part.clone().requires_grad_() for part in given]
    theirs = [part.double().requires_grad_() for part in given]
    made, _ = attention.documents_attention(torch.nn.Module(), *ours, None, cu_seq_lens_q=edges, max_length_q=max(lengths))
    each = [
        scaled_dot_product_attention(*(part[:, :, a:b] for part in theirs), is_causal=True, enable_gqa=key_heads != 4)
        for a, b in itertools.pairwise(edges.tolist())
    ]
    expected = torch.cat(each, 2).transpose(1, 2)
    near = {"rtol": EXACT[dtype], "atol": EXACT[dtype]}
    torch.testing.assert_close(made.double(), expected, **near)
    weights = torch.randn_like(expected)
    (made * weights.to(dtype)).sum().backward()
    (expected * weights).sum().backward()
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad.double(), reference.grad, rtol=EXACT[dtype], atol=5 * EXACT[dtype])


@pytest.mark.parametrize("dtype", list(EXACT), ids=str)
def test_another_documents_words_change_nothing_at_all(dtype: torch.dtype) -> None:
    lengths, changed = [40, 7, 90], slice(40, 47)
    given, edges = row(lengths, 2, 64, dtype)
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        for part in given:
            part[:, :, changed] = torch.randn_like(part[:, :, changed])
        found, _ = attention.documents_attention(torch.nn.Module(), *given, None, cu_seq_lens_q=edges, max_length_q=90)
        made.append(found[0])
    assert not torch.equal(made[0][changed], made[1][changed])
    for others in (slice(0, 40), slice(47, 137)):
        assert torch.equal(made[0][others], made[1][others])


def test_half_precision_goes_through_the_flash_kernel_and_fp32_through_stacks() -> None:
    for dtype, flash in ((torch.float32, False), (torch.bfloat16, True), (torch.float16, True)):
        part = torch.zeros(1, 4, 8, 64, device="cuda", dtype=dtype)
        assert attention._flash_knows(part, part, part, 0.0) is (flash and torch.cuda.get_device_capability() >= (8, 0))


@pytest.mark.parametrize("kind", ["documents", "sdpa", "eager"])
@pytest.mark.parametrize("dtype", list(EXACT), ids=str)
def test_a_model_on_the_card_keeps_documents_apart(kind: str, dtype: torch.dtype) -> None:
    assert keeps_apart(build("llama", kind).to("cuda", dtype))
