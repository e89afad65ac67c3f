"""The estimate before the start: plausible items, in the right order of size, and advice when it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import admission, api
from engine import estimate as module
from engine.batches import fullest_batch
from engine.device import Device
from engine.errors import RunError
from engine.estimate import Estimate, estimate
from engine.models import ModelFacts, facts
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, plan
from engine.registry import spec_for, specs
from engine.runs.directory import RunDirectory, write_json
from engine.runs.listing import list_runs
from engine.runs.status import State

GIB = 1 << 30
GPU = Device("cuda", "A card", 8, 80 * GIB, 78 * GIB, bf16=True, quantization=True)
CPU = Device("cpu", "A processor", 4, 16 * GIB, 8 * GIB, bf16=False)
DATA = DataFacts(1000, tokens_mean=200, tokens_p95=400, tokens_max=500, trained_mean=100)
# about the shape of a model of one billion weights
MODEL = ModelFacts("m", "hub", "LlamaForCausalLM", 1_100_000_000, 2048, 22, 32, 32_000, 5632, 2048, "BF16", 2 << 30, True)


@pytest.fixture(autouse=True)
def _own_runs(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own runs, since the speed of finished ones is used, and a disk with room: that is told first."""
    monkeypatch.setattr(module, "_disk_free", lambda: 500 * GIB)


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


def test_embeddings_and_a_head_of_their_own_stay_in_half_precision() -> None:
    """Few bits are for layers: 0.6 bytes a weight, with scales; embeddings, and a head that is not they, have two."""
    adapter = item(work_out(peft=True, quantization="int4"), "Gradients")  # its weights, too, take four bytes each
    for tied, matrices in ((True, 1), (False, 2)):
        whole = matrices * MODEL.vocabulary * MODEL.hidden
        expected = int(2 * whole + 0.6 * (MODEL.parameters - whole)) + adapter
        assert item(work_out(replace(MODEL, tied=tied), peft=True, quantization="int4"), "Weights") == expected


def test_both_answers_of_a_pair_are_read() -> None:
    one, two = work_out(), work_out(trainer="dpo")
    assert two.tokens / two.steps == pytest.approx(2 * one.tokens / one.steps, rel=0.01)


def test_checkpointing_trades_time_for_activations() -> None:
    kept, recomputed = work_out(gradient_checkpointing=False), work_out(gradient_checkpointing=True)
    assert item(recomputed, "Activations") < item(kept, "Activations") / 3
    assert recomputed.seconds > kept.seconds


def test_activations_and_logits_grow_with_the_batch() -> None:
    small, large = work_out(batch_size=2), work_out(batch_size=8)
    for what in ("Activations", "Logits"):
        assert 2 * item(small, what) < item(large, what) < 4 * item(small, what)  # the fullest of small batches is fuller
        assert item(work_out(batch_size=8, gradient_accumulation=4), what) == item(large, what)
        alike = replace(DATA, tokens_p95=200, tokens_max=200)
        one, four = (item(work_out(data=alike, batch_size=size), what) for size in (2, 8))
        assert four == pytest.approx(4 * one, rel=0.01)


def test_the_fullest_batch_is_counted_and_not_the_usual_one() -> None:
    asked = {"batch_size": 4, "max_length": 512}
    chosen = plan(LLMTrainingParams(trainer="sft", data_path="x.csv", **asked), DATA, MODEL, GPU).params
    for p95, most, tokens in ((200, 200, 800), (400, 500, 800 + 2 * 2 * 200 / 1.645), (400, 210, 840), (100, 500, 800)):
        data = replace(DATA, tokens_p95=p95, tokens_max=most)
        assert fullest_batch(chosen, data, 512, 4) == pytest.approx(tokens)
    assert fullest_batch(chosen.model_copy(update={"packing": True}), DATA, 512, 4) == 4 * 512


def test_an_adapter_keeps_what_goes_into_it_besides() -> None:
    assert item(work_out(peft=True), "Activations") == pytest.approx(1.5 * item(work_out(), "Activations"), rel=0.1)


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
    assert not made.fits and made.disk_least > made.disk_free
    assert "It needs at least" in made.advice and "aitraining prune" in made.advice


def test_a_disk_that_may_be_too_small_is_a_warning_and_one_that_surely_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, runs_root: Path
) -> None:
    model = facts("starter")
    least, likely = work_out(model).disk_least, work_out(model).disk
    assert 14 * model.parameters <= least < likely  # weights and both moments, and the model in two or four bytes
    assert work_out(model, optimizer="sgd").disk_least < least / 2
    assert work_out(model, peft=True, merge_adapter=False).disk_least < least / 5
    monkeypatch.setattr(module, "_disk_free", lambda: (least + likely) // 2)
    warned = work_out(model)
    assert not warned.fits and warned.disk_least < warned.disk_free and "It needs about" in warned.advice
    params = LLMTrainingParams(trainer="sft", data_path="x.csv")
    for free, refused in ((least - 1, True), (least, False)):
        monkeypatch.setattr(admission, "free_bytes", lambda root, free=free: free)
        run = RunDirectory.create({"trainer": "sft"}, f"large-{free}", runs_root)
        (run.path / "model").mkdir()
        (run.path / "model" / "file").write_bytes(b"x" * 50_000)
        if refused:
            with pytest.raises(RunError, match=r"too full for this run\. It needs at least") as caught:
                api.start(params)
            assert f"large-{free} (" in caught.value.hint and list_runs(runs_root)[0].name.startswith("large")
        else:
            admission.refuse_without_room(params)


# ---- time ------------------------------------------------------------------------------------------------------------


def test_the_time_is_a_guess_until_a_run_has_finished_here(runs_root: Path) -> None:
    guess = work_out(facts("starter"), CPU)
    assert "first guess" in guess.seconds_how
    for name, state, rate in (("done", State.DONE, 1e9), ("failed", State.FAILED, 1.0)):
        run = RunDirectory.create({"trainer": "sft"}, name, runs_root)
        write_json(run.plan_file, {"model_parameters": facts("starter").parameters})
        run.update_status(state=state, device=CPU.name, metrics={"tokens_per_second": rate})
    known = work_out(facts("starter"), CPU)
    assert "your last runs" in known.seconds_how
    assert known.seconds < guess.seconds
    # of another device, or of a model of another size, they say nothing
    assert "first guess" in work_out(facts("starter"), GPU).seconds_how
    assert "first guess" in work_out(MODEL, CPU).seconds_how


def test_a_gpu_takes_as_long_as_handing_over_its_work_takes() -> None:
    """However small a layer is; 1.2 billion weights in 16 layers were measured to take a step as long as 0.1 billion do."""
    given: dict[str, Any] = {"sample_tokens": 0, "valid_fraction": 0.0, "precision": "bf16", "gradient_checkpointing": False}
    small = replace(facts("starter"), layers=6)
    few, many = (work_out(replace(small, layers=layers), **given).seconds - module._START_S for layers in (6, 60))
    assert many == pytest.approx(10 * few, rel=0.01)
    assert work_out(small, peft=True, **given).seconds > work_out(small, **given).seconds
    large = work_out(replace(MODEL, layers=1), **given).seconds
    assert work_out(replace(MODEL, layers=2), **given).seconds == large  # there the arithmetic takes longer
