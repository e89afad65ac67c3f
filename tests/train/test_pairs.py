"""Pairs in flattened rows: which tokens count, what a model gives each answer, and where the reference comes from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from engine.chat_templates import CHATML, PLAIN
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.worker.pairs import PairRows, adapter_off, answer_log_probs, flatten_pairs, precompute
from engine.worker.token_rows import RowWriter
from engine.worker.tokens import IGNORED, pair_tokens
from tests.train.toys import all_events, jsonl, series

ROWS: list[dict[str, Any]] = [
    {"prompt": f"When does gate {n} open?", "chosen": f"Good day! At {n}.", "rejected": f"{n}. Go away now."} for n in range(12)
]
TALK: dict[str, Any] = {
    "prompt": [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "Is it foggy?"},
    ],
    "chosen": [{"role": "assistant", "content": "Yes, very."}],
    "rejected": [{"role": "assistant", "content": "Look yourself."}],
}
# ChatML without the marks that say which part is the assistant's
UNMARKED = CHATML.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def pairs(tokenizer: Any, tmp_path: Path) -> PairRows:
    writer = RowWriter(tmp_path / "train.tokens")
    for row in ROWS:
        for tokens in pair_tokens(row, tokenizer):
            writer.add(tokens)
    return PairRows(writer.close())


def trained(tokens: Any, tokenizer: Any) -> str:
    return tokenizer.decode([label for label in tokens.labels if label != IGNORED])


def by_hand(model: Any, tokens: Any) -> float:
    """Sum of the trained tokens' log-probabilities: one text alone, all of its logits."""
    with torch.no_grad():
        log_probs = torch.log_softmax(model(input_ids=torch.tensor([tokens.input_ids])).logits[0].double(), -1)
    return sum(float(log_probs[place - 1, token]) for place, token in enumerate(tokens.labels) if place and token != IGNORED)


# ---- which tokens count ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [CHATML, UNMARKED, PLAIN], ids=["marked", "unmarked", "plain"])
def test_only_the_last_answers_are_trained_and_the_prompt_is_there_once(tokenizer: Any, template: str) -> None:
    tokenizer.chat_template = template
    end = tokenizer.eos_token if template == PLAIN else "<|im_end|>"
    for tokens, answer in zip(pair_tokens(TALK, tokenizer), ("Yes, very.", "Look yourself."), strict=True):
        assert trained(tokens, tokenizer).strip() == answer + end
        whole = tokenizer.decode(tokens.input_ids)
        assert [whole.count(words) for words in ("Hello!", "Good day.", "Is it foggy?", answer)] == [1, 1, 1, 1]


