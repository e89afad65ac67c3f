"""Runs that train in two processes, and the one process that they must equal."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from engine.runs import checkpoints, events, launcher, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.train.toys import series

STEPS = 6
SETTINGS = {"epochs": 3, "max_steps": STEPS, "valid_fraction": 0.25, "eval_steps": 3, "save_steps": 3, "scheduler": "constant"}
WHOLE, HALVES = {"batch_size": 4, **SETTINGS}, {"batch_size": 2, "processes": 2, **SETTINGS}

Done = Callable[[RunDirectory], RunDirectory]


def trained(run: RunDirectory, wait_until: Callable[..., None]) -> RunDirectory:
    """The run, once processes of its own have trained it."""
    launcher.start_worker(run)
    wait_until(lambda: run.status().ended_state, 120)
    assert (run.status().state, run.status().reason) == (State.DONE, ""), run.log_file.read_text()
    return run


def assert_goes_on(one: RunDirectory, two: RunDirectory, done: Done) -> None:
    """Two, done as one is, is put back to its first checkpoint, resumed, and makes the same curves."""
    shutil.rmtree(two.checkpoints_dir / "checkpoint-6")
    shutil.rmtree(two.model_dir)
    assert checkpoints.look(two).newest == two.checkpoints_dir / "checkpoint-3"
    two.update_status(state=State.INTERRUPTED, resumable=True)
    queue.resume(two)
    done(two)
    assert two.status().step == STEPS
    for name in ("loss", "grad_norm", "eval_loss"):
        assert series(two, name) == pytest.approx(series(one, name), rel=1e-6), name


def assert_stop_keeps(run: RunDirectory, wait_until: Callable[..., None]) -> None:
    """A run that is stopped in its midst saves what it has learned, and can go on."""
    launcher.start_worker(run)
    wait_until(lambda: run.status().ended_state or run.status().step >= 3, 120)
    queue.stop(run)
    wait_until(lambda: run.status().ended_state, 60)
    assert (run.status().state, run.status().cause) == (State.STOPPED, "stopped"), run.log_file.read_text()
    assert (run.model_dir / "model.safetensors").is_file() and run.status().resumable


def samples(run: RunDirectory) -> list[tuple[int, str, str]]:
    told = events.read(run.events_file)[0]
    return [(one["step"], one["prompt"], one["answer"]) for one in told if one["type"] == "sample"]


def assert_same(one: RunDirectory, other: RunDirectory, near: float = 1e-4, apart: float = 2e-5) -> None:
    """Both learned the same, step by step, said the same to the sample prompts and ended with the same weights.

    `near` is relative and for the curves, `apart` the most by which a weight may differ.
    """
    from safetensors.torch import load_file

    assert one.status().total_steps == other.status().total_steps == STEPS
    for name in ("loss", "grad_norm", "eval_loss", "tokens"):
        assert series(other, name) == pytest.approx(series(one, name), rel=near, abs=1e-6), name
    assert samples(other) == samples(one) != []
    ours, theirs = (load_file(run.model_dir / "model.safetensors") for run in (one, other))
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        assert float((weights - theirs[name]).abs().max()) < apart, name
