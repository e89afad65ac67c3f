"""Training on groups of the model's own answers to each prompt: TRL's GRPOTrainer within the run machinery.

Every answer is scored, and each is pushed up or down by how much better or worse than its group it is (Shao et al. 2024,
section 4.1). Generation, advantages and the loss are TRL's; prompts, rewards, the reference, measuring and stopping ours.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PrinterCallback
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from engine.errors import TrainingError
from engine.runs.status import State
from engine.worker.checkpointing import SafeCheckpoints
from engine.worker.flat import memory_bytes
from engine.worker.judge import Judge
from engine.worker.models import exact
from engine.worker.reporter import Reporter
from engine.worker.rows import Rows

# What of TRL's numbers is shown; a score of its own for each reward comes with them.
_SHOWN = {
    "train": re.compile(
        r"reward|reward_std|frac_reward_zero_std|rewards/[^/]+|completions/(mean_length|clipped_ratio)"
        r"|kl|entropy|clip_ratio/region_mean"
    ),
    "eval": re.compile(r"reward|reward_std|rewards/[^/]+|completions/mean_length|kl"),
}
# The loss of what is only measured says nothing: without a comparison within a group it is the drift alone.
_NOT_SHOWN = ("eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_num_tokens")
# Beside a checkpoint that was written in the middle of a round: the answers that are still to be learned from.
_BESIDE = "round.pt"


class _StopAsked(Exception):
    """Leaves a measurement that nobody waits for."""


class _EachPass(Sampler[int]):
    """TRL's order of prompts, drawn by the pass: a run that is resumed in its second pass has that pass's order."""

    def __init__(self, order: Any) -> None:
        self.order, self.passed = order, 0

    def __len__(self) -> int:
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        self.passed = epoch

    def __iter__(self) -> Iterator[int]:
        self.order.generator.manual_seed(self.order.seed + self.passed)
        yield from self.order


class GroupTrainer(SafeCheckpoints, GRPOTrainer):
    """GRPO on prompts that are tokenised already, scored by a `judge`; `reference` is None for an adapter's own base."""

    def __init__(self, *, rows: Rows, judge: Judge, kl: float, reference: Any, reporter: Reporter, **kwargs: Any) -> None:
        self.judge, self.reporter = judge, reporter
        self.rows = [*rows.train, *(rows.valid or ())]
        count = len(rows.train)
        valid = _numbers(count, len(self.rows)) if rows.valid else None
        super().__init__(reward_funcs=self.total, train_dataset=_numbers(0, count), eval_dataset=valid, **kwargs)
        self.remove_callback(PrinterCallback)  # the log has its own lines
        exact(self.model)  # TRL puts an adapter on a quantised base into bfloat16, which rounds and fp16's scaling cannot take
        self.beta = kl
        if kl and reference is not None:
            add_fused_lm_head(reference, temperature=self.temperature)
            self.ref_model = reference
        self._told_apart = False
        self._measured: list[int] = []  # answers of each batch of the measurement at work
        self._since, self._tokens = self.reporter.clock.seconds(), 0

    def total(self, prompts: Sequence[str], completions: Sequence[str], log_metric: Any, **_: Any) -> list[float | None]:
        """The judge's scores of the answers, each part of them logged by itself; `prompts` are numbers of rows."""
        self.reporter.beat()
        assert self.model is not None
        if not self.model.training:
            self._measured.append(len(prompts))
        asked = [self.rows[int(number)]["row"] for number in prompts]
        scores = self.judge(asked, [text.strip() for text in completions])
        for name, values in scores.parts.items():
            log_metric(f"rewards/{name}", sum(values) / len(values))
        return list(scores.total.tolist())

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers' Trainer.

        Raises:
            TrainingError: all answers of every group had the same reward, so that there was nothing to learn.
        """
        done = super().train(*args, **kwargs)
        if self.state.global_step and not self._told_apart and not self.reporter.run.stop_requested:
            raise TrainingError(
                "In every group all answers had the same reward, so there was nothing to learn from.",
                hint="Use a reward that gives part marks (length, every-keyword), more answers a prompt, or a higher "
                "temperature; or teach the model the task with examples first.",
                cause="same rewards",
            )
        return done

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The mean reward of answers to held-out prompts, drawn with the same dice at every measurement."""
        with self.reporter.clock.aside():
            return self._measure(*args, **kwargs)

    def _measure(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        before = self.reporter.status
        self._measured.clear()
        self.reporter.set(state=State.EVALUATING, phase="Measuring on held-out rows")
        try:
            with torch.random.fork_rng():
                torch.manual_seed(self.args.seed)
                metrics = super().evaluate(*args, **kwargs)
        except _StopAsked:  # half a measurement is none
            self._metrics["eval"].clear()
            metrics = {}
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.reporter.set(state=before.state, phase=before.phase)
        return metrics

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        self.reporter.beat()
        if self.reporter.run.stop_requested:
            raise _StopAsked
        return super().prediction_step(*args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        assert self.model is not None
        mode = "train" if self.model.training else "eval"
        found = self._metrics[mode]
        self._told_apart |= mode == "train" and self._tells_apart()
        for key in list(found):
            if not _SHOWN[mode].fullmatch(key):
                del found[key]
            elif mode == "eval":  # the mean of all answers: of the batches' means, those of a short last one would count more
                found[key] = [_mean(found[key], self._measured)]
        for key in _NOT_SHOWN:
            logs.pop(key, None)
        if "loss" in logs:
            logs.update(self._speed())
        super().log(logs, start_time)

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        return _EachPass(super()._get_train_sampler(dataset))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with self.reporter.clock.aside():
            super()._save_checkpoint(model, trial)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        settings: Any = self.args
        ended = self._step % settings.steps_per_generation == 0
        apart = self._told_apart or self._tells_apart()
        beside = {"step": self._step, "answers": None if ended else self._buffered_inputs, "told_apart": apart}
        torch.save(beside, os.path.join(output_dir, _BESIDE))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            beside = torch.load(os.path.join(checkpoint, _BESIDE), map_location=self.args.device, weights_only=True)
            self._step, self._buffered_inputs = beside["step"], beside["answers"]
            self._told_apart = beside["told_apart"]
            self._since, self._tokens = self.reporter.clock.seconds(), int(self.state.num_input_tokens_seen)

    def _tells_apart(self) -> bool:
        """Whether answers to one prompt had different rewards in a step since the last log."""
        return any(share < 1 for share in self._metrics["train"]["frac_reward_zero_std"])

    def _speed(self) -> dict[str, float]:
        """Tokens read and written a second since the last call, and in all."""
        now, tokens = self.reporter.clock.seconds(), int(self.state.num_input_tokens_seen)
        made = {"tokens_per_second": (tokens - self._tokens) / max(now - self._since, 1e-9), "tokens": float(tokens)}
        self._since, self._tokens = now, tokens
        return {**made, "memory_bytes": memory_bytes()}

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """The prompts' tokens as they are everywhere in this app; TRL would add a beginning that templates write already."""
        return [self.rows[int(number)]["input_ids"].tolist() for number in prompts], None, {}

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """A checkpoint needs no card; the finished model gets one of ours."""


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    """Weighted; values that are none (NaN) are left out, and NaN is the mean of nothing."""
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if not math.isnan(value)]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else math.nan


def _numbers(start: int, end: int) -> Dataset:
    """Prompts as TRL is given them: the numbers of rows, since a row's columns may have any name and any kind."""
    return Dataset.from_dict({"prompt": [str(number) for number in range(start, end)]})
