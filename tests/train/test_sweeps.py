"""Sweeps that train: the order of the table is that of what the runs themselves measured, and a bad learning rate is last."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import LLMTrainingParams, run_sweep
from engine.runs import launcher
from engine.runs.directory import RunDirectory
from tests.train.toys import all_events, jsonl, qa

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("runs_root")]

SHORT = {"precision": "fp32", "device": "cpu", "sample_tokens": 0, "valid_fraction": 0.25, "logging_steps": 1}


@pytest.fixture(autouse=True)
def within(work: Callable[[RunDirectory], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are trained by real workers inside this process, which saves the seconds of a cold start."""

    def start(job: str, args: dict[str, Any], secrets: Any, *, output: Any = None, channel: Any = None) -> Any:
        work(RunDirectory(Path(args["run"])))
        return SimpleNamespace(pid=os.getpid())

    monkeypatch.setattr(launcher, "_cold", start)
    monkeypatch.setattr(launcher, "start_detached", lambda *_, **__: None)  # whoever waits starts them


def kept(run: str) -> float:
    """The held-out loss of the weights that a run keeps, from its own events."""
    points = {
        e["step"]: e["values"]["eval_loss"] for e in all_events(RunDirectory.open(run), "metric") if "eval_loss" in e["values"]
    }
    best = min(points, key=lambda step: points[step])
    return points[best or max(points)]


def test_the_table_is_in_the_order_of_what_the_runs_measured() -> None:
    params = LLMTrainingParams(
        trainer="sft", model="starter", data_path="sample:neighbours", max_samples=32, max_steps=4, eval_steps=2, **SHORT
    )
    found = run_sweep(params, {"lr": [1e-5, 2e-3], "batch_size": [2, 4]}, name="town")
    table = found.table()
    assert table["state"].tolist() == ["done"] * 4
    assert sorted(zip(table["lr"], table["batch_size"], strict=True)) == [(1e-5, 2), (1e-5, 4), (2e-3, 2), (2e-3, 4)]
    for run, lr, rows in zip(table["run"], table["lr"], table["batch_size"], strict=True):
        given = RunDirectory.open(run).params()
        assert (given["lr"], given["batch_size"], given["max_steps"]) == (lr, rows, 4)
    assert table["eval_loss"].tolist() == pytest.approx([kept(run) for run in table["run"]])
    assert table["eval_loss"].is_monotonic_increasing
    assert table["lr"].tolist()[0] == 2e-3, "a rate that hardly moves the weights is not best"
    assert (found.best.model_path / "model.safetensors").is_file()


def test_a_learning_rate_at_which_it_diverges_is_last(tmp_path: Path, tiny_model: Path) -> None:
    data = jsonl(tmp_path / "answers.jsonl", qa(16))
    params = LLMTrainingParams(trainer="sft", model=str(tiny_model), data_path=data, batch_size=2, max_steps=6, **SHORT)
    table = run_sweep(params, {"lr": [0.99, 1e-3]}, name="rates").table()
    assert table["lr"].tolist() == [1e-3, 0.99]
    worse = table.iloc[1]
    assert worse["state"] == "failed" or worse["eval_loss"] > table.iloc[0]["eval_loss"]
