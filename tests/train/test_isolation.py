"""Documents that share a row never see each other, and cost nothing but speed: the numbers are those of each one alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from transformers import AutoModelForCausalLM

from engine.worker.attention import NAME as DOCUMENTS
from engine.worker.attention import documents_attention, supported
from engine.worker.flat import flatten
from engine.worker.token_rows import Blocks, Packed, RowWriter, TokenRows
from engine.worker.tokens import IGNORED, Tokens

LENGTHS = [7, 12, 3, 7, 1, 20]
VOCABULARY = 200


@pytest.fixture(scope="module", params=[DOCUMENTS, "sdpa"])
def model(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    """In fp32. With sdpa transformers makes the mask between documents, with our attention there is none."""
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    loaded.set_attn_implementation(request.param)
    return loaded


def documents(lengths: list[int], seed: int = 0) -> list[Tokens]:
    random = np.random.default_rng(seed)
    return [Tokens(ids, ids) for ids in (random.integers(4, VOCABULARY, n).tolist() for n in lengths)]


def stored(folder: Path, texts: list[Tokens]) -> TokenRows:
    writer = RowWriter(folder / "rows.tokens")
    for text in texts:
        writer.add(text)
    return writer.close()


def logits(model: Any, rows: list[dict[str, Any]]) -> torch.Tensor:
    """The logits of a joined row, (T, vocabulary)."""
    batch = flatten(rows)
    keys = ["input_ids", "position_ids"]
    if model.config._attn_implementation == DOCUMENTS:
        keys += ["cu_seq_lens_q"]
    with torch.no_grad():
        return model(**{key: batch[key] for key in keys}, use_cache=False).logits[0]


def alone(model: Any, ids: Any) -> torch.Tensor:
    """The logits of one document by itself, through transformers' own attention."""
    was = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        made = model(input_ids=torch.tensor([list(map(int, ids))]), use_cache=False).logits[0]
    model.set_attn_implementation(was)
    return made


def test_packed_rows_are_what_each_row_is_alone(model: Any, tmp_path: Path) -> None:
    texts = documents(LENGTHS)
    packed = Packed(stored(tmp_path, texts), 30, sees_all=False)
    assert sorted(row for place in packed.places for row in place) == list(range(len(texts)))
    assert all(len(place["input_ids"]) <= 30 for place in packed)
    assert len(packed) == 2  # 50 tokens in places of 30
    made = logits(model, list(packed))
    expected = torch.cat([alone(model, texts[row].input_ids) for place in packed.places for row in place])
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)


def test_blocks_are_what_each_piece_of_a_document_is_alone(model: Any, tmp_path: Path) -> None:
    texts = documents(LENGTHS)
    blocks = Blocks(stored(tmp_path, texts), 16, sees_all=False)
    assert [len(block["input_ids"]) for block in blocks] == [16, 16, 16, 2]
    # 7+12+3+7+1+20, cut at 16, 32 and 48
    assert [block["documents"] for block in blocks] == [[7, 9], [3, 3, 7, 1, 2], [16], [2]]
    made = logits(model, list(blocks))
    stream = [token for text in texts for token in text.input_ids]
    edges = np.cumsum([0, 7, 9, 3, 3, 7, 1, 2, 16, 2])
    expected = torch.cat([alone(model, stream[a:b]) for a, b in itertools.pairwise(edges)])
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)


def test_blocks_begin_and_end_with_the_text(tmp_path: Path) -> None:
    texts = documents([5, 11, 16])
    blocks = Blocks(stored(tmp_path, texts), 16, sees_all=False)
    assert [block["documents"] for block in blocks] == [[5, 11], [16]]  # an edge on the cut makes no empty document
    joined = np.concatenate([block["input_ids"] for block in blocks]).tolist()
    assert joined == [token for text in texts for token in text.input_ids]


@pytest.mark.parametrize(
    ("tokens", "blocks"), [(0, []), (1, []), (2, [2]), (16, [16]), (17, [16]), (18, [16, 2]), (32, [16, 16]), (33, [16, 16])]
)
def test_a_single_token_that_is_left_over_is_no_block(tmp_path: Path, tokens: int, blocks: list[int]) -> None:
    """Nothing stands before it that it could be predicted from."""
    texts = documents([5, tokens - 5] if tokens > 5 else [tokens] * bool(tokens))
    made = Blocks(stored(tmp_path, texts), 16, sees_all=False)
    assert len(made) == len(blocks)
    assert [len(block["input_ids"]) for block in made] == blocks
    with pytest.raises(IndexError):
        made[len(blocks)]


@pytest.mark.parametrize("changed", range(len(LENGTHS)))
def test_another_documents_words_change_nothing_at_all(model: Any, tmp_path: Path, changed: int) -> None:
    before, after = documents(LENGTHS), documents(LENGTHS)
    after[changed] = documents([LENGTHS[changed]], seed=99)[0]
    places = [Packed(stored(tmp_path / name, rows), 64, sees_all=False) for name, rows in (("a", before), ("b", after))]
    assert len(places[0]) == 1 and places[0].places == places[1].places
    first, second = (logits(model, list(packed)) for packed in places)
    own = np.concatenate([np.full(LENGTHS[row], row == changed) for row in places[0].places[0]])
    assert torch.equal(first[~own], second[~own])  # to the last bit
    assert not torch.equal(first[own], second[own])


