"""PPO as a whole: scores rise, what must stay as it was stays, and a run that was stopped goes on as if it had not been."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from engine import LLMTrainingParams, train
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.samples import samples
from engine.worker.judge import Judge
from engine.worker.policy_trainer import PolicyTrainer
from tests.train.toys import jsonl, series

Run = Callable[..., RunDirectory]
Work = Callable[[RunDirectory], int]

GATES = [{"prompt": f"When does gate {n} open?", "hour": str(n % 12)} for n in range(24)]
# Two steps a second on the tiny model.
TINY: dict[str, Any] = {"trainer": "ppo", "rl_max_new_tokens": 8, "batch_size": 8, "lr": 1e-3, "warmup_ratio": 0.0}
# Nats of an answer of up to 24 tokens: less than one for each of them.
FURTHEST = 20
LENGTH = {"rl_rewards": ["length: 12 characters"]}


def done(run: RunDirectory, work: Work) -> RunDirectory:
    assert work(run) == 0, run.status()
    assert run.status().state is State.DONE
    return run


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir() if file.is_file()}


def first_and_best(run: RunDirectory, key: str = "eval_reward") -> tuple[float, float]:
    found = series(run, key)
    return found[0], max(found.values())


# ---- it learns ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("peft", [pytest.param(False, marks=pytest.mark.long), True], ids=["full", "lora"])
def test_the_samples_own_rules_are_learned_without_typing(new_run: Run, work: Work, peft: bool) -> None:
    """What the page starts when a person picks the sample and presses Start."""
    sample = next(one for one in samples() if one.trainer == "ppo")
    chosen = {"model": "starter", "precision": None, "logging_steps": None, **sample.settings}
    chosen |= {"lr": 2e-3} if peft else {}  # an adapter takes larger steps than the sample's, which are for all weights
    run = done(
        new_run(
            f"sample:{sample.id}", trainer="ppo", peft=peft, sample_prompts=list(sample.prompts), sample_tokens=24, **chosen
        ),
        work,
    )
    highest = len(sample.settings["rl_rewards"])
    before, after = first_and_best(run)
    assert before < 0.5 * highest
    assert after >= 0.8 * highest, series(run, "eval_reward")


@pytest.mark.long  # that it learns is asked above of rules; the chain's stages run in tests/train/test_pipelines.py
@pytest.mark.slow
def test_from_answers_to_a_judge_to_cheerful_answers(runs_root: Path) -> None:
    """SFT, a reward model, PPO: each names the run before it.

    The score rises by more than the spread of the first model's own answers, and not by leaving the language.
    """
    quiet = {"sample_tokens": 0, "eval_steps": 1000}
    train(LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name="polite", **quiet))
    train(LLMTrainingParams(trainer="reward", data_path="sample:good-cheer", project_name="judge", **quiet))
    asked = {"rl_reward_model_path": "judge", "rl_max_new_tokens": 24, "rl_kl_coef": 0.1, "sample_tokens": 24, "eval_steps": 9}
    others = [RunDirectory.open(name, runs_root).model_dir for name in ("polite", "judge")]
    before = [digest(folder) for folder in others]
    made = train(
        LLMTrainingParams(trainer="ppo", model="polite", data_path="sample:doorstep", project_name="cheerful", **asked)
    )
    run = RunDirectory.open("cheerful", runs_root)
    scores, step = series(run, "eval_reward"), run.status().best_step
    assert step and scores[step] - scores[0] >= series(run, "eval_reward_std")[0], scores
    assert 0 < series(run, "eval_kl")[step] < FURTHEST, series(run, "eval_kl")
    assert series(run, "eval_rewards/model") == pytest.approx(scores)
    assert [digest(folder) for folder in others] == before
    assert series(run, "kl")[1] == pytest.approx(0, abs=1e-3), "the reference is the SFT run"
    AutoModelForCausalLM.from_pretrained(str(made))


# ---- it can be trusted -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long  # that the penalty follows the distance is asked below
def test_a_heavier_penalty_holds_the_answers_closer(new_run: Run, work: Work) -> None:
    """A penalty far larger than the scores makes returns far larger, too, which once left nothing of the policy."""
    asked = {"rl_rewards": ["length: 8-12 words"], "rl_max_new_tokens": 24, "valid_fraction": 0.0}
    asked |= {"scheduler": "constant", "max_steps": 16, "model": "starter", "precision": None}
    ends = []
    for weight in (0.0, 2.0):
        run = done(new_run("sample:doorstep", f"weight-{weight:g}", trainer="ppo", rl_kl_coef=weight, **asked), work)
        ends.append(statistics.mean(list(series(run, "kl").values())[-5:]))
    assert ends[1] < ends[0] / 2, ends


@pytest.mark.slow
def test_the_penalty_follows_the_distance(new_run: Run, work: Work, tmp_path: Path) -> None:
    """Ziegler et al. 2019: it grows while the answers are farther than the target, and shrinks while they are nearer."""
    asked = {**TINY, **LENGTH, "rl_kl_target": 0.05, "rl_kl_coef": 0.2, "max_steps": 6, "epochs": 3}
    run = done(new_run(jsonl(tmp_path / "gates.jsonl", GATES), **asked), work)
    distances, weights = list(series(run, "kl").values()), list(series(run, "kl_coef").values())
    assert min(distances) < 0.05 < max(distances), "both ways are taken"
    for before, after, distance in zip(weights, weights[1:], distances, strict=False):
        assert after == pytest.approx(before * (1 + 0.5 * max(-0.2, min(0.2, distance / 0.05 - 1))), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_the_reference_is_the_model_at_the_start_and_stays_so(
    new_run: Run, work: Work, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peft: bool
) -> None:
    from engine.worker.kit import Kit

    made: list[PolicyTrainer] = []
    build = Kit.policy_trainer
    monkeypatch.setattr(Kit, "policy_trainer", lambda self: made.append(build(self)) or made[0])
    before, start = digest(tiny_model), AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    run = new_run(
        jsonl(tmp_path / "gates.jsonl", GATES),
        max_steps=3,
        peft=peft,
        lora_r=4,
        merge_adapter=False,
        keep_best=False,
        **TINY,
        **LENGTH,
    )
    done(run, work)
    assert digest(tiny_model) == before
    kl = list(series(run, "kl").values())
    assert kl[0] == pytest.approx(0, abs=1e-5) and abs(kl[-1]) > 1e-4
    assert list(series(run, "ppo/first_ratio").values()) == pytest.approx([1.0] * 3, abs=1e-5)
    job: Any = made[0]
    if peft:
        assert job.reference is None
        trained = dict(job.model.get_base_model().named_parameters())
        base = {name.replace(".base_layer", ""): weight for name, weight in trained.items() if "lora_" not in name}
    else:
        base = dict(job.reference.named_parameters())
        assert all(not weight.requires_grad for weight in base.values())
        moved = dict(job.model.named_parameters())
        assert any(not torch.equal(moved[name], start[name]) for name in base)
    assert len(base) >= 15
    for name, weight in base.items():
        assert torch.equal(weight.detach(), start[name]), name


@pytest.mark.slow
@pytest.mark.long  # and tests/contract/test_resume.py asks the same
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    new_run: Run, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peft: bool
) -> None:
    """Value head, penalty, optimizer and random numbers come back: every later score and loss is the same."""
    data, held_out = jsonl(tmp_path / "gates.jsonl", GATES), jsonl(tmp_path / "held.jsonl", GATES[:4])
    asked = {
        **TINY,
        **LENGTH,
        "peft": peft,
        "lora_r": 4,
        "rl_kl_target": 0.1,
        "max_steps": 8,
        "epochs": 3,
        "valid_path": held_out,
    }
    asked |= {"eval_steps": 4, "save_steps": 4, "keep_best": False}
    whole = done(new_run(data, "whole", **asked), work)
    halves, steps, step = new_run(data, "halves", **asked), list[int](), PolicyTrainer.training_step

    def watched(self: PolicyTrainer, *args: Any, **kwargs: Any) -> Any:
        steps.append(self.state.global_step)
        if len(steps) == 5:
            halves.request_stop()
        return step(self, *args, **kwargs)

    monkeypatch.setattr(PolicyTrainer, "training_step", watched)
    assert work(halves) == 0
    status = halves.status()
    assert (status.state, status.step, status.resumable) == (State.STOPPED, 5, True)
    halves.stop_file.unlink()
    done(halves, work)
    assert steps == list(range(8)), "no step is made twice"
    for key in (
        "reward",
        "loss",
        "kl",
        "kl_coef",
        "value_loss",
        "explained_variance",
        "learning_rate",
        "eval_reward",
        "eval_kl",
    ):
        expected, found = series(whole, key), series(halves, key)
        assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-4), key
    ends = [load_file(run.model_dir / "model.safetensors") for run in (whole, halves)]
    for name, weight in ends[0].items():
        torch.testing.assert_close(ends[1][name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_three_prompts_are_enough(new_run: Run, work: Work, tmp_path: Path, peft: bool) -> None:
    short = {key: value for key, value in TINY.items() if key not in ("batch_size", "warmup_ratio")}
    run = done(new_run(jsonl(tmp_path / "three.jsonl", GATES[:3]), peft=peft, lora_r=4, **short, **LENGTH), work)
    assert run.status().step == run.plan()["total_steps"] == 3
    assert set(series(run, "reward")) == {1, 2, 3}
    AutoModelForCausalLM.from_pretrained(run.model_dir)


@pytest.mark.slow
def test_what_the_held_out_answers_scored_is_charted(
    new_run: Run, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their mean and spread over all batches, of each reward and of the sum; with the same random numbers each time."""
    seen: list[list[float]] = []
    judge = Judge.__call__

    def watched(self: Judge, rows: Any, answers: Any) -> Any:
        found = judge(self, rows, answers)
        if "Who" in str(rows[0]["prompt"]):
            seen.append(found.total.tolist())
        return found

    monkeypatch.setattr(Judge, "__call__", watched)
    held_out = jsonl(tmp_path / "held.jsonl", [{"prompt": f"Who opens gate {n}?", "hour": str(n)} for n in range(11)])
    asked = {**TINY, "rl_rewards": ["2 * length: 12 characters", "contains: hour"], "lr": 1e-9, "max_steps": 2, "eval_steps": 2}
    run = done(new_run(jsonl(tmp_path / "gates.jsonl", GATES), valid_path=held_out, **asked), work)
    half = len(seen) // 2
    first, again = [torch.tensor([score for batch in part for score in batch]) for part in (seen[:half], seen[half:])]
    assert len(first) == 11 and torch.equal(first, again)
    assert series(run, "eval_reward")[0] == pytest.approx(float(first.mean()), abs=1e-5)
    assert series(run, "eval_reward_std")[0] == pytest.approx(float(first.std(unbiased=False)), abs=1e-5)
    parts = 2 * series(run, "eval_rewards/length")[0] + series(run, "eval_rewards/contains")[0]
    assert parts == pytest.approx(series(run, "eval_reward")[0], abs=1e-5)
