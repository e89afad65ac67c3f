"""Trainings inside the process of the tests: what the worker does, without the seconds that a cold start takes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory


@pytest.fixture
def new_run(runs_root: Path, tiny_model: Path) -> Callable[..., RunDirectory]:
    """Makes a run of the tiny model that is not started yet, with settings that keep it short."""

    def make(data: str | Path, name: str = "run", **values: Any) -> RunDirectory:
        short = {"model": str(tiny_model), "precision": "fp32", "device": "cpu", "sample_tokens": 0, "logging_steps": 1}
        params = LLMTrainingParams(**{"trainer": "sft", **short, "data_path": str(data), **values})
        return RunDirectory.create(params.model_dump(mode="json"), name, runs_root)

    return make


@pytest.fixture
def work() -> Iterator[Callable[[RunDirectory], int]]:
    """Does a run's work here and returns its exit code. A worker listens for SIGTERM, which the tests want back."""
    from engine.worker.train import main

    before = signal.getsignal(signal.SIGTERM)
    yield lambda run: main({"run": str(run.path)}, None)
    signal.signal(signal.SIGTERM, before)
