"""What is the best measurement and when to stop early, also for a run that goes on from a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from engine.params import LLMTrainingParams
from engine.pipelines.gate import judge, read_gate
from engine.runs.directory import RunDirectory
from engine.runs.status import kept_measurement
from engine.worker.answers import SampleAnswers
from engine.worker.best import BestWeights
from engine.worker.callbacks import RunCallback
from engine.worker.reporter import Reporter
from tests.train.toys import all_events, jsonl, qa, series

EACH = 10


class Training:
    """One training as the callback sees it: measurements at every tenth step, in a run directory of its own."""

    def __init__(self, folder: Path, **values: Any) -> None:
        params = LLMTrainingParams(trainer="sft", data_path="x.csv", **values)
        self.run = RunDirectory(folder / "run")
        if not self.run.path.is_dir():
            RunDirectory.create(params.model_dump(mode="json"), "run", folder)
            self.run.lock_file.touch()
        self.reporter = Reporter(self.run)
        self.best = BestWeights(self.run.path / "best.safetensors")
        self.callback = RunCallback(params, self.reporter, SampleAnswers([], [], None, 0), self.best)
        self.args = TrainingArguments(output_dir=str(folder), eval_strategy="steps", use_cpu=True, report_to="none")
        self.state, self.model = TrainerState(max_steps=200), torch.nn.Linear(1, 1)

    def begin(self, at: int = 0, *history: float) -> Training:
        """Begin, or go on at a step before which these held-out losses were measured, the last of them at that step."""
        self.state.global_step = at
        first = at - EACH * (len(history) - 1)
        self.state.log_history = [{"loss": 9.0, "step": 1}]
        self.state.log_history += [{"eval_loss": loss, "step": first + EACH * n} for n, loss in enumerate(history)]
        self.callback.on_train_begin(self.args, self.state, TrainerControl(), model=self.model)
        return self

    def measure(self, loss: float | None, step: int) -> bool:
        """One measurement; returns whether training is to end."""
        self.state.global_step = step
        metrics = {} if loss is None else {"eval_loss": loss}
        self.state.log_history.append({**metrics, "step": step})
        control = TrainerControl()
        self.callback.on_evaluate(self.args, self.state, control, metrics=metrics, model=self.model)
        return control.should_training_stop

    @property
    def seen(self) -> tuple[int | None, float | None]:
        status = self.run.written_status()
        return status.best_step, status.best_value


def test_the_lowest_loss_is_the_best_and_patience_counts_from_it(tmp_path: Path) -> None:
    training = Training(tmp_path, early_stopping_patience=2).begin()
    ended = [training.measure(loss, step * EACH) for step, loss in enumerate([3.0, 2.0, 2.5, 1.9, 2.1, 1.95])]
    assert ended == [False] * 5 + [True]
    assert training.callback.stopped_early
    assert training.seen == (30, 1.9)
    assert [event["step"] for event in all_events(training.run, "best")] == [0, 10, 30]
    assert training.best.file.is_file()


@pytest.mark.parametrize("none", [math.nan, math.inf, None], ids=["nan", "infinity", "not measured"])
def test_a_loss_that_is_no_number_is_never_the_best(tmp_path: Path, none: float | None) -> None:
    training = Training(tmp_path).begin()
    training.measure(none, 0)
    assert training.seen == (None, None)
    training.measure(none, 10)
    assert training.seen == (None, None)
    assert not training.best.file.exists()
    training.measure(2.0, 20)
    assert training.seen == (20, 2.0)
    training.measure(none, 30)
    assert training.seen == (20, 2.0)
    training.measure(1.0, 40)
    assert training.seen == (40, 1.0)
    assert [event["step"] for event in all_events(training.run, "best")] == [20, 40]


@pytest.mark.parametrize(("patience", "further"), [(3, 1), (4, 2), (7, 5)])
def test_a_run_that_goes_on_has_the_patience_that_was_left(tmp_path: Path, patience: int, further: int) -> None:
    first = Training(tmp_path, early_stopping_patience=patience)
    first.reporter.set(best_step=20, best_value=2.0)
    training = Training(tmp_path, early_stopping_patience=patience).begin(40, 4.0, 3.0, 2.0, 2.5, 2.6)
    assert [event["step"] for event in all_events(training.run, "resumed")] == [40]
    ended = [training.measure(2.7, 40 + EACH * n) for n in range(1, further + 1)]
    assert ended == [False] * (further - 1) + [True]
    assert training.seen == (20, 2.0)  # which is still the best, though it was measured before


def test_a_better_measurement_after_going_on_is_the_best(tmp_path: Path) -> None:
    Training(tmp_path).reporter.set(best_step=20, best_value=2.0)
    training = Training(tmp_path, early_stopping_patience=3).begin(40, 4.0, 3.0, 2.0, 2.5, 2.6)
    assert not training.measure(1.5, 50)
    assert training.seen == (50, 1.5)
    assert [training.measure(1.6, step) for step in (60, 70, 80)] == [False, False, True]


def test_the_best_of_a_step_that_was_undone_is_forgotten(tmp_path: Path) -> None:
    first = Training(tmp_path).begin()
    for step, loss in ((20, 2.0), (40, 1.9), (60, 1.0)):
        first.measure(loss, step)
    assert first.seen == (60, 1.0)
    assert first.best.file.is_file()

    # it was killed, and its last checkpoint is that of step 40
    training = Training(tmp_path).begin(40, 2.0, 1.9)
    assert training.seen == (None, None)
    assert not training.best.file.exists()  # the weights are those of step 60, which this run may never have
    training.measure(1.7, 50)
    assert training.seen == (50, 1.7)
    assert training.best.file.is_file()


def test_the_best_of_the_checkpoint_itself_stays(tmp_path: Path) -> None:
    first = Training(tmp_path).begin()
    first.measure(2.0, 20)
    first.measure(1.9, 40)
    training = Training(tmp_path).begin(40, 2.0, 1.9)
    assert training.seen == (40, 1.9)
    assert training.best.file.is_file()


def test_the_step_at_which_a_run_goes_on_is_not_judged_twice(tmp_path: Path) -> None:
    """It is measured once more, since every training begins so; the same number again is neither gain nor loss."""
    Training(tmp_path).reporter.set(best_step=20, best_value=2.0)
    training = Training(tmp_path, early_stopping_patience=2).begin(30, 3.0, 2.0, 2.5)
    assert not training.measure(2.5, 30)
    assert not all_events(training.run, "best")
    assert training.callback.last_measured == 30
    assert training.measure(2.5, 40)  # the second without a gain, not the third
    assert training.seen == (20, 2.0)


def test_a_run_that_begins_is_judged_at_its_first_step(tmp_path: Path) -> None:
    training = Training(tmp_path).begin()
    training.measure(3.0, 0)
    assert training.seen == (0, 3.0)
    assert not training.best.file.exists()  # those are the weights that it began with


def test_the_best_of_what_was_trained_is_kept_though_the_start_was_better(tmp_path: Path) -> None:
    training = Training(tmp_path).begin()
    for step, loss, kept in ((0, 3.0, None), (10, 4.0, 10), (20, 5.0, 10), (30, 3.5, 30), (40, 6.0, 30)):
        training.measure(loss, step)
        assert training.best.step == kept
    assert training.seen == (0, 3.0)
    resumed = Training(tmp_path).begin(40, 4.0, 5.0, 3.5, 6.0)
    assert resumed.callback.kept == 3.5
    assert kept_measurement(resumed.run.status()) == (30, 3.5)
    resumed.measure(3.6, 50)
    assert resumed.best.step == 30
    resumed.measure(3.4, 60)
    assert resumed.best.step == 60


def test_a_training_that_made_the_model_worse_says_so_and_saves_the_least_bad(new_run: Any, work: Any, tmp_path: Path) -> None:
    rough = {"lr": 0.9, "optimizer": "sgd", "max_grad_norm": 0.0, "scheduler": "constant", "max_steps": 4, "eval_steps": 1}
    run = new_run(jsonl(tmp_path / "rows.jsonl", qa(24)), "worse", valid_fraction=0.25, model="starter", **rough)
    assert work(run) == 0, run.status()
    measured = series(run, "eval_loss")
    trained = {step: loss for step, loss in measured.items() if step}
    assert measured[0] < min(trained.values()), "the test needs a training that makes it worse"
    least = min(trained, key=lambda step: trained[step])
    said = [event["message"] for event in all_events(run, "warning")]
    assert any(f"The model as it was at step {least} is saved." in one and "before the training" in one for one in said), said
    assert least != max(trained), "the test needs an end that is worse still"
    verdict = judge(read_gate("eval_loss < 2.0"), run)
    assert (verdict.step, verdict.value, verdict.best) == (least, pytest.approx(trained[least]), True)
    assert kept_measurement(run.status()) == (least, pytest.approx(trained[least])), "what a sweep ranks by"


@pytest.mark.parametrize("limit", [3, 4])
def test_a_run_that_used_all_its_steps_did_not_stop_early(limit: int, new_run: Any, work: Any, tmp_path: Path) -> None:
    rough = {"lr": 0.9, "optimizer": "sgd", "max_grad_norm": 0.0, "scheduler": "constant", "eval_steps": 1}
    given = {"valid_fraction": 0.25, "model": "starter", "early_stopping_patience": 3, "max_steps": limit}
    run = new_run(jsonl(tmp_path / "rows.jsonl", qa(24)), "patient", **rough, **given)
    assert work(run) == 0, run.status()
    status = run.status()
    assert (status.step, status.best_step) == (3, 0), "the test needs a patience that runs out at step 3"
    assert ("Stopped early at step 3" in status.reason) is (limit > 3)


def test_patience_without_anything_to_measure_with_is_told(new_run: Any, work: Any, tmp_path: Path) -> None:
    run = new_run(jsonl(tmp_path / "rows.jsonl", qa(8)), valid_fraction=0, early_stopping_patience=1, max_steps=1)
    assert work(run) == 0
    assert any("cannot stop early" in event["message"] for event in all_events(run, "warning"))
    assert "Nothing is held out" in run.plan()["reasons"]["eval_steps"]


def test_a_step_that_was_measured_twice_counts_once(tmp_path: Path) -> None:
    """A run that is resumed measures the step at which it goes on a second time, and a second resume finds both."""
    training = Training(tmp_path, early_stopping_patience=3)
    training.begin(30, 2.0, 1.0, 1.1, 1.2)
    training.state.log_history.append({"eval_loss": 1.2, "step": 30})
    training.callback.on_train_begin(training.args, training.state, TrainerControl(), model=training.model)
    assert training.callback.without_gain == 2


def test_what_was_no_number_before_the_checkpoint_is_passed_over(tmp_path: Path) -> None:
    assert Training(tmp_path).begin(20, math.nan, 2.0, 1.0).callback.without_gain == 0


def test_a_step_first_measured_when_the_run_goes_on_is_judged(tmp_path: Path) -> None:
    """A stop does not measure, so that whoever waits need not; the resumed run makes up for it."""
    training = Training(tmp_path)
    training.state.global_step = 7
    training.state.log_history = [{"eval_loss": 2.0, "step": 0}]
    training.reporter.set(best_value=2.0, best_step=0)
    training.callback.on_train_begin(training.args, training.state, TrainerControl(), model=training.model)
    training.measure(1.5, 7)
    assert training.seen == (7, 1.5)
    assert training.best.file.is_file()
