"""Every trainer that says it can split its model among processes: two with a half each learn what one learns with the whole."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.registry import specs
from engine.runs import launcher, queue
from engine.runs.status import State
from engine.spec import TrainerSpec
from tests.contract.conftest import numbered
from tests.contract.in_two import HALVES, STEPS, WHOLE, Done, assert_goes_on, assert_same, assert_stop_keeps, trained
from tests.train.toys import series

pytestmark = pytest.mark.slow

# Of each way of asking the model one trainer at every change, the others on request.
ALWAYS = {"sft", "reward"}
SPLITS = [
    pytest.param(spec, id=spec.id, marks=[] if spec.id in ALWAYS else [pytest.mark.long])
    for spec in specs().values()
    if spec.in_parallel
]
SPLIT = {"fsdp": True, **HALVES}


@pytest.fixture(scope="module")
def untied_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a head of its own."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("untied") / "model"
    shutil.copytree(tiny_model, folder)
    config = LlamaConfig.from_pretrained(folder)
    config.tie_word_embeddings = False
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def done(warm: None, wait_until: Callable[..., None]) -> Done:
    return lambda run: trained(run, wait_until)


@pytest.mark.parametrize("spec", SPLITS)
def test_two_halves_learn_what_one_whole_learns(spec: TrainerSpec, trainings: Any, done: Any) -> None:
    rows = numbered(spec, 12)
    one = trainings.new(spec, f"whole-of-{spec.id}", rows, **WHOLE)
    assert trainings.work(one) == 0, one.status()
    two = trainings.new(spec, f"halves-of-{spec.id}", rows, **SPLIT)
    assert_same(one, done(two))


def test_embeddings_that_are_no_head_are_split_as_well(trainings: Any, done: Any, untied_model: Path) -> None:
    spec = specs()["sft"]
    rows = numbered(spec, 12)
    one = trainings.new(spec, "whole-and-untied", rows, model=str(untied_model), **WHOLE)
    assert trainings.work(one) == 0, one.status()
    assert_same(one, done(trainings.new(spec, "halves-and-untied", rows, model=str(untied_model), **SPLIT)))


def test_a_split_run_goes_on_from_its_checkpoint_with_the_same_curve(trainings: Any, done: Any) -> None:
    spec = specs()["sft"]
    rows = numbered(spec, 12)
    one = done(trainings.new(spec, "halves-in-one-go", rows, **SPLIT))
    two = trainings.new(spec, "halves-in-two-goes", rows, **SPLIT)
    done(two)
    assert_goes_on(one, two, done)


def test_a_split_run_that_is_stopped_keeps_what_it_learned(trainings: Any, warm: None, wait_until: Any) -> None:
    run = trainings.new(specs()["sft"], "halves-stopped", numbered(specs()["sft"], 12), **{**SPLIT, "max_steps": 100_000})
    assert_stop_keeps(run, wait_until)


def test_in_half_precision_a_split_model_begins_as_its_reference(trainings: Any, done: Done) -> None:
    spec = specs()["dpo"]
    run = done(trainings.new(spec, "halves-in-half-precision", numbered(spec, 12), **{**SPLIT, "precision": "bf16"}))
    loss = series(run, "loss")
    assert loss[1] == pytest.approx(math.log(2), abs=1e-6) and loss[STEPS] < loss[1]


@pytest.mark.long
def test_a_split_teacher_that_is_stopped_while_it_answers_goes_on_where_it_was(
    trainings: Any, warm: None, wait_until: Any, done: Done
) -> None:
    spec = specs()["distillation"]
    slow = {"distill_max_teacher_length": 200, "teacher_temperature": 1.0}
    run = trainings.new(spec, "teacher-stopped", numbered(spec, 200), **{**SPLIT, **slow, "max_steps": 1, "eval_steps": 1})
    file = run.data_dir / "train.answers.jsonl"
    launcher.start_worker(run)
    wait_until(lambda: run.status().ended_state or file.is_file(), 120)
    queue.stop(run)
    wait_until(lambda: run.status().ended_state, 60)
    told = run.log_file.read_text()
    assert (run.status().state, run.status().cause) == (State.STOPPED, "stopped"), told
    assert "Traceback" not in told
    kept = file.read_text()
    assert 0 < kept.count("\n") < run.data()["train_rows"]
    queue.resume(run)
    done(run)
    assert file.read_text().startswith(kept) and file.read_text().count("\n") == run.data()["train_rows"]
