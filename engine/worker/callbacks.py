"""Connects transformers' Trainer to the run directory: metrics, progress, samples, best weights, stop requests."""

from __future__ import annotations

import math
from typing import Any, Protocol

from transformers import TrainerCallback

from engine.errors import TrainingError
from engine.params import LLMTrainingParams
from engine.registry import spec_for
from engine.runs.status import State
from engine.worker.best import BestWeights
from engine.worker.reporter import Reporter
from engine.worker.splitting import is_split

# Summaries of the whole run that transformers logs at its end; they are no points of a curve.
_NOT_POINTS = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos"}


class TrainedAlready(Exception):
    """The checkpoint is that of the last step: the run was cut off after it, while it was saving."""


class Answers(Protocol):
    """What is asked again and again while a model trains."""

    def answer(self, model: Any) -> list[tuple[str, str]]:
        """(what was asked, what came) pairs."""
        ...


class RunCallback(TrainerCallback):
    """Writes what happens, looks for a stop request after every step, and ends a run whose loss is no number."""

    def __init__(self, params: LLMTrainingParams, reporter: Reporter, answers: Answers, best: BestWeights) -> None:
        self.params, self.reporter, self.answers, self.best = params, reporter, answers, best
        self.spec = spec_for(params.trainer)
        self.logged_points = 0
        self.without_gain = 0
        self.kept: float | None = None  # what was measured of the weights that are kept
        self.stopped = False
        self.stopped_early = False
        self.resumed_at = 0
        self.measured_before: set[int] = set()
        self.last_measured = -1

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.reporter.phase(State.TRAINING, "Training")
        self.reporter.set(total_steps=state.max_steps, step=state.global_step)
        self.resumed_at = state.global_step
        begun_before = bool(state.global_step) or self.reporter.has_points
        if begun_before:
            self.reporter.run.log_event("resumed", step=state.global_step)
            self._remember(state)
            # every training begins with a measurement: one that the checkpoint has already would be a second point
            if state.global_step in self.measured_before:
                args.eval_on_start, self.last_measured = False, state.global_step
        if state.global_step >= state.max_steps:
            raise TrainedAlready  # transformers looks after each step whether it was the last: it would train one more
        if not state.global_step and args.eval_strategy == "no":
            self._sample(0, model)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        values = {k: float(v) for k, v in (logs or {}).items() if k not in _NOT_POINTS and isinstance(v, (int, float))}
        if not values.keys() - {"epoch"}:
            return
        self.reporter.metrics(state.global_step, values)
        if "loss" in values:
            self.logged_points += 1
        # under fp16 a gradient that overflows is usual: that step is left out and the scale lowered
        for key in ("loss", "grad_norm") if self.params.precision != "fp16" else ("loss",):
            if key in values and not math.isfinite(values[key]):
                raise TrainingError(
                    f"The {key.replace('_', ' ')} is no longer a number at step {state.global_step}.",
                    hint=f"The learning rate ({args.learning_rate:g}) is most likely too high: try a tenth of it.",
                    cause="nan",
                )

    def _remember(self, state: Any) -> None:
        """Take up where the checkpoint was: what was measured after it is undone, as are the weights it was best with."""
        # by step, since a step at which a run was resumed before was measured twice; what is no number judges nothing
        key = self.spec.judged_by
        by_step = {entry["step"]: entry[key] for entry in state.log_history if key in entry}
        self.measured_before = set(by_step)
        measured = [loss for loss in by_step.values() if math.isfinite(loss)]
        if measured:
            best = (max if self.spec.higher_is_better else min)(measured)
            self.without_gain = len(measured) - 1 - measured.index(best)
        kept = self.best.step
        if kept is not None and kept > state.global_step:
            self.best.forget()
        self.kept = by_step.get(kept)
        if (self.reporter.status.best_step or 0) > state.global_step or not state.global_step:
            self.reporter.set(best_step=None, best_value=None)
            self.best.forget()
            self.without_gain, self.kept = 0, None
        if self.kept is None:
            self.reporter.set(kept_step=None, kept_value=None)

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.reporter.beat()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> Any:
        stop = self.reporter.stop_asked()
        if (
            not stop
            and args.eval_strategy == "no"
            and (state.global_step % args.eval_steps == 0 or state.global_step >= state.max_steps)
        ):
            self._sample(state.global_step, model)
        self.reporter.beat()
        if stop:
            # what was learned since the last point is told, as the run that goes on counts from here
            self.stopped = control.should_training_stop = control.should_save = control.should_log = True
        elif state.global_step % max(1, args.logging_steps) and state.global_step % 10 == 0:
            self.reporter.set(step=state.global_step)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.reporter.run.log_event("saved", step=state.global_step, path=f"checkpoints/checkpoint-{state.global_step}")
        self.reporter.set(resumable=True, checkpoints_removed=False)

    def on_evaluate(
        self,
        args: Any,
        state: Any,
        control: Any,
        metrics: dict[str, float] | None = None,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        self.last_measured = state.global_step
        if state.global_step in self.measured_before:
            return  # judged before the run was interrupted
        self._sample(state.global_step, model)
        measured = (metrics or {}).get(self.spec.judged_by, math.nan)
        if math.isfinite(measured):
            self._judge(measured, state, control, model)

    def _sample(self, step: int, model: Any) -> None:
        if self.reporter.ranks.first or is_split(model):
            with self.reporter.clock.aside():
                for prompt, answer in self.answers.answer(model):
                    self.reporter.sample(step, prompt, answer)

    def _judge(self, measured: float, state: Any, control: Any, model: Any) -> None:
        """Keep the best weights; stop when the held-out metric has not improved for long enough."""
        best = self.reporter.status.best_value
        if best is None or self.spec.better(measured, best):
            self.without_gain = 0
            self.reporter.set(best_value=measured, best_step=state.global_step)
            self.reporter.run.log_event("best", step=state.global_step, value=measured)
        elif state.global_step:
            self.without_gain += 1
            patience = self.params.early_stopping_patience
            if patience and self.without_gain >= patience:
                self.stopped_early = control.should_training_stop = True
        if self.params.keep_best and state.global_step and (self.kept is None or self.spec.better(measured, self.kept)):
            self._keep(measured, state.global_step, model)

    def _keep(self, measured: float, step: int, model: Any) -> None:
        """Keep the best of what was trained, which need not be better than what it began with."""
        self.kept, first = measured, self.reporter.ranks.first
        if first or is_split(model):
            self.best.keep(model, step, write=first)
        self.reporter.set(kept_step=step, kept_value=measured)