def test_plain_pairs_without_a_template_are_joined(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    chosen, rejected = pair_tokens({"prompt": "A?", "chosen": " b", "rejected": " c"}, tokenizer)
    assert trained(chosen, tokenizer) == " b" + tokenizer.eos_token
    assert trained(rejected, tokenizer) == " c" + tokenizer.eos_token


# ---- log-probabilities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
def test_each_answer_has_the_log_probability_that_it_has_alone(
    tiny_model: Path, tokenizer: Any, pairs: PairRows, together: bool
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    inputs = flatten_pairs([pairs[place] for place in (0, 3, 7)])
    with torch.no_grad():
        sums, counts = answer_log_probs(model, model, inputs, together=together)
    expected = [tokens for place in (0, 3, 7) for tokens in pair_tokens(ROWS[place], tokenizer)]
    assert sums.tolist() == pytest.approx([by_hand(model, tokens) for tokens in expected], rel=1e-4)
    assert counts.tolist() == [tokens.trained for tokens in expected]


def test_the_reference_is_asked_once_and_kept(tiny_model: Path, pairs: PairRows, tokenizer: Any, tmp_path: Path) -> None:
    model, file = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32), tmp_path / "reference.npy"
    options: dict[str, Any] = {"batch": 5, "precision": "fp32", "together": True, "beat": lambda: None}
    precompute(model, pairs, file, **options)
    expected = [[by_hand(model.eval(), tokens) for tokens in pair_tokens(row, tokenizer)] for row in ROWS]
    np.testing.assert_allclose(pairs.reference, expected, rtol=1e-4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    before = pairs.reference
    pairs.reference = None
    precompute(model, pairs, file, **options)  # a resumed run: the model has moved on, its reference has not
    np.testing.assert_array_equal(pairs.reference, before)
    np.testing.assert_allclose(flatten_pairs([pairs[4]])["reference"], [before[4]])


def test_the_adapters_base_is_its_reference(tiny_model: Path, pairs: PairRows) -> None:
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    inputs = flatten_pairs([pairs[0], pairs[1]])
    with torch.no_grad():
        expected, _ = answer_log_probs(base, base, inputs, together=True)
    model: Any = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    with torch.no_grad():
        moved, _ = answer_log_probs(model, model, inputs, together=True)
    assert not torch.allclose(moved, expected, atol=1e-2)
    assert adapter_off(True)(model, inputs).flatten().tolist() == pytest.approx(expected.tolist(), rel=1e-5)


# ---- real runs -------------------------------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "precomputed": {},
    "adapter off": {"peft": True, "lora_r": 4, "precompute_reference": False},
    "adapter, precomputed": {"peft": True, "lora_r": 4},
    "held model": {"precompute_reference": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_first_loss_is_the_logarithm_of_two_whatever_the_reference(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path, way: str
) -> None:
    given: dict[str, Any] = {"trainer": "dpo", "max_steps": 6, "valid_fraction": 0.25, "lr": 1e-3, "warmup_ratio": 0.0}
    run = new_run(jsonl(tmp_path / "pairs.jsonl", ROWS), **given, **WAYS[way])
    assert work(run) == 0, run.status()
    assert series(run, "loss")[1] == pytest.approx(0.6931, abs=1e-3)
    assert series(run, "eval_loss")[0] == pytest.approx(0.6931, abs=1e-3)
    assert series(run, "loss")[6] < 0.69


@pytest.mark.slow
def test_a_named_reference_is_the_one_that_is_used(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    model = AutoModelForCausalLM.from_pretrained(new_run("x.csv", "probe").params()["model"], dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.2)
    model.save_pretrained(other)
    kept = load_file(other / "model.safetensors")
    AutoTokenizer.from_pretrained(new_run("x.csv", "again").params()["model"]).save_pretrained(other)
    losses = []
    for name, live in (("asked-before", True), ("asked-each-step", False)):
        given: dict[str, Any] = {"trainer": "dpo", "max_steps": 3, "valid_fraction": 0.0, "model_ref": str(other)}
        run = new_run(jsonl(tmp_path / "pairs.jsonl", ROWS), name, precompute_reference=live, **given)
        assert work(run) == 0, run.status()
        losses.append(list(series(run, "loss").values()))
    assert losses[0][0] != pytest.approx(0.6931, abs=1e-3)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    after = load_file(other / "model.safetensors")
    assert all(torch.equal(kept[name], after[name]) for name in kept)


@pytest.mark.slow
@pytest.mark.parametrize("asked_before", [True, False])
def test_a_reference_with_another_vocabulary_is_refused(
    asked_before: bool, new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path
) -> None:
    given: dict[str, Any] = {"trainer": "dpo", "max_steps": 2, "valid_fraction": 0.0, "model_ref": "starter"}
    run = new_run(jsonl(tmp_path / "pairs.jsonl", ROWS), precompute_reference=asked_before, **given)
    assert work(run) == 1
    status = run.status()
    assert "different vocabularies" in status.reason and "starter" in status.reason, status.reason
    assert "--model-ref" in status.hint


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["dpo", "orpo", "reward"])
def test_pairs_that_are_too_long_are_told_and_no_number_is_lost(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path, trainer: str
) -> None:
    long = {"prompt": "Why? " * 60, "chosen": "Because.", "rejected": "No."}
    run = new_run(
        jsonl(tmp_path / "pairs.jsonl", [*ROWS, long]), trainer=trainer, max_length=48, max_steps=3, valid_fraction=0.0
    )
    assert work(run) == 0, run.status()
    assert any("1 training rows" in event["message"] for event in all_events(run, "warning"))
    series(run, "loss")  # every number is one


@pytest.mark.slow
def test_three_pairs_are_enough(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path
) -> None:
    for trainer in ("dpo", "orpo", "reward"):
        run = new_run(jsonl(tmp_path / "pairs.jsonl", ROWS[:3]), trainer, trainer=trainer, max_steps=2)
        assert work(run) == 0, run.status()
        assert run.status().state is State.DONE


# ---- a model that scores ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_a_saved_scorer_scores_in_plain_transformers_as_it_did_here(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path, peft: bool
) -> None:
    rows = [{**row, "margin": 0.5} for row in ROWS]
    given: dict[str, Any] = {"trainer": "reward", "max_steps": 12, "valid_fraction": 0.25, "lr": 3e-3, "batch_size": 4}
    run = new_run(jsonl(tmp_path / "pairs.jsonl", rows), peft=peft, lora_r=4, **given)
    assert work(run) == 0, run.status()
    tokenizer = AutoTokenizer.from_pretrained(run.model_dir)
    model = AutoModelForSequenceClassification.from_pretrained(run.model_dir, dtype=torch.float32).eval()
    held_out = [json.loads(line) for line in (run.data_dir / "valid.jsonl").read_text().splitlines()]
    texts = [tokens.input_ids for row in held_out for tokens in pair_tokens(row, tokenizer)]
    batch = tokenizer.pad({"input_ids": texts}, return_tensors="pt")
    with torch.no_grad():
        padded = model(**batch).logits[:, 0]
        alone = torch.cat([model(input_ids=torch.tensor([ids])).logits[:, 0] for ids in texts])
    torch.testing.assert_close(padded, alone, rtol=1e-3, atol=1e-3)  # padding is not taken for the text's end
    best = run.status().best_step
    assert best is not None
    charted = series(run, "eval_rewards/chosen")[best], series(run, "eval_rewards/rejected")[best]
    assert (float(alone[0::2].mean()), float(alone[1::2].mean())) == pytest.approx(charted, abs=0.05)


@pytest.mark.slow
def test_a_scorer_cannot_be_taught_to_write(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path
) -> None:
    data = jsonl(tmp_path / "pairs.jsonl", ROWS)
    assert work(new_run(data, "scorer", trainer="reward", max_steps=1, valid_fraction=0.0, warmup_ratio=0.0)) == 0
    run = new_run(data, "writer", model="scorer", max_steps=1)
    assert work(run) == 1
    assert "gives scores and does not write" in run.status().reason
