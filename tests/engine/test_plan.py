"""Automatic settings: each is chosen, with a reason, within the model's and the machine's means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.data import held_out_fraction
from engine.device import Device
from engine.errors import DeviceError, ModelError
from engine.models import ModelFacts
from engine.params import LLMTrainingParams, form_of
from engine.plan import DataFacts, plan, presets
from engine.registry import parse, spec_for, specs

CPU = Device(kind="cpu", name="A processor", cores=4, memory_total=16 << 30, memory_free=8 << 30, bf16=False)
GPU = Device("cuda", "A card", 8, 80 << 30, 78 << 30, bf16=True, flash_attention=True, quantization=True)
SMALL = ModelFacts("starter", "starter", "LlamaForCausalLM", 3_000_000, 192, 6, 6, 1393, 512, 512, "BF16", 6_000_000, True)
LARGE = replace(SMALL, reference="large", parameters=8_000_000_000, context=131_072)


def params(**values: Any) -> LLMTrainingParams:
    return LLMTrainingParams(**{"trainer": "sft", "data_path": "sample:neighbours", **values})


@pytest.mark.parametrize("trainer", specs())
@pytest.mark.parametrize("device", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("rows", [1, 3, 50, 10_000])
def test_every_open_setting_is_chosen_and_says_why(trainer: str, device: Device, rows: int) -> None:
    asked = params(trainer=trainer, **spec_for(trainer).example_settings)
    chosen = plan(asked, DataFacts(rows), SMALL, device)
    auto = {name for name in type(asked).model_fields if form_of(type(asked), name).auto}
    assert set(chosen.reasons) == auto
    for name in auto:
        assert getattr(chosen.params, name) is not None, name
        assert chosen.reasons[name].endswith("."), name
    # what was chosen passes for what a person may give
    assert parse(chosen.params.model_dump()) == chosen.params
    assert chosen.total_steps >= 1
    assert chosen.tokens_per_step > 0


def test_what_was_given_is_kept_and_needs_no_reason() -> None:
    given = {"lr": 1e-4, "batch_size": 3, "max_length": 100, "valid_fraction": 0.0, "precision": "fp32", "eval_steps": 7}
    chosen = plan(params(**given), DataFacts(300), SMALL, GPU)
    for name, value in given.items():
        assert getattr(chosen.params, name) == value
        assert name not in chosen.reasons
    assert (chosen.train_rows, chosen.valid_rows) == (300, 0)


@pytest.mark.parametrize(
    ("rows", "batch", "valid", "steps"),
    [
        (3, 1, 0, 9),  # so few that each counts, and none can be spared
        (50, 2, 5, 69),  # 45 rows, three passes
        (10_000, 16, 500, 1782),
    ],
)
def test_batches_grow_with_the_data(rows: int, batch: int, valid: int, steps: int) -> None:
    chosen = plan(params(), DataFacts(rows), SMALL, CPU)
    assert chosen.params.batch_size == batch
    assert chosen.valid_rows == valid == round(rows * held_out_fraction(rows))
    assert chosen.train_rows == rows - valid
    assert chosen.total_steps == steps
    assert str(batch) in chosen.reasons["batch_size"]


def test_steps_follow_batch_accumulation_passes_and_the_limit() -> None:
    given = {"batch_size": 4, "gradient_accumulation": 3, "valid_fraction": 0.0}
    chosen = plan(params(**given, epochs=2.5), DataFacts(100), SMALL, CPU)
    assert (chosen.steps_per_epoch, chosen.total_steps) == (9, 23)
    assert plan(params(**given, max_steps=5), DataFacts(100), SMALL, CPU).total_steps == 5
    assert plan(params(**given, max_samples=10), DataFacts(100), SMALL, CPU).train_rows == 10


def test_curves_have_enough_points_whatever_the_length() -> None:
    for rows in (3, 50, 10_000, 1_000_000):
        chosen = plan(params(), DataFacts(rows), SMALL, CPU)
        points = chosen.total_steps / (chosen.params.logging_steps or 0)
        assert min(chosen.total_steps, 100) <= points <= 400
        assert chosen.total_steps / (chosen.params.eval_steps or 0) <= 10
        assert chosen.params.save_steps == chosen.params.eval_steps  # so that the best point has a checkpoint


def test_an_own_held_out_file_leaves_all_rows_to_training() -> None:
    chosen = plan(params(), DataFacts(100, valid_rows=20), SMALL, CPU)
    assert (chosen.train_rows, chosen.valid_rows, chosen.params.valid_fraction) == (100, 20, 0.0)
    assert "20 rows" in chosen.reasons["valid_fraction"]


def test_rows_are_cut_only_where_the_model_ends() -> None:
    assert plan(params(), DataFacts(50, tokens_max=100), SMALL, CPU).params.max_length == 128
    long = plan(params(), DataFacts(50, tokens_max=3000), SMALL, CPU)
    assert long.params.max_length == SMALL.context
    assert "context of 512" in long.reasons["max_length"]
    assert plan(params(), DataFacts(50, tokens_max=90_000), LARGE, CPU).params.max_length == 4096


def test_documents_are_counted_in_blocks() -> None:
    chosen = plan(params(trainer="default"), DataFacts(2, tokens_mean=50_000, tokens_max=60_000), SMALL, CPU)
    assert chosen.steps_per_epoch * (chosen.params.batch_size or 0) >= 100_000 / SMALL.context
    assert chosen.tokens_per_step == pytest.approx(512 * (chosen.params.batch_size or 0), rel=0.01)
    # short documents share a block, so that a step has as many tokens as the blocks are long
    short = plan(params(trainer="default", max_length=128), DataFacts(1000, tokens_mean=16), SMALL, CPU)
    assert short.tokens_per_step == pytest.approx(128 * (short.params.batch_size or 0), rel=0.01)


def test_joined_rows_are_counted_as_long_as_they_are_once_cut() -> None:
    """Ten very long rows among two hundred short ones fill ten places, and not a hundred."""
    spread = [*[20.0] * 95, *[10_000.0] * 5]
    data = DataFacts(200, tokens_mean=519, tokens_p95=20, tokens_max=10_000, spread=spread)
    few = plan(params(packing=True, max_length=512, valid_fraction=0, batch_size=1), data, SMALL, CPU)
    assert few.steps_per_epoch == pytest.approx(200 * (0.95 * 20 + 0.05 * 512) / (512 * 0.95), abs=1)
    alone = plan(params(max_length=512, valid_fraction=0, batch_size=1), data, SMALL, CPU)
    assert alone.tokens_per_step == pytest.approx(0.95 * 20 + 0.05 * 512)


@pytest.mark.parametrize("rows", [3, 36, 719, 5000])
@pytest.mark.parametrize("epochs", [1, 2.5, 3, 8])
def test_the_reason_of_the_batch_names_the_steps_that_are_made(rows: int, epochs: float) -> None:
    chosen = plan(params(valid_fraction=0, epochs=epochs), DataFacts(rows), SMALL, CPU)
    assert f" makes {chosen.total_steps} steps of" in chosen.reasons["batch_size"]


def test_the_learning_rate_falls_with_size_and_rises_for_an_adapter() -> None:
    small, large = (plan(params(), DataFacts(300), model, CPU).params.lr or 0 for model in (SMALL, LARGE))
    assert 0 < large < small <= 1e-3
    assert 5e-6 < large < 2e-5
    adapter = plan(params(peft=True), DataFacts(300), LARGE, CPU).params.lr or 0
    assert adapter == pytest.approx(10 * large, rel=0.1)


# ---- the machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize(("kind", "without"), [("cpu", "fp32"), ("mps", "fp32"), ("cuda", "fp16")])
def test_bfloat16_only_where_the_device_has_it(kind: str, without: str, bf16: bool) -> None:
    device = replace(CPU, kind=kind, bf16=bf16)
    assert plan(params(), DataFacts(50), SMALL, device).params.precision == ("bf16" if bf16 else without)


def test_a_run_sent_to_the_cpu_gets_what_a_cpu_can_do() -> None:
    assert plan(params(device="cpu"), DataFacts(50), SMALL, GPU).params.attention == "documents"  # not the card's


def test_flash_attention_is_not_chosen_for_what_it_cannot_compute_and_refused_when_asked_for() -> None:
    windows = replace(SMALL, sliding_window=128)
    assert plan(params(precision="fp32"), DataFacts(50), windows, GPU).params.attention == "sdpa"
    with pytest.raises(DeviceError, match="bf16 or fp16 only"):
        plan(params(precision="fp32", attention="flash_attention_2"), DataFacts(50), SMALL, GPU)


def test_attention_suits_device_and_model() -> None:
    windows = replace(SMALL, sliding_window=128)
    for device in (CPU, GPU, replace(GPU, flash_attention=False)):  # PyTorch has the flash kernel that "documents" takes
        assert plan(params(), DataFacts(50), SMALL, device).params.attention == "documents"
    assert plan(params(), DataFacts(50), windows, GPU).params.attention == "flash_attention_2"
    assert plan(params(), DataFacts(50), windows, replace(GPU, flash_attention=False)).params.attention == "sdpa"
    assert plan(params(), DataFacts(50), windows, CPU).params.attention == "sdpa"
    assert plan(params(), DataFacts(50), SMALL, replace(CPU, kind="mps")).params.attention == "sdpa"


def test_activations_are_recomputed_only_when_memory_is_short() -> None:
    assert plan(params(), DataFacts(50), SMALL, CPU).params.gradient_checkpointing is False
    assert plan(params(), DataFacts(50), LARGE, CPU).params.gradient_checkpointing is True


WANTED: list[dict[str, Any]] = [
    {"precision": "fp16"},
    {"attention": "flash_attention_2"},
    {"quantization": "int4", "peft": True},
    {"quantization": "int8", "peft": True},
]


@pytest.mark.parametrize("wanted", WANTED, ids=lambda w: next(iter(w.values())))
@pytest.mark.parametrize(("device", "where"), [(CPU, "auto"), (GPU, "cpu")], ids=["a cpu", "sent to the cpu"])
def test_what_a_cpu_cannot_do_is_refused_with_a_way_out(wanted: dict[str, Any], device: Device, where: str) -> None:
    with pytest.raises(DeviceError) as caught:
        plan(params(**wanted, device=where), DataFacts(50), SMALL, device)
    assert "GPU" in caught.value.message
    assert caught.value.hint
    plan(params(**wanted), DataFacts(50), SMALL, GPU)  # and a card takes it


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_a_base_of_few_bits_without_an_adapter_is_refused_before_it_is_loaded(bits: str) -> None:
    with pytest.raises(ModelError, match=f"quantization={bits}.*all its weights") as caught:
        plan(params(quantization=bits), DataFacts(50), SMALL, GPU)
    assert "--peft" in caught.value.hint and "--quantization none" in caught.value.hint


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(DeviceError, match="no cuda device here, only cpu") as caught:
        plan(params(device="cuda"), DataFacts(50), SMALL, CPU)
    assert "--device auto" in caught.value.hint


# ---- presets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainer", specs())
def test_presets_are_settings_of_every_trainer(trainer: str) -> None:
    named = presets(trainer)
    assert list(named) == ["Quick try", "Balanced", "Best quality"]
    for values in named.values():
        assert values
        given = {**spec_for(trainer).example_settings, **values}
        chosen = plan(params(trainer=trainer, **given), DataFacts(10_000), SMALL, CPU)
        assert chosen.total_steps >= 1
    keys = {frozenset(values) for values in named.values()}
    assert len(keys) == 1  # changing from one to another leaves nothing of the first behind
