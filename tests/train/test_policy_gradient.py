"""The arithmetic of PPO against numbers worked out by hand, and sampled answers against plain forward passes."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.models import resolve
from engine.worker import attention
from engine.worker.models import load_tokenizer
from engine.worker.policy_gradient import (
    KLControl,
    advantages,
    explained_variance,
    policy_losses,
    token_rewards,
    value_losses,
    value_scale,
    whiten,
)
from engine.worker.policy_trainer import PolicyTrainer
from engine.worker.rollout import Answers, Sampling, ask, sample
from engine.worker.tokens import prompt_tokens

MASK = torch.tensor([[True, True, True], [True, True, False]])


def close(found: torch.Tensor, wanted: Any) -> None:
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-4, atol=1e-5)


def test_each_token_pays_for_its_distance_and_the_last_earns_the_score() -> None:
    log_ratio = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, 7.0]])
    close(token_rewards(torch.tensor([3.0, -1.0]), log_ratio, MASK, 0.1), [[-0.05, 0.1, 2.8], [-0.1, -1.0, 0.0]])


def test_advantages_are_those_worked_out_by_hand() -> None:
    # γ 0.9, λ 0.8, so γλ is 0.72. First answer, from the end: 1 − 0.3 = 0.7; 0.9·0.3 − 0.2 + 0.72·0.7 = 0.574;
    # 0.9·0.2 − 0.1 + 0.72·0.574 = 0.49328. Second: 1 − 0.5 = 0.5; 0.5 + 0.9·0.5 − 0.4 + 0.72·0.5 = 0.91.
    rewards = torch.tensor([[0.0, 0.0, 1.0], [0.5, 1.0, 9.0]])
    values = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 9.0]])
    found, returns = advantages(rewards, values, MASK, 0.9, 0.8)
    close(found, [[0.49328, 0.574, 0.7], [0.91, 0.5, 0.0]])
    close(returns, [[0.59328, 0.774, 1.0], [1.31, 1.0, 0.0]])


def test_without_discount_an_advantage_is_what_came_less_what_was_foreseen() -> None:
    rewards = torch.tensor([[-0.1, -0.2, 5.0]])
    values = torch.tensor([[1.0, 2.0, 3.0]])
    found, returns = advantages(rewards, values, MASK[:1], 1.0, 1.0)
    close(returns, [[4.7, 4.8, 5.0]])
    close(found, [[3.7, 2.8, 2.0]])


def test_whitening_looks_at_answers_only() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 1000.0]])
    # mean 3 and variance 2 of 1 … 5
    r = math.sqrt(2)
    close(whiten(values, MASK), [[-2 / r, -1 / r, 0.0], [1 / r, 2 / r, 0.0]])
    close(whiten(values, MASK, keep_mean=True), [[3 - 2 / r, 3 - 1 / r, 3.0], [3 + 1 / r, 3 + 2 / r, 0.0]])
    assert bool(torch.isfinite(whiten(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool))).all())


def test_the_surrogate_stops_where_the_ratio_leaves_its_range() -> None:
    log_ratio = torch.tensor([0.0, 0.1, 0.5, 0.5, -0.5, -0.5]).requires_grad_()
    advantage = torch.tensor([2.0, 2.0, 1.0, -1.0, 1.0, -1.0])
    losses = policy_losses(log_ratio, advantage, 0.2)
    close(losses.detach(), [-2.0, -2 * math.exp(0.1), -1.2, math.exp(0.5), -math.exp(-0.5), 0.8])
    losses.sum().backward()
    # a gain that was made already, and a loss that was avoided already, pull no further
    assert log_ratio.grad is not None
    assert [bool(pull) for pull in log_ratio.grad] == [True, True, False, True, True, False]


def test_a_value_may_move_only_so_far() -> None:
    values, before, returns = torch.tensor([1.0, 0.1, 0.0]), torch.zeros(3), torch.tensor([1.0, 1.0, 0.0])
    close(value_losses(values, before, returns, None), [0.0, 0.405, 0.0])
    close(value_losses(values, before, returns, 0.2), [0.32, 0.405, 0.0])


def test_values_are_counted_in_the_size_of_what_came() -> None:
    assert value_scale(torch.full((2, 3), 0.5), MASK) == 1, "small returns are counted as they are"
    # the sixth number is behind its answer's end
    assert value_scale(torch.tensor([[-3.0, -4.0, 0.0], [0.0, 5.0, 1e6]]), MASK) == pytest.approx(math.sqrt(50 / 5))


def test_another_unit_leaves_every_value_as_it_was() -> None:
    torch.manual_seed(0)
    head, states = torch.nn.Linear(4, 1), torch.randn(5, 4)
    trainer: Any = SimpleNamespace(head=head, value_scale=2.0)
    before = head(states) * 2.0
    PolicyTrainer._count_values_in(trainer, 8.0)
    assert trainer.value_scale == 8.0
    torch.testing.assert_close(head(states) * 8.0, before)


def test_explained_variance() -> None:
    returns = torch.tensor([[1.0, 2.0, 3.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert explained_variance(returns, returns, mask) == pytest.approx(1)
    assert explained_variance(torch.zeros(1, 3), returns, mask) == pytest.approx(0)
    assert math.isfinite(explained_variance(torch.zeros(1, 3), torch.zeros(1, 3), mask))


def test_the_penalty_follows_its_target() -> None:
    fixed, adaptive = KLControl(0.1), KLControl(0.1, target=5.0)
    for control in (fixed, adaptive):
        control.heed(5.5)
        control.heed(50.0)
    assert fixed.coefficient == 0.1
    assert adaptive.coefficient == pytest.approx(0.1 * 1.05 * 1.1), "half an error: one of 0.1 in full, one of 9 as 0.2"
    adaptive.heed(0.0)
    assert adaptive.coefficient == pytest.approx(0.1 * 1.05 * 1.1 * 0.9)


# ---- sampled answers ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sdpa", attention.NAME])
def model(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    torch.manual_seed(3)
    made = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa").train()
    if request.param != "sdpa":
        made.set_attn_implementation(request.param)
    return made


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(resolve(str(tiny_model)))


def prompts(tokenizer: Any) -> list[dict[str, Any]]:
    asked = ("Fog?", "When does the harbour open in the morning, and who opens it?", "Who lights the lamp?")
    return [{"row": row, "input_ids": np.array(prompt_tokens(row, tokenizer).input_ids, np.int32)} for row in map(_row, asked)]


def _row(words: str) -> dict[str, Any]:
    return {"prompt": words, "answer": "x"}


def logits_of(model: Any, ids: np.ndarray, answer: int) -> torch.Tensor:
    """Plain logits before each of the last `answer` tokens, one text alone."""
    attention_before = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        found = model(input_ids=torch.from_numpy(ids).long()[None]).logits[0, -answer - 1 : -1]
    model.set_attn_implementation(attention_before)
    return found


def sampled(model: Any, tokenizer: Any, sampling: Sampling) -> Answers:
    torch.manual_seed(1)
    return sample(model, tokenizer, prompts(tokenizer), sampling, 2, lambda: None)


def test_answers_are_scored_as_they_were_sampled(model: Any, tokenizer: Any) -> None:
    """Log-probabilities of a flattened row of answers of unequal length are those of each text alone."""
    sampling = Sampling(12, temperature=0.7)
    answers = sampled(model, tokenizer, sampling)
    assert answers.lengths.max() <= 12 and answers.mask.sum() == answers.lengths.sum()
    assert [row["answer"] for row in answers.rows] == ["x"] * 3
    found = ask(model, answers.flat([0, 1, 2]), sampling).logps.detach().split(answers.lengths.tolist())
    for ids, length, logps in zip(answers.ids, answers.lengths.tolist(), found, strict=True):
        plain = (logits_of(model, ids, length) / 0.7).log_softmax(-1)
        torch.testing.assert_close(logps, plain[range(length), ids[-length:]], rtol=1e-4, atol=1e-4)
    assert model.training and model.config._attn_implementation != "eager"


@pytest.mark.parametrize("narrow", [{"top_k": 5}, {"top_p": 0.5}, {"top_k": 50, "top_p": 0.9}])
def test_narrowed_sampling_is_judged_by_the_distribution_it_came_from(model: Any, tokenizer: Any, narrow: Any) -> None:
    sampling = Sampling(8, **narrow)
    answers = sampled(model, tokenizer, sampling)
    asked = ask(model, answers.flat([0, 1, 2]), sampling)
    assert asked.possible is not None
    assert asked.possible.sum(1).min() >= 1
    if "top_p" not in narrow:
        assert (asked.possible.sum(1) == 5).all()
    ids, length = answers.ids[1], int(answers.lengths[1])
    plain, first = logits_of(model, ids, length), int(answers.lengths[0])
    for place in range(length):
        possible = asked.possible[first + place]
        wanted = plain[place].masked_fill(~possible, -torch.inf).log_softmax(-1)[ids[len(ids) - length + place]]
        assert float(asked.logps[first + place]) == pytest.approx(float(wanted), abs=1e-4)
    # a model that has moved is compared over the same tokens, even where it would now choose others
    with torch.no_grad():
        model.lm_head.weight.add_(torch.randn_like(model.lm_head.weight))
    moved = ask(model, answers.flat([0, 1, 2]), sampling, possible=asked.possible)
    assert bool(torch.isfinite(moved.logps).all()) and torch.equal(moved.possible, asked.possible)  # type: ignore[arg-type]


def test_an_answer_in_a_batch_is_the_answer_alone(model: Any, tokenizer: Any) -> None:
    """Padding on the left changes nothing: with one token possible, answers are the model's own likeliest ones."""
    answers = sampled(model, tokenizer, Sampling(6, top_k=1))
    for ids, length in zip(answers.ids, answers.lengths.tolist(), strict=True):
        assert logits_of(model, ids, length).argmax(-1).tolist() == ids[-length:].tolist()