@pytest.mark.parametrize("kind", [Packed, Blocks])
def test_documents_see_each_other_only_when_that_is_wished(model: Any, tmp_path: Path, kind: Any) -> None:
    before, after = documents([8, 8]), documents([8, 8])
    after[0] = documents([8], seed=99)[0]
    made = [list(kind(stored(tmp_path / n, rows), 16, sees_all=True)) for n, rows in (("a", before), ("b", after))]
    assert [row["documents"] for row in made[0]] == [[16]]
    first, second = (logits(model, rows)[8:] for rows in made)
    assert (first - second).abs().max() > 1e-3


def test_the_loss_of_a_joined_batch_is_that_of_its_documents(model: Any, tmp_path: Path) -> None:
    """No document is asked to predict the next one's first token."""
    texts = documents(LENGTHS)
    batch = flatten(list(Packed(stored(tmp_path, texts), 64, sees_all=False)))
    assert int((batch["labels"] != IGNORED).sum()) == sum(n - 1 for n in LENGTHS)
    made = logits(model, list(Packed(stored(tmp_path, texts), 64, sees_all=False)))
    total = cross_entropy(made[:-1], batch["labels"][0, 1:], ignore_index=IGNORED, reduction="sum")
    each = [
        cross_entropy(alone(model, t.input_ids)[:-1], torch.tensor(t.input_ids[1:]), reduction="sum")
        for t in texts
        if len(t.input_ids) > 1
    ]
    torch.testing.assert_close(total, torch.stack(each).sum(), rtol=1e-5, atol=1e-5)


def test_positions_begin_again_at_each_document() -> None:
    rows = [{"input_ids": np.arange(5), "labels": np.arange(5), "documents": [2, 3]}]
    batch = flatten([*rows, *rows])
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1, 2, 0, 1, 0, 1, 2]]
    assert batch["cu_seq_lens_q"].tolist() == [0, 2, 5, 7, 10]
    assert batch["max_length_q"] == 3
    assert batch["labels"].tolist() == [[IGNORED, 1, IGNORED, 3, 4, IGNORED, 1, IGNORED, 3, 4]]


# Up to 64 tokens the attention is spelt out, beyond it is PyTorch's own kernel; mixed rows take both ways.
SPANS = {"short": (1, 64), "long": (65, 140), "mixed": (1, 140)}
# In bfloat16 longer ones are spelt out as well, in blocks of 128 queries: a piece of one, whole ones, and one token more.
BLOCKS = {"less": (65, 127), "whole": (128, 256), "more": (129, 400)}


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("span", SPANS.values(), ids=list(SPANS))
def test_attention_and_its_gradients_are_pytorchs_own(span: tuple[int, int], scaling: float | None, key_heads: int) -> None:
    same_as_pytorch(span, scaling, key_heads)


@pytest.mark.parametrize("span", BLOCKS.values(), ids=list(BLOCKS))
def test_blocks_of_queries_see_what_the_whole_sees(span: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.worker.attention._is_short", lambda query, dropout: True)
    same_as_pytorch(span, None, key_heads=2)


def same_as_pytorch(span: tuple[int, int], scaling: float | None, key_heads: int) -> None:
    random = np.random.default_rng(span[1] + key_heads)
    lengths = random.integers(span[0], span[1], 9, endpoint=True)
    edges = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
    total, size = int(edges[-1]), 8
    torch.manual_seed(3)
    ours = [torch.randn(1, heads, total, size, requires_grad=True) for heads in (4, key_heads, key_heads)]
    theirs = [part.detach().clone().requires_grad_() for part in ours]
    made, _ = documents_attention(torch.nn.Module(), *ours, None, cu_seq_lens_q=edges, scaling=scaling)
    each = [
        scaled_dot_product_attention(
            *(part[:, :, a:b] for part in theirs), is_causal=True, scale=scaling, enable_gqa=key_heads != 4
        )
        for a, b in itertools.pairwise(edges.tolist())
    ]
    expected = torch.cat(each, 2).transpose(1, 2)
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(expected)
    (made * weights).sum().backward()
    (expected * weights).sum().backward()
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, reference.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"sliding_window": 64}, False),
        ({"sliding_window": 512}, True),
        ({"sliding_window": 64, "use_sliding_window": False}, True),
        ({"attn_logit_softcapping": 50.0}, False),
        ({"layer_types": ["linear_attention", "full_attention"]}, False),
    ],
)
def test_models_with_an_attention_of_their_own_keep_it(changes: dict[str, Any], fits: bool) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2))
    for name, value in changes.items():
        setattr(model.config, name, value)
    assert supported(model, 128) is fits


def test_a_model_whose_attention_is_its_own_code_keeps_it() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    assert not supported(BloomForCausalLM(BloomConfig(vocab_size=99, hidden_size=16, n_head=2, n_layer=1)), 128)
