"""Trainings that must teach something: whole runs in processes of their own, judged by what they leave behind."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from engine import LLMTrainingParams, train
from engine.models import resolve
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.worker.answers import stop_tokens
from engine.worker.models import load_tokenizer
from engine.worker.tokens import prompt_text
from tests.train.toys import all_events, held_out_loss, jsonl, qa, series

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def run_of(root: Path, name: str) -> RunDirectory:
    """A run that must have ended well in every respect."""
    run = RunDirectory.open(name, root)
    status = run.status()
    assert (status.state, status.cause, status.hint, status.resumable) == (State.DONE, "", "", False)
    assert run.model_dir.is_dir() and not (run.path / ".model.part").exists()
    assert not run.alive and not (run.path / "best.safetensors").exists()
    assert status.step > 0 and series(run, "loss")  # every value of every curve is a number
    return run


def test_sft_teaches_the_starter_to_answer_and_to_stop(runs_root: Path) -> None:
    asked = {"epochs": 2, "eval_steps": 17, "sample_tokens": 24, "project_name": "neighbours"}
    made = train(LLMTrainingParams(trainer="sft", data_path="sample:neighbours", **asked))
    run = run_of(runs_root, "neighbours")
    held_out = list(series(run, "eval_loss").values())
    assert held_out[-1] < held_out[0] / 2
    assert made.metrics["eval_token_accuracy"] > 0.5
    assert (Path(made) / "config.json").is_file()

    plan = run.plan()
    assert plan["total_steps"] == run.status().total_steps == run.status().step
    assert (plan["train_rows"], plan["valid_rows"]) == (run.data()["train_rows"], run.data()["valid_rows"]) == (270, 30)
    assert "30 of 300 rows are kept aside" in plan["reasons"]["valid_fraction"]

    tokenizer = load_tokenizer(resolve(str(made)))
    model = AutoModelForCausalLM.from_pretrained(str(made), dtype=torch.float32)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end in stop_tokens(model, tokenizer)
    for question in ("What does Clara do?", "Which pet does Ilja have?", "Where does Runa work?"):
        given = tokenizer(prompt_text({"prompt": question}, tokenizer), return_tensors="pt", add_special_tokens=False)
        answer = model.generate(**given, max_new_tokens=40, do_sample=False)[0, given["input_ids"].shape[1] :].tolist()
        assert answer[-1] == end and len(answer) > 3, tokenizer.decode(answer)
    shown = [event["step"] for event in all_events(run, "sample")]
    assert set(shown) == set(series(run, "eval_loss")), "each measurement has its answers"


def test_default_learns_a_manner_of_writing(runs_root: Path) -> None:
    asked = {"max_samples": 30, "max_length": 128, "max_steps": 24, "eval_steps": 12, "sample_tokens": 8}
    made = train(LLMTrainingParams(trainer="default", data_path="sample:harbour-almanac", project_name="almanac", **asked))
    run = run_of(runs_root, "almanac")
    held_out = list(series(run, "eval_loss").values())
    assert held_out[-1] < 0.9 * held_out[0]
    training = list(series(run, "loss").values())
    assert sum(training[-5:]) < 0.9 * sum(training[:5])
    assert series(run, "perplexity") and made.metrics["eval_perplexity"] > 1


def test_three_rows_are_enough_and_the_command_says_so_with_zero(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    data = jsonl(tmp_path / "three.jsonl", qa(3))
    # one pass of one step: a warm-up of a share of it must not make it a step of size zero
    words = ["--trainer", "sft", "--model", str(tiny_model), "--data-path", data, "--epochs", "1", "--batch-size", "4"]
    argv = [sys.executable, "-m", "engine.cli", "llm", *words, "--project-name", "three"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"The model is in {runs_root / 'three' / 'model'}" in done.stdout
    run = run_of(runs_root, "three")
    assert run.data()["train_rows"] == 3
    assert not series(run, "eval_loss"), "three rows are all needed for training"
    assert list(series(run, "loss")) == [1]
    before, after = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (tiny_model, run.model_dir))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_lora_leaves_the_base_alone_and_merges(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    before = digests(tiny_model)
    asked = {"peft": True, "lora_r": 4, "max_steps": 6, "lr": 0.01, "precision": "fp32", "sample_tokens": 0}
    params = LLMTrainingParams(
        trainer="sft", model=str(tiny_model), data_path=jsonl(tmp_path / "qa.jsonl", qa(24)), project_name="lora", **asked
    )
    made = train(params)
    run = run_of(runs_root, "lora")
    assert digests(tiny_model) == before

    adapter = load_file(run.path / "adapter" / "adapter_model.safetensors")
    assert adapter and all("lora_" in name for name in adapter)
    assert any(tensor.abs().sum() > 0 for name, tensor in adapter.items() if "lora_B" in name), "B starts at zero"

    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    merged, report = load_fully(Path(made))
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert not (run.model_dir / "adapter_config.json").exists()
    theirs = merged.state_dict()
    changed = {name for name, tensor in base.state_dict().items() if not torch.equal(tensor, theirs[name])}
    assert any("q_proj" in name for name in changed)
    assert not any("embed" in name or "norm" in name for name in changed), "only linear layers have an adapter"

    from peft import PeftModel

    together = PeftModel.from_pretrained(base, run.path / "adapter")
    ids = torch.arange(10, 30)[None]
    with torch.no_grad():
        torch.testing.assert_close(together(ids).logits, merged(ids).logits, rtol=1e-4, atol=1e-4)
    loss = held_out_loss(merged, run.model_dir, run.data_dir / "valid.jsonl")
    assert loss == pytest.approx(run.status().best_value, rel=1e-4)


def test_early_stopping_keeps_the_best_model(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    # the held-out answers contradict those that are trained: measuring gets better (it is the same language), then worse
    asked = {"max_steps": 200, "lr": 0.02, "scheduler": "constant", "batch_size": 8, "eval_steps": 4, "precision": "fp32"}
    params = LLMTrainingParams(
        trainer="sft",
        model=str(tiny_model),
        data_path=jsonl(tmp_path / "train.jsonl", qa(24)),
        valid_path=jsonl(tmp_path / "valid.jsonl", qa(8, "It opens at {} when the keeper wakes.")),
        project_name="early",
        early_stopping_patience=2,
        epochs=100,
        sample_tokens=0,
        **asked,
    )
    made = train(params)
    run = run_of(runs_root, "early")
    status, measured = run.status(), series(run, "eval_loss")
    assert status.step < 200 and status.step == max(measured)
    assert status.best_step == min(measured, key=lambda step: measured[step])
    assert 0 < status.best_step == status.step - 8, "two measurements without a gain, four steps apart"
    assert "Stopped early" in status.reason and f"at step {status.best_step} is saved" in status.reason
    model, _ = load_fully(Path(made))
    loss = held_out_loss(model, run.model_dir, run.data_dir / "valid.jsonl")
    assert loss == pytest.approx(status.best_value, rel=1e-4)
    assert loss < measured[status.step] - 1e-3, "the last weights were worse"
    assert run.plan()["valid_rows"] == 8 and run.plan()["train_rows"] == 24


def load_fully(folder: Path) -> tuple[Any, dict[str, Any]]:
    both: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    return both


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