@pytest.mark.parametrize("pad_is_end", [False, True])
def test_an_answer_ends_with_its_first_end(model: Any, tokenizer: Any, pad_is_end: bool) -> None:
    if pad_is_end:
        tokenizer.pad_token = tokenizer.eos_token
    end = tokenizer.eos_token_id
    with torch.no_grad():  # every hidden state leans towards the end a little
        model.lm_head.weight[end] += 1.0 * model.lm_head.weight.std()
    model.generation_config.repetition_penalty = 50.0
    torch.manual_seed(0)
    many = prompts(tokenizer) * 20
    answers = sample(model, tokenizer, many, Sampling(200, temperature=3.0), 64, lambda: None)
    assert model.generation_config.repetition_penalty == 50.0, "the model's own settings are put back"
    for prompt, ids, length, finished in zip(many, answers.ids, answers.lengths.tolist(), answers.finished, strict=True):
        assert ids[: len(ids) - length].tolist() == prompt["input_ids"].tolist(), "the prompt keeps its own ends of turns"
        answer = ids[len(ids) - length :].tolist()
        assert (answer[-1] == end) == bool(finished) and end not in answer[:-1] and length >= 1
    assert 0 < answers.finished.float().mean() <= 1


def test_values_come_from_the_state_before_each_token(model: Any, tokenizer: Any) -> None:
    answers = sampled(model, tokenizer, Sampling(5))
    head = torch.nn.Linear(32, 1)
    found = ask(model, answers.flat([1]), Sampling(5), head).values
    model.set_attn_implementation("sdpa")
    states = model.model(input_ids=torch.from_numpy(answers.ids[1]).long()[None]).last_hidden_state[0]
    length = int(answers.lengths[1])
    torch.testing.assert_close(found, head(states[-length - 1 : -1])[:, 0], rtol=1e-4, atol=1e-4)
