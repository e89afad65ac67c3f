"""Gates: read strictly, judged by the weights that a run kept, told in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import ParamError
from engine.params import LLMTrainingParams
from engine.pipelines.gate import Gate, gate_problem, judge, read_gate
from engine.runs.directory import RunDirectory
from engine.runs.status import State


def finished(root: Path, points: dict[int, float | None], **status: Any) -> RunDirectory:
    """A run that measured `points` of eval_loss, step by step, and is done."""
    run = RunDirectory.create({"trainer": "sft", "data_path": "x.csv", "keep_best": True}, "run", root)
    for step, value in points.items():
        run.log_event("metric", step=step, values={"eval_loss": value, "loss": 9.0})
    run.update_status(state=State.DONE, **status)
    return run


@pytest.mark.parametrize(
    ("written", "gate"),
    [
        ("eval_loss < 2.0", Gate("eval_loss", "<", 2.0)),
        (" eval_rewards/accuracies>=.8 ", Gate("eval_rewards/accuracies", ">=", 0.8)),
        ("eval_reward > -1.5e-1", Gate("eval_reward", ">", -0.15)),
        ({"metric": "eval_loss", "at_most": 2}, Gate("eval_loss", "<=", 2.0)),
        ({"metric": "eval_loss", "at_least": 0.8}, Gate("eval_loss", ">=", 0.8)),
        ({"more_than": 0.5, "metric": "eval_loss"}, Gate("eval_loss", ">", 0.5)),
        ({"metric": "eval_loss", "less_than": 0.5}, Gate("eval_loss", "<", 0.5)),
    ],
)
def test_a_gate_is_read_and_written_back(written: Any, gate: Gate) -> None:
    assert read_gate(written) == gate
    assert read_gate(str(gate)) == gate


@pytest.mark.parametrize(
    "written",
    [
        "eval_loss",
        "eval_loss < two",
        "eval_loss < nan",
        "eval_loss < 1_000",
        "eval_loss == 2",
        "eval_loss < 2 or True",
        "__import__('os').getpid() < 2",
        "1 < eval_loss < 2",
        "",
        3,
        True,
        ["eval_loss < 2"],
        {},
        {"metric": "eval_loss"},
        {"at_least": 1},
        {"metric": "eval_loss", "at_least": 1, "at_most": 2},
        {"metric": "eval_loss", "at_least": "1"},
        {"metric": "eval_loss", "at_least": True},
        {"metric": "eval_loss", "at_least": 1, "why": "so"},
        {"metric": 1, "at_least": 1},
    ],
)
def test_anything_else_is_refused_with_an_example(written: Any) -> None:
    with pytest.raises(ParamError, match=r"gate: eval_loss < 2\.0"):
        read_gate(written)


@pytest.mark.parametrize("written", ["loss < 2", {"metric": "eval_loss", "at_least": float("inf")}])
def test_a_training_metric_and_an_endless_bound_are_refused(written: Any) -> None:
    with pytest.raises(ParamError, match=r"^gate: "):
        read_gate(written)


def test_only_what_the_trainer_measures_can_be_asked() -> None:
    scorer = LLMTrainingParams(trainer="reward", data_path="x.csv")
    assert gate_problem(read_gate("eval_rewards/accuracies >= 0.8"), scorer) == ""
    assert "Did you mean eval_rewards/accuracies?" in gate_problem(read_gate("eval_accuracies > 0"), scorer)
    assert "eval_loss" in gate_problem(read_gate("eval_banana > 0"), scorer), "it says what there is"
    learner = LLMTrainingParams(trainer="ppo", data_path="x.csv", rl_rewards=["no-repeat"])
    assert gate_problem(read_gate("eval_rewards/no-repeat > -1"), learner) == "", "a part of the score has a name of its own"


def test_a_gate_without_held_out_rows_is_refused() -> None:
    none = LLMTrainingParams(trainer="sft", data_path="x.csv", valid_fraction=0)
    assert "nothing is held out" in gate_problem(read_gate("eval_loss < 2"), none)
    own = LLMTrainingParams(trainer="sft", data_path="x.csv", valid_fraction=0, valid_path="y.csv")
    assert gate_problem(read_gate("eval_loss < 2"), own) == ""


def test_the_best_checkpoint_is_judged_where_it_is_kept(runs_root: Path) -> None:
    run = finished(runs_root, {0: 5.0, 10: 1.5, 20: 3.0}, best_step=10, best_value=1.5, step=20)
    verdict = judge(read_gate("eval_loss < 2.0"), run)
    assert (verdict.met, verdict.value, verdict.step, verdict.best) == (True, 1.5, 10, True)
    assert verdict.sentence("answers") == (
        "Stage answers reached eval_loss 1.5; less than 2 was asked. That is its best checkpoint, which it kept (step 10)."
    )


def test_the_best_of_what_was_trained_is_judged_where_the_start_was_better(runs_root: Path) -> None:
    run = finished(runs_root, {0: 1.0, 10: 1.5, 20: 3.0}, best_step=0, best_value=1.0, kept_step=10, kept_value=1.5, step=20)
    verdict = judge(read_gate("eval_loss < 2.0"), run)
    assert (verdict.met, verdict.value, verdict.step, verdict.best) == (True, 1.5, 10, True)


@pytest.mark.parametrize("keep_best", [True, False])
def test_the_end_is_judged_where_the_end_is_kept(runs_root: Path, keep_best: bool) -> None:
    best_step = 0 if keep_best else 10  # as versions wrote that kept nothing where the start was best
    run = RunDirectory.create({"keep_best": keep_best}, "run", runs_root)
    for step, value in {0: 1.0, 10: 1.5, 20: 3.0}.items():
        run.log_event("metric", step=step, values={"eval_loss": value})
    run.update_status(state=State.DONE, best_step=best_step)
    verdict = judge(read_gate("eval_loss < 2.0"), run)
    assert (verdict.met, verdict.value, verdict.step, verdict.best) == (False, 3.0, 20, False)


def test_what_a_resumed_run_threw_away_is_not_judged(runs_root: Path) -> None:
    run = finished(runs_root, {10: 2.0, 20: 1.0, 30: 0.5}, step=20)
    run.log_event("resumed", step=10)
    run.log_event("metric", step=20, values={"eval_loss": 1.8})
    assert judge(read_gate("eval_loss < 1.5"), run).value == 1.8


@pytest.mark.parametrize("points", [{}, {10: None}])
def test_no_measurement_meets_no_gate(runs_root: Path, points: dict[int, float | None]) -> None:
    verdict = judge(read_gate("eval_loss < 2.0"), finished(runs_root, points))
    assert not verdict.met
    assert verdict.sentence("answers") == "Stage answers measured no eval_loss on held-out rows; less than 2 was asked."


@pytest.mark.parametrize(("value", "shown"), [(0.62, "0.62"), (0.79999, "0.79999"), (0.7999999999, "0.7999999999")])
def test_a_measurement_is_never_rounded_to_what_was_asked(runs_root: Path, value: float, shown: str) -> None:
    verdict = judge(read_gate("eval_loss >= 0.8"), finished(runs_root, {1: value}))
    assert verdict.sentence("judge").startswith(f"Stage judge reached eval_loss {shown}; at least 0.8 was asked.")
