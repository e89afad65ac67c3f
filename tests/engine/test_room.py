"""Plans that fit: batches within the free memory, packed places counted as such, rows no longer than the model reads."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.data
from engine.device import Device
from engine.errors import ModelError
from engine.estimate import Estimate, estimate
from engine.models import ModelFacts
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, Plan, plan
from engine.registry import parse, spec_for
from engine.runs.directory import RunDirectory, write_json
from engine.runs.status import State

GIB = 1 << 30
CPU = Device("cpu", "A processor", 4, 64 * GIB, 60 * GIB, bf16=False)
GPU = Device("cuda", "A card", 8, 80 * GIB, 78 * GIB, bf16=True)
# about the shape of a model of one billion weights
MODEL = ModelFacts("m", "hub", "LlamaForCausalLM", 1_100_000_000, 2048, 22, 32, 32_000, 5632, 2048, "BF16", 2 << 30, True)
DATA = DataFacts(5000, tokens_mean=400, tokens_p95=900, tokens_max=1000, trained_mean=200)


@pytest.fixture(autouse=True)
def _own_runs(runs_root: Path) -> None:
    """Each test has its own runs, since the speed of finished ones is used."""


def params(**values: Any) -> LLMTrainingParams:
    return LLMTrainingParams(**{"trainer": "sft", "data_path": "x.csv", **values})


def planned(model: ModelFacts = MODEL, device: Device = GPU, data: DataFacts = DATA, **values: Any) -> Plan:
    return plan(params(**values), data, model, device)


def worked_out(model: ModelFacts = MODEL, device: Device = GPU, data: DataFacts = DATA, **values: Any) -> Estimate:
    chosen = planned(model, device, data, **values)
    return estimate(chosen, data, model, device, spec_for(chosen.params.trainer))


def item(of: Estimate, what: str) -> int:
    return dict(of.memory).get(what, 0)


# ---- batches and memory ----------------------------------------------------------------------------------------------


def test_a_batch_is_as_large_as_the_free_memory_allows_and_says_so() -> None:
    roomy = planned()
    assert roomy.params.batch_size == 16
    assert "would not fit" not in roomy.reasons["batch_size"]
    tight = planned(device=replace(GPU, memory_free=34 * GIB), gradient_checkpointing=False)
    assert tight.params.batch_size == 8
    assert tight.reasons["batch_size"].endswith("; 16 would not fit into the free memory.")
    assert tight.total_steps == math.ceil(tight.train_rows / 8) * 3


@pytest.mark.parametrize("trainer", ["sft", "default"])
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("free", range(4, 80, 6))
@pytest.mark.parametrize("kind", [CPU, GPU], ids=["cpu", "gpu"])
def test_a_batch_of_more_than_one_fits_by_the_estimate_too(kind: Device, trainer: str, peft: bool, free: int) -> None:
    """Plan and estimate count the same things, so that the page never plans what it then calls too large."""
    device = replace(kind, memory_free=free * GIB)
    chosen, made = (of(device=device, trainer=trainer, peft=peft) for of in (planned, worked_out))
    if (chosen.params.batch_size or 0) > 1:
        assert made.memory_total <= device.memory_free, made.memory


def test_nothing_fits_into_no_memory_and_the_batch_is_one() -> None:
    chosen = planned(device=replace(GPU, memory_free=GIB))
    assert chosen.params.batch_size == 1
    assert "would not fit" in chosen.reasons["batch_size"]


def test_a_batch_that_was_asked_for_stays() -> None:
    assert planned(device=replace(GPU, memory_free=GIB), batch_size=8).params.batch_size == 8


# ---- packing ---------------------------------------------------------------------------------------------------------

SHORT = DataFacts(8000, valid_rows=0, tokens_mean=50, tokens_p95=90, tokens_max=100, trained_mean=20)
ALIKE = replace(SHORT, tokens_p95=50)


def test_packed_rows_are_counted_in_places() -> None:
    given: dict[str, Any] = {"data": SHORT, "max_length": 1000, "batch_size": 4, "epochs": 1}
    packed, loose = planned(**given, packing=True), planned(**given)
    assert loose.total_steps == 8000 / 4
    # 20 rows of 50 tokens fill a place of 1,000, but for the little that no row fits into
    assert 8000 * 50 / 1000 / 4 <= packed.total_steps <= 1.1 * 8000 * 50 / 1000 / 4
    assert packed.tokens_per_step == pytest.approx(4 * 1000, rel=0.1)
    assert packed.tokens_per_step * packed.total_steps == pytest.approx(8000 * 50, rel=0.02)
    assert loose.tokens_per_step == 4 * 50


def test_the_places_that_are_planned_are_about_those_that_packing_makes(tmp_path: Path) -> None:
    from engine.worker.token_rows import Packed, RowWriter
    from engine.worker.tokens import Tokens

    lengths = np.random.default_rng(0).integers(10, 200, 3000)
    writer = RowWriter(tmp_path / "rows.tokens")
    for length in lengths:
        writer.add(Tokens([1] * int(length), [1] * int(length)))
    places = len(Packed(writer.close(), 512, sees_all=False))
    data = replace(SHORT, rows=len(lengths), tokens_mean=float(lengths.mean()), tokens_max=int(lengths.max()))
    chosen = planned(data=data, max_length=512, batch_size=1, epochs=1, packing=True)
    assert chosen.total_steps == pytest.approx(places, rel=0.06)


def test_memory_is_that_of_whole_places_where_rows_are_joined() -> None:
    given: dict[str, Any] = {"data": ALIKE, "max_length": 1000, "batch_size": 4}
    packed, loose = worked_out(**given, packing=True), worked_out(**given)
    for what in ("Activations", "Logits"):
        assert item(packed, what) == pytest.approx(1000 / 50 * item(loose, what), rel=0.01)
    # so that fewer places fit where fewer rows would
    tight = replace(GPU, memory_free=30 * GIB)
    fitting = [planned(device=tight, data=SHORT, max_length=2000, packing=packing).params for packing in (True, False)]
    assert (fitting[0].batch_size or 0) < (fitting[1].batch_size or 0)


# ---- held-out files that lie in the folder ---------------------------------------------------------------------------


def folder_of(path: Path, **files: int) -> Path:
    path.mkdir()
    for name, count in files.items():
        rows = [{"question": f"{name} {number}?", "answer": "Yes."} for number in range(count)]
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_held_out_files_of_a_folder_are_counted_apart(tmp_path: Path) -> None:
    seen = engine.data.inspect(folder_of(tmp_path / "set", train=40, validation=5, test=7))
    assert (seen.rows, seen.held_out) == (40, 5)
    seen = engine.data.inspect(folder_of(tmp_path / "several", train=40, validation=5, dev=6))
    assert (seen.rows, seen.held_out) == (40, 11)
    seen = engine.data.inspect(folder_of(tmp_path / "none", train=40))
    assert (seen.rows, seen.held_out) == (40, None)
    assert engine.data.inspect(tmp_path / "set" / "train.jsonl").held_out is None


def test_many_held_out_rows_are_estimated_like_all_others(tmp_path: Path) -> None:
    seen = engine.data.inspect(folder_of(tmp_path / "set", train=300, validation=400), check_rows=100)
    assert seen.held_out == pytest.approx(400, rel=0.05)


# ---- the model's context ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainer", ["sft", "default"])
def test_rows_longer_than_the_model_reads_are_refused_with_a_way_out(trainer: str) -> None:
    assert planned(trainer=trainer, max_length=2048).params.max_length == 2048
    with pytest.raises(ModelError, match=r"starter reads at most 2048 tokens at once, .* is set to 2049") as caught:
        planned(trainer=trainer, max_length=2049)
    assert "2048 or less" in caught.value.hint


def test_a_model_that_names_no_limit_has_none() -> None:
    without = replace(MODEL, context=0)
    assert planned(without, max_length=100_000).params.max_length == 100_000
    assert planned(without).params.max_length == 1024  # and what is chosen follows the rows


# ---- time ------------------------------------------------------------------------------------------------------------


def finished(root: Path, name: str, rate: float, **values: Any) -> None:
    """A run that is done here and trained `rate` tokens a second."""
    run = RunDirectory.create({"trainer": "sft"}, name, root)
    asked = parse({"trainer": "sft", "data_path": "x.csv", **values}).model_dump(mode="json")
    write_json(run.plan_file, {"model_parameters": MODEL.parameters, "params": asked})
    run.update_status(state=State.DONE, device=GPU.name, metrics={"tokens_per_second": rate})


@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_the_same_training_takes_as_long_as_the_last_one_did(runs_root: Path, peft: bool) -> None:
    given: dict[str, Any] = {"peft": peft, "valid_fraction": 0.0, "sample_tokens": 0, "gradient_checkpointing": False}
    finished(runs_root, "last", 500.0, peft=peft)
    tokens = planned(**given).tokens_per_step * planned(**given).total_steps
    assert tokens == pytest.approx(3 * 5000 * 400, rel=0.01)
    assert worked_out(**given).seconds == pytest.approx(tokens / 500, rel=0.01)


def test_an_adapter_is_faster_by_what_it_leaves_out_whichever_was_measured(runs_root: Path) -> None:
    given: dict[str, Any] = {"valid_fraction": 0.0, "sample_tokens": 0, "gradient_checkpointing": False, "batch_size": 4}
    for peft in (False, True):
        finished(runs_root, f"last-{peft}", 500.0 if not peft else 750.0, peft=peft)
        full, adapter = worked_out(**given).seconds, worked_out(**given, peft=True).seconds
        assert full / adapter == pytest.approx(3 / 2, rel=0.01)
        assert full == pytest.approx(3 * 5000 * 400 / 500, rel=0.01)
