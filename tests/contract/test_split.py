"""Every trainer that says it can split its model among processes: two with a half each learn what one learns with the whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.registry import specs
from engine.runs import launcher, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.spec import TrainerSpec
from tests.contract.conftest import numbered
from tests.train.toys import series

pytestmark = pytest.mark.slow

# Of each way of asking the model one trainer at every change, the others on request.
ALWAYS = {"sft", "dpo"}
SPLITS = [
    pytest.param(spec, id=spec.id, marks=[] if spec.id in ALWAYS else [pytest.mark.long])
    for spec in specs().values()
    if spec.splits
]
SETTINGS = {"epochs": 3, "max_steps": 6, "valid_fraction": 0.25, "eval_steps": 3, "save_steps": 3, "scheduler": "constant"}
SPLIT = {"batch_size": 2, "processes": 2, "fsdp": True, **SETTINGS}
NEAR = {"rel": 1e-4, "abs": 1e-6}


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
def done(warm: None, wait_until: Callable[..., None]) -> Callable[[RunDirectory], RunDirectory]:
    """Trains a run in processes of its own."""

    def train(run: RunDirectory) -> RunDirectory:
        launcher.start_worker(run)
        wait_until(lambda: run.status().ended_state, 120)
        assert (run.status().state, run.status().reason) == (State.DONE, ""), run.log_file.read_text()
        return run

    return train


def samples(run: RunDirectory) -> list[tuple[int, str, str]]:
    from engine.runs import events

    told = events.read(run.events_file)[0]
    return [(one["step"], one["prompt"], one["answer"]) for one in told if one["type"] == "sample"]


def same(one: RunDirectory, other: RunDirectory) -> None:
    """Both learned the same, step by step, said the same to the sample prompts and ended with the same weights."""
    from safetensors.torch import load_file

    assert one.status().total_steps == other.status().total_steps == 6
    for name in ("loss", "grad_norm", "eval_loss", "tokens"):
        assert series(other, name) == pytest.approx(series(one, name), **NEAR), name
    assert samples(other) == samples(one) != []
    ours, theirs = (load_file(run.model_dir / "model.safetensors") for run in (one, other))
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        assert float((weights - theirs[name]).abs().max()) < 2e-5, name


@pytest.mark.parametrize("spec", SPLITS)
def test_two_halves_learn_what_one_whole_learns(spec: TrainerSpec, trainings: Any, done: Any) -> None:
    rows = numbered(spec, 12)
    one = trainings.new(spec, f"whole-of-{spec.id}", rows, batch_size=4, **SETTINGS)
    assert trainings.work(one) == 0, one.status()
    two = trainings.new(spec, f"halves-of-{spec.id}", rows, **SPLIT)
    same(one, done(two))


def test_embeddings_that_are_no_head_are_split_as_well(trainings: Any, done: Any, untied_model: Path) -> None:
    spec = specs()["sft"]
    rows = numbered(spec, 12)
    one = trainings.new(spec, "whole-and-untied", rows, model=str(untied_model), batch_size=4, **SETTINGS)
    assert trainings.work(one) == 0, one.status()
    same(one, done(trainings.new(spec, "halves-and-untied", rows, model=str(untied_model), **SPLIT)))


def test_a_split_run_goes_on_from_its_checkpoint_with_the_same_curve(trainings: Any, done: Any) -> None:
    spec = specs()["sft"]
    rows = numbered(spec, 12)
    one = done(trainings.new(spec, "halves-in-one-go", rows, **SPLIT))
    two = trainings.new(spec, "halves-in-two-goes", rows, **SPLIT)
    done(two)
    # as if it had been killed after its first checkpoint
    shutil.rmtree(two.checkpoints_dir / "checkpoint-6")
    shutil.rmtree(two.model_dir)
    two.update_status(state=State.INTERRUPTED, resumable=True)
    queue.resume(two)
    done(two)
    assert two.status().step == 6
    for name in ("loss", "grad_norm", "eval_loss"):
        assert series(two, name) == pytest.approx(series(one, name), rel=1e-6), name


def test_a_split_run_that_is_stopped_keeps_what_it_learned(trainings: Any, warm: None, wait_until: Any) -> None:
    run = trainings.new(specs()["sft"], "halves-stopped", numbered(specs()["sft"], 12), **{**SPLIT, "max_steps": 100_000})
    launcher.start_worker(run)
    wait_until(lambda: run.status().ended_state or run.status().step >= 3, 120)
    queue.stop(run)
    wait_until(lambda: run.status().ended_state, 60)
    assert (run.status().state, run.status().cause) == (State.STOPPED, "stopped"), run.log_file.read_text()
    assert (run.model_dir / "model.safetensors").is_file() and run.status().resumable
