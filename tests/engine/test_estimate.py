"""The estimate before the start: plausible items, in the right order of size, and advice when it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import estimate as module
from engine.device import Device
from engine.estimate import Estimate, estimate
from engine.models import ModelFacts, facts
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, plan
from engine.registry import spec_for, specs
from engine.runs.directory import RunDirectory, write_json
from engine.runs.status import State

GIB = 1 << 30
GPU = Device("cuda", "A card", 8, 80 * GIB, 78 * GIB, bf16=True, quantization=True)
CPU = Device("cpu", "A processor", 4, 16 * GIB, 8 * GIB, bf16=False)
DATA = DataFacts(1000, tokens_mean=200, tokens_p95=400, tokens_max=500, trained_mean=100)
# about the shape of a model of one billion weights
MODEL = ModelFacts("m", "hub", "LlamaForCausalLM", 1_100_000_000, 2048, 22, 32, 32_000, 5632, 2048, "BF16", 2 << 30, True)


@pytest.fixture(autouse=True)
def _own_runs(runs_root: Path) -> None:
    """Each test has its own runs, since the speed of finished ones is used."""


def work_out(model: ModelFacts = MODEL, device: Device = GPU, data: DataFacts = DATA, **values: Any) -> Estimate:
    params = LLMTrainingParams(**{"trainer": "sft", "data_path": "x.csv", "batch_size": 8, **values})
    return estimate(plan(params, data, model, device), data, model, device, spec_for(params.trainer))


def item(of: Estimate, what: str) -> int:
    return dict(of.memory).get(what, 0)


@pytest.mark.parametrize("trainer", specs())
@pytest.mark.parametrize("peft", [True, False])
@pytest.mark.parametrize("device", [GPU, CPU], ids=["gpu", "cpu"])
def test_items_are_positive_and_add_up(trainer: str, peft: bool, device: Device) -> None:
    made = work_out(facts("starter"), device, trainer=trainer, peft=peft, **spec_for(trainer).example_settings)
    assert all(size > 0 for _, size in made.memory)
    assert len({what for what, _ in made.memory}) == len(made.memory)
    assert sum(size for _, size in made.memory) == made.memory_total
    assert {"Weights", "Gradients", "Optimizer", "Activations", "Python and its libraries"} <= {w for w, _ in made.memory}
    assert min(made.disk, made.disk_free, made.seconds, made.tokens, made.steps, made.train_rows) > 0
    assert made.fits  # the bundled model must fit everywhere
    assert made.advice == ""


def test_full_training_holds_weights_gradients_and_two_moments() -> None:
    made = work_out(precision="fp32")
    for what, each in (("Weights", 4), ("Gradients", 4), ("Optimizer", 8)):
        assert item(made, what) == each * MODEL.parameters
    assert item(work_out(optimizer="sgd"), "Optimizer") == 0
    assert item(work_out(optimizer="adafactor"), "Optimizer") < item(made, "Optimizer") / 10


def test_an_adapter_needs_less_than_full_training() -> None:
    full, adapter = work_out(), work_out(peft=True)
    assert adapter.memory_total < full.memory_total / 2
    for what in ("Weights", "Gradients", "Optimizer"):
        assert item(adapter, what) < item(full, what)
    assert adapter.disk < full.disk
    assert item(work_out(peft=True, lora_r=64), "Optimizer") == pytest.approx(4 * item(adapter, "Optimizer"))


def test_fewer_bits_need_less() -> None:
    sizes = [item(work_out(peft=True, quantization=bits), "Weights") for bits in ("none", "int8", "int4")]
    assert sizes[0] > sizes[1] > sizes[2]


def test_checkpointing_trades_time_for_activations() -> None:
    kept, recomputed = work_out(gradient_checkpointing=False), work_out(gradient_checkpointing=True)
    assert item(recomputed, "Activations") < item(kept, "Activations") / 3
    assert recomputed.seconds > kept.seconds


def test_activations_and_logits_grow_with_the_batch() -> None:
    small, large = work_out(batch_size=2), work_out(batch_size=8)
    for what in ("Activations", "Logits"):
        assert item(large, what) == pytest.approx(4 * item(small, what), rel=0.01)
        assert item(work_out(batch_size=8, gradient_accumulation=4), what) == item(large, what)


def test_more_passes_take_longer() -> None:
    assert work_out(epochs=6).seconds > 1.5 * work_out(epochs=2).seconds


# ---- what does not fit -----------------------------------------------------------------------------------------------


def test_what_does_not_fit_says_what_to_change_step_by_step() -> None:
    tight = replace(GPU, memory_free=1 * GIB)
    steps: list[tuple[dict[str, Any], str]] = [
        ({}, "LoRA"),
        ({"peft": True}, "Halve the rows"),
        ({"peft": True, "batch_size": 1, "gradient_checkpointing": False}, "checkpointing"),
        ({"peft": True, "batch_size": 1, "gradient_checkpointing": True}, "smaller model"),
    ]
    for values, words in steps:
        made = work_out(device=tight, **values)
        assert not made.fits
        assert words in made.advice


def test_a_full_disk_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_disk_free", lambda: 1000)
    made = work_out()
    assert not made.fits
    assert "disk" in made.advice


# ---- time ------------------------------------------------------------------------------------------------------------


def test_the_time_is_a_guess_until_a_run_has_finished_here(runs_root: Path) -> None:
    guess = work_out(facts("starter"), CPU)
    assert "first guess" in guess.seconds_how
    for name, state, rate in (("done", State.DONE, 1e9), ("failed", State.FAILED, 1.0)):
        run = RunDirectory.create({"trainer": "sft"}, name, runs_root)
        write_json(run.plan_file, {"model_parameters": facts("starter").parameters})
        run.update_status(state=state, metrics={"tokens_per_second": rate})
    known = work_out(facts("starter"), CPU)
    assert "your last runs" in known.seconds_how
    assert known.seconds < guess.seconds
