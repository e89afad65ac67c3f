"""How many steps a run has, in the plan and in truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.train.toys import jsonl, qa, series

pytestmark = pytest.mark.slow

# Ten rows in passes of five steps, or of three where two passes make one step.
GIVEN: dict[str, tuple[dict[str, Any], int]] = {
    "more than the passes give": ({"epochs": 2, "max_steps": 50}, 10),
    "as many as the passes give": ({"epochs": 2, "max_steps": 10}, 10),
    "fewer than the passes give": ({"epochs": 2, "max_steps": 3}, 3),
    "no limit": ({"epochs": 2}, 10),
    "a pass that ends half-way": ({"epochs": 1.5, "max_steps": 50}, 8),
    "rows that do not fill the last step": ({"epochs": 2, "max_steps": 50, "gradient_accumulation": 2}, 6),
}


@pytest.mark.parametrize(("given", "steps"), GIVEN.values(), ids=list(GIVEN))
def test_a_limit_shortens_a_run_and_never_prolongs_it(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path, given: dict[str, Any], steps: int
) -> None:
    data = jsonl(tmp_path / "qa.jsonl", qa(10))
    run = new_run(data, valid_fraction=0.0, batch_size=2, lr=1e-3, warmup_ratio=0.0, scheduler="linear", **given)
    assert work(run) == 0
    status = run.status()
    assert (status.state, status.step, status.total_steps) == (State.DONE, steps, steps)
    assert run.plan()["total_steps"] == steps
    assert list(series(run, "loss")) == list(range(1, steps + 1))
    # the learning rate falls to its end within the steps that there are
    rates = series(run, "learning_rate")
    assert rates[1] == pytest.approx(1e-3)
    assert rates[steps] == pytest.approx(1e-3 / steps, rel=1e-3)


def test_held_out_files_of_a_folder_are_planned_as_they_are(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    jsonl(tmp_path / "set" / "train.jsonl", qa(30))
    jsonl(tmp_path / "set" / "validation.jsonl", qa(4, "It opens at {} sharp."))
    run = new_run(tmp_path / "set", max_steps=2, batch_size=4)
    assert work(run) == 0
    plan = run.plan()
    assert (plan["train_rows"], plan["valid_rows"]) == (30, 4)
    assert "4 rows of a file of their own" in plan["reasons"]["valid_fraction"]
    assert series(run, "eval_loss")


@pytest.mark.parametrize("packing", [True, False])
def test_a_run_of_few_steps_begins_at_once_however_long_its_longest_row_is(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path, packing: bool
) -> None:
    """A warm-up that was meant for many steps would make the only one a step of size zero."""
    long = {"prompt": "Tell me everything. " * 400, "completion": "That is all. " * 400}
    rows = [*qa(10), *([long] if packing else [long] * 50)]
    given = {"max_length": 64, "epochs": 1, "valid_fraction": 0, "packing": packing, "warmup_ratio": 0.05, "lr": 0.01}
    run = new_run(jsonl(tmp_path / "rows.jsonl", rows), **given, batch_size=16)
    assert work(run) == 0, run.status()
    assert run.status().step == run.status().total_steps
    if packing:
        assert run.plan()["total_steps"] == run.status().total_steps
