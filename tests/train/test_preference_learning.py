"""On the starter model, training on pairs teaches what the pairs say: on rows that were never trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.runs.directory import RunDirectory
from tests.train.toys import all_events, series

pytestmark = pytest.mark.slow

Run = Callable[..., RunDirectory]
Work = Callable[[RunDirectory], int]


def trained(new_run: Run, work: Work, trainer: str, sample: str, **values: Any) -> RunDirectory:
    run = new_run(f"sample:{sample}", trainer=trainer, model="starter", epochs=1, precision=None, **values)
    assert work(run) == 0, run.status()
    return run


def first_and_last(run: RunDirectory, key: str) -> tuple[float, float]:
    found = series(run, key)
    return found[min(found)], found[max(found)]


def answers(run: RunDirectory, step: int) -> list[str]:
    return [event["answer"] for event in all_events(run, "sample") if event["step"] == step]


@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_dpo_prefers_good_manners(new_run: Run, work: Work, peft: bool) -> None:
    run = trained(new_run, work, "dpo", "manners", peft=peft, sample_tokens=24)
    before, after = first_and_last(run, "eval_rewards/accuracies")
    assert before <= 0.6  # the model is its own reference: nothing is preferred yet
    assert after >= 0.9
    assert first_and_last(run, "eval_rewards/margins")[1] > 0.5
    assert answers(run, 0) != answers(run, run.status().step)


@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_orpo_learns_whole_sentences_in_one_go(new_run: Run, work: Work, peft: bool) -> None:
    run = trained(new_run, work, "orpo", "whole-sentences", peft=peft, sample_tokens=24)
    before, after = first_and_last(run, "eval_nll")
    assert after < before / 2
    assert first_and_last(run, "eval_log_odds")[1] > first_and_last(run, "eval_log_odds")[0] + 1
    assert first_and_last(run, "eval_rewards/accuracies")[1] >= 0.9
    assert answers(run, 0) != answers(run, run.status().step)


@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_a_reward_model_tells_good_cheer(new_run: Run, work: Work, peft: bool) -> None:
    run = trained(new_run, work, "reward", "good-cheer", peft=peft)
    before, after = first_and_last(run, "eval_rewards/accuracies")
    assert before <= 0.8
    assert after >= 0.9
    shown = all_events(run, "sample")
    last = [float(event["answer"].split()[-1]) for event in shown if event["step"] == run.status().step]
    assert all(better > worse for better, worse in zip(last[0::2], last[1::2], strict=True))
