"""Runs that go wrong say so and leave no model; runs that are stopped leave one, and go on as if nothing had been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine import LLMTrainingParams, api, train
from engine.errors import RunError, TrainingError
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.train.toys import all_events, held_out_loss, jsonl, qa, series

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "engine.cli", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def failed(root: Path, name: str) -> RunDirectory:
    """A run that must have failed in every respect."""
    run = RunDirectory.open(name, root)
    status = run.status()
    assert status.state is State.FAILED and status.reason and status.hint and status.cause and status.ended
    assert not run.model_dir.exists() and not (run.path / "adapter").exists()
    assert not run.alive
    assert name not in [choice.reference for choice in api.model_choices()], "nobody can build on it"
    return run


def test_a_loss_that_is_no_number_fails_the_run(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Weights large enough that one huge step carries them out of the range of numbers."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(3e4)
    model.save_pretrained(tmp_path / "hot")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "hot")
    data = jsonl(tmp_path / "qa.jsonl", qa(16))
    words = ["--lr", "0.9", "--optimizer", "sgd", "--max-grad-norm", "0", "--precision", "fp32", "--sample-tokens", "0"]
    words += ["--model", str(tmp_path / "hot"), "--data-path", data, "--project-name", "nan", "--max-steps", "40"]
    done = command("llm", "--trainer", "sft", *words)
    assert done.returncode == 1, done.stdout + done.stderr
    run = failed(runs_root, "nan")
    status = run.status()
    assert status.cause == "nan" and "no longer a number" in status.reason
    assert "0.9" in status.hint and "tenth" in status.hint
    assert status.reason in done.stderr and status.hint in done.stderr
    last = all_events(run, "metric")[-1]["values"]
    assert None in (last.get("loss"), last.get("grad_norm")), "the point itself is in the log, as null"
    for line in run.events_file.read_text(encoding="utf-8").splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@pytest.mark.parametrize("trainer", ["reward", "ppo"])
def test_rows_longer_than_the_model_can_read_are_not_sent_in_a_circle(runs_root: Path, tmp_path: Path, trainer: str) -> None:
    """A greater longest length would be refused: the model reads no more."""
    rows = [{"prompt": f"Is {n}{' very' * 700} old?", "chosen": "Yes.", "rejected": "No."} for n in range(3)]
    own = {"rl_rewards": ["no-repeat"], "rl_max_new_tokens": 8} if trainer == "ppo" else {}
    params = LLMTrainingParams(trainer=trainer, data_path=jsonl(tmp_path / "long.jsonl", rows), project_name="long", **own)
    with pytest.raises(TrainingError) as caught:
        train(params)
    assert "reads no more than 512 tokens at once" in caught.value.hint
    assert "greater longest length" not in caught.value.hint
    assert all("greater longest length" not in event["hint"] for event in all_events(failed(runs_root, "long"), "warning"))


def test_data_without_a_token_to_train_fails_the_run(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Questions so long that the answers lie beyond the longest length."""
    rows = [{"prompt": f"{n} " + "the harbour opens at six and " * 12, "completion": "Yes."} for n in range(5)]
    params = LLMTrainingParams(
        trainer="sft", model=str(tiny_model), data_path=jsonl(tmp_path / "cut.jsonl", rows), max_length=16, project_name="cut"
    )
    with pytest.raises(TrainingError, match="token to train on") as caught:
        train(params)
    assert caught.value.cause == "data" and "longest length" in caught.value.hint
    run = failed(runs_root, "cut")
    assert any("5 training rows" in event["message"] for event in all_events(run, "warning"))
    with pytest.raises(RunError):
        api.resume("cut")


@pytest.mark.long  # tests/contract/test_resume.py asks the same
def test_a_stopped_run_goes_on_as_if_it_had_never_been_stopped(
    runs_root: Path, tiny_model: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # held-out answers that contradict the trained ones: the best step comes early, before the stop
    data = jsonl(tmp_path / "train.jsonl", qa(44))
    held_out = jsonl(tmp_path / "valid.jsonl", qa(8, "It opens at {} when the keeper wakes."))
    asked: dict[str, Any] = {"max_steps": 160, "epochs": 100, "lr": 0.01, "batch_size": 8, "eval_steps": 8, "save_steps": 40}
    asked |= {"precision": "fp32", "sample_tokens": 0, "logging_steps": 1, "gradient_accumulation": 2, "keep_best": True}
    params = LLMTrainingParams(trainer="sft", model=str(tiny_model), data_path=data, valid_path=held_out, **asked)

    train(params.model_copy(update={"project_name": "whole"}))
    whole = RunDirectory.open("whole", runs_root)

    name = api.start(params.model_copy(update={"project_name": "halves"}))
    halves = RunDirectory.open(name, runs_root)
    wait_until(lambda: halves.status().step >= 50, 60)
    halves.request_stop()
    wait_until(lambda: halves.status().ended_state, 60)
    at = halves.status().step
    status = halves.status()
    assert status.state is State.STOPPED and status.cause == "stopped" and status.resumable
    assert 50 <= at < 160 and f"step {at} of 160" in status.reason
    assert (halves.checkpoints_dir / f"checkpoint-{at}" / "trainer_state.json").is_file()
    AutoModelForCausalLM.from_pretrained(halves.model_dir)
    assert 0 < (status.best_step or 0) < at and f"step {status.best_step} is saved" in status.reason
    assert api.run_status(name).state is State.STOPPED and not halves.alive

    done = command("resume", name)
    assert done.returncode == 0, done.stderr
    assert halves.status().state is State.DONE and halves.status().step == 160
    assert [event["step"] for event in all_events(halves, "resumed")] == [at]

    for key in ("loss", "eval_loss", "learning_rate", "token_accuracy"):
        expected, made = series(whole, key), series(halves, key)
        assert set(expected) <= set(made), key
        assert made == pytest.approx({**made, **expected}, abs=1e-4), key  # a stop measures once more, where it stops
    last = max(series(whole, "loss"))
    assert last == 160 and series(halves, "loss")[last] == pytest.approx(series(whole, "loss")[last], abs=1e-4)

    # both saved the best weights, which one of them met before it was stopped
    assert halves.status().best_step == whole.status().best_step
    for run in (whole, halves):
        model = AutoModelForCausalLM.from_pretrained(run.model_dir, dtype=torch.float32)
        loss = held_out_loss(model, run.model_dir, run.data_dir / "valid.jsonl")
        assert loss == pytest.approx(run.status().best_value, rel=1e-4), run.name
        assert loss < series(run, "eval_loss")[160] - 1e-3, "the last weights were worse"
    assert sorted(os.listdir(whole.model_dir)) == sorted(os.listdir(halves.model_dir))
