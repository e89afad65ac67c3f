"""What a line of the list says of a run: how good the model is that it has saved, and how long it worked in all its parts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine.runs import listing, queue
from engine.runs.directory import RunDirectory
from engine.runs.live import live
from engine.runs.status import State


def made(root: Path, keep_best: bool = True, **status: Any) -> RunDirectory:
    params = {"trainer": "sft", "model": "starter", "data_path": "x.csv", "keep_best": keep_best}
    run = RunDirectory.create(params, "one", root)
    run.update_status(**status)
    return run


@pytest.mark.parametrize(
    ("keep_best", "status", "shown"),
    [
        (True, {"best_step": 10, "best_value": 1.5, "kept_step": 10, "kept_value": 1.5}, 1.5),
        (True, {"best_step": 0, "best_value": 1.0, "kept_step": 10, "kept_value": 2.5}, 2.5),  # the start was better
        (True, {"best_step": 0, "best_value": 1.0}, None),
        (False, {"best_step": 10, "best_value": 1.5, "metrics": {"eval_loss": 3.0}}, 3.0),  # the last is saved
    ],
)
def test_the_score_is_that_of_the_weights_that_are_saved(
    runs_root: Path, keep_best: bool, status: dict[str, Any], shown: float | None
) -> None:
    run = made(runs_root, keep_best, state=State.DONE, **status)
    assert listing.summary(run).best_value == shown
    saved = live(run, 0, 0)["status"]["saved"]
    assert (saved and saved[1]) == shown, "the run's page says the same"
    assert (saved and saved[0]) == status.get("kept_step")


def test_the_time_before_a_resume_counts(runs_root: Path) -> None:
    now = time.time()
    run = made(runs_root, state=State.STOPPED, started=now - 1000, ended=now - 400)
    queue.resume(run)
    assert listing.summary(run).seconds == pytest.approx(600)
    run.update_status(state=State.STOPPED, started=now - 100, ended=now - 70)
    assert listing.summary(run).seconds == pytest.approx(630)
    queue.resume(run)
    run.update_status(state=State.STOPPED, started=now - 50, ended=now - 40)
    assert listing.summary(run).seconds == pytest.approx(640)
    assert live(run, 0, 0)["status"]["worked"] == pytest.approx(640)


def test_a_run_that_has_not_begun_has_no_time(runs_root: Path) -> None:
    assert listing.summary(made(runs_root)).seconds is None
