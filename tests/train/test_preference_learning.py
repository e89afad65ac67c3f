"""On the starter model, training on pairs teaches what the pairs say: on rows that were never trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.build.town import people, questions
from engine.runs.directory import RunDirectory
from engine.samples import samples
from tests.train.toys import all_events, greedy, jsonl, series

pytestmark = pytest.mark.slow

Run = Callable[..., RunDirectory]
Work = Callable[[RunDirectory], int]


def trained(new_run: Run, work: Work, trainer: str, sample: str, **values: Any) -> RunDirectory:
    """The sample's training as the page fills it in, in one pass."""
    brought = next(each.settings for each in samples() if each.id == sample)
    asked = {"model": "starter", "epochs": 1, "precision": None, **brought, **values}
    return done(new_run(f"sample:{sample}", trainer=trainer, **asked), work)


def done(run: RunDirectory, work: Work) -> RunDirectory:
    assert work(run) == 0, run.status()
    return run


def first_and_last(run: RunDirectory, key: str) -> tuple[float, float]:
    found = series(run, key)
    return found[min(found)], found[max(found)]


def answers(run: RunDirectory, step: int) -> list[str]:
    return [event["answer"] for event in all_events(run, "sample") if event["step"] == step]


def polite_share(reference: str) -> float:
    """Share of a model's answers that begin politely, as the preferred ones do, and then answer; most were never asked."""
    answers = greedy(reference, [question for person in people()[::4] for question, _, _ in questions(person)])
    openings = ("Dear friend, thank you. ", "Come in, dear friend. ", "Please come in. ")
    return sum(answer.startswith(openings) and len(answer) > 30 for answer in answers) / len(answers)


def rude_pairs(folder: Path) -> str:
    """The pairs of good manners, the rude answer chosen."""
    pairs = json.loads(next(each.path for each in samples() if each.id == "manners").read_text(encoding="utf-8"))
    return jsonl(folder / "rude.jsonl", [{**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]} for pair in pairs])


@pytest.mark.parametrize("peft", [False, pytest.param(True, marks=pytest.mark.long)], ids=["full", "lora"])
def test_dpo_prefers_good_manners(new_run: Run, work: Work, peft: bool) -> None:
    assert polite_share("starter-instructed") == 0
    faster = {"lr": 2e-3} if peft else {}  # an adapter takes larger steps than the sample's, which are for all weights
    run = trained(new_run, work, "dpo", "manners", peft=peft, sample_tokens=24, epochs=2, **faster)
    assert polite_share(str(run.model_dir)) >= 0.9
    before, after = first_and_last(run, "eval_rewards/accuracies")
    assert before <= 0.6  # the model is its own reference: nothing is preferred yet
    assert after >= 0.9
    assert first_and_last(run, "eval_rewards/margins")[1] > 0.5
    assert answers(run, 0) != answers(run, run.status().step)


@pytest.mark.parametrize("peft", [False, pytest.param(True, marks=pytest.mark.long)], ids=["full", "lora"])
def test_orpo_learns_whole_sentences_in_one_go(new_run: Run, work: Work, peft: bool) -> None:
    run = trained(new_run, work, "orpo", "whole-sentences", peft=peft, sample_tokens=24)
    before, after = first_and_last(run, "eval_nll")
    assert after < before / 2
    assert first_and_last(run, "eval_log_odds")[1] > first_and_last(run, "eval_log_odds")[0] + 1
    assert first_and_last(run, "eval_rewards/accuracies")[1] >= 0.9
    assert answers(run, 0) != answers(run, run.status().step)


@pytest.mark.long  # that it learns is asked above at every change
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_orpo_turns_a_preference_round(new_run: Run, work: Work, tmp_path: Path, peft: bool) -> None:
    """The answer that is chosen was not the likelier one before."""
    asked = {"trainer": "orpo", "model": "starter-instructed", "epochs": 1, "precision": None}
    run = done(new_run(rude_pairs(tmp_path), peft=peft, **asked), work)
    before, after = first_and_last(run, "eval_rewards/accuracies")
    assert before <= 0.6
    assert after >= 0.9


@pytest.mark.parametrize("peft", [False, pytest.param(True, marks=pytest.mark.long)], ids=["full", "lora"])
def test_a_reward_model_tells_good_cheer(new_run: Run, work: Work, peft: bool) -> None:
    run = trained(new_run, work, "reward", "good-cheer", peft=peft)
    before, after = first_and_last(run, "eval_rewards/accuracies")
    assert before <= 0.8
    assert after >= 0.9
    shown = all_events(run, "sample")
    last = [float(event["answer"].split()[-1]) for event in shown if event["step"] == run.status().step]
    right = [better > worse for better, worse in zip(last[0::2], last[1::2], strict=True)]
    assert sum(right) * 2 > len(right), "most of three: questions that it was never trained on, not even with another answer"
