"""Next-token training without waste: no padding, no mask, and the language-model head only where a token is trained.

A batch is one row of T tokens in which documents lie end to end, with positions that begin again at each of them.
The model's own forward is called with `logits_to_keep`, so the head (often half of a small model's work) runs only on
the positions that predict a trained token, whatever the architecture. The loss is the sum of their cross entropies
divided by the number of trained tokens in the optimizer step, so accumulation changes nothing.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import psutil
import torch
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, Trainer

from engine.runs.status import State
from engine.worker.attention import NAME as DOCUMENTS
from engine.worker.reporter import Reporter
from engine.worker.tokens import IGNORED


def flatten(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join rows into one: `input_ids`, `labels`, `position_ids` (1, T) and the documents' running ends.

    A document's first token has nothing before it to be predicted from, so it is never trained.
    """
    lengths = np.fromiter((n for row in rows for n in row["documents"]), np.int64)
    ends = np.concatenate(([0], np.cumsum(lengths)))
    ids = np.concatenate([row["input_ids"] for row in rows]).astype(np.int64)
    labels = np.concatenate([row["labels"] for row in rows]).astype(np.int64)
    labels[ends[:-1]] = IGNORED
    positions = np.arange(len(ids)) - np.repeat(ends[:-1], lengths)
    edges = torch.from_numpy(ends.astype(np.int32))
    longest = int(lengths.max())
    return {
        "input_ids": torch.from_numpy(ids)[None],
        "labels": torch.from_numpy(labels)[None],
        "position_ids": torch.from_numpy(positions)[None],
        "cu_seq_lens_q": edges,
        "cu_seq_lens_k": edges,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def logits_at(model: Any, bare: Any, inputs: dict[str, Any], keep: torch.Tensor) -> torch.Tensor:
    """Logits (positions, vocabulary) in fp32 at the positions `keep` of a flattened row.

    `bare` is the model without what accelerate may have wrapped around it.
    """
    given = {key: inputs[key] for key in ("input_ids", "position_ids")}
    if bare.config._attn_implementation in (DOCUMENTS, "flash_attention_2"):  # the others make a mask from the positions
        given.update({key: value for key, value in inputs.items() if key.startswith(("cu_seq_lens", "max_length"))})
    if _head_chooses(type(bare.get_base_model() if hasattr(bare, "get_base_model") else bare)):
        return model(**given, use_cache=False, logits_to_keep=keep).logits[0].float()
    return model(**given, use_cache=False).logits[0, keep].float()


@cache
def _head_chooses(kind: type) -> bool:
    """Whether this architecture can run its head on chosen positions only."""
    return "logits_to_keep" in inspect.signature(kind.forward).parameters  # type: ignore[attr-defined]


class CausalTrainer(Trainer):
    """transformers' Trainer with the loss above, token-weighted held-out metrics, and what the charts need in each log."""

    def __init__(self, *args: Any, reporter: Reporter | None = None, with_perplexity: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, data_collator=flatten, **kwargs)
        self.remove_callback(PrinterCallback)  # the log has its own lines
        self.model_accepts_loss_kwargs = True  # we divide by num_items_in_batch ourselves
        self.reporter, self.with_perplexity = reporter, with_perplexity
        self._tally = _Tally()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        total, right, count = self._scores(model, inputs)
        self._tally.add(right, count, inputs["input_ids"].numel())
        # a block whose documents are one token each has nothing to train: its loss is 0 and not 0/0
        return total / max(num_items_in_batch if num_items_in_batch is not None else count, 1)

    def _scores(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Sum of the trained tokens' cross entropies, how many the first guess gets right, and how many there are."""
        labels = inputs["labels"][0, 1:]
        keep = (labels != IGNORED).nonzero()[:, 0]
        logits = logits_at(model, self.accelerator.unwrap_model(model), inputs, keep)
        targets = labels[keep]
        right = (logits.detach().argmax(-1) == targets).sum()
        return cross_entropy(logits, targets, reduction="sum"), right, int(targets.numel())

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean loss and accuracy over all trained tokens of the held-out rows."""
        assert self.model is not None
        was_training, began = self.model.training, time.monotonic()
        before = self.reporter.status if self.reporter else None
        if self.reporter:
            self.reporter.set(state=State.EVALUATING, phase="Measuring on held-out rows")
        self.model.eval()
        total, right, count = 0.0, 0, 0
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in self.get_eval_dataloader(eval_dataset):
                if self._stop_asked():
                    count = 0  # half a measurement is none
                    break
                batch = self._prepare_inputs(batch)
                if not bool((batch["labels"][0, 1:] != IGNORED).any()):
                    continue
                scored = self._scores(self.model, batch)
                total, right, count = total + float(scored[0]), right + int(scored[1]), count + scored[2]
        self.model.train(was_training)
        metrics: dict[str, float] = {}
        if count:
            metrics = {f"{metric_key_prefix}_loss": total / count, f"{metric_key_prefix}_token_accuracy": right / count}
            if self.with_perplexity:
                metrics[f"{metric_key_prefix}_perplexity"] = math.exp(min(total / count, 50.0))
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self.reporter and before:
            self.reporter.set(state=before.state, phase=before.phase)
        self._tally.pause(time.monotonic() - began)
        return metrics

    def _stop_asked(self) -> bool:
        if self.reporter is None:
            return False
        self.reporter.beat()
        return self.reporter.run.stop_requested

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs = {**logs, **self._tally.take(), "memory_bytes": _memory()}
            if self.with_perplexity and math.isfinite(logs["loss"]):
                logs["perplexity"] = math.exp(min(logs["loss"], 50.0))
        super().log(logs, start_time)


class _Tally:
    """Counts between two logs. Kept as tensors, so that a GPU is not made to wait at every step."""

    def __init__(self) -> None:
        self.tokens = 0
        self._start()

    def _start(self) -> None:
        self._right: torch.Tensor | int = 0
        self._count, self._seen, self._since = 0, 0, time.monotonic()

    def add(self, right: torch.Tensor, count: int, seen: int) -> None:
        self._right = self._right + right
        self._count, self._seen, self.tokens = self._count + count, self._seen + seen, self.tokens + seen

    def pause(self, seconds: float) -> None:
        """Leave time that was not training out of the speed."""
        self._since += seconds

    def take(self) -> dict[str, float]:
        """Accuracy, speed and tokens since the last call, and tokens in all."""
        seconds = max(time.monotonic() - self._since, 1e-9)
        made = {
            "token_accuracy": float(self._right) / max(self._count, 1),
            "tokens_per_second": self._seen / seconds,
            "tokens": float(self.tokens),
        }
        self._start()
        return made


def _memory() -> float:
    """Bytes in use on the device: the GPU's peak, or this process's resident memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated())
    return float(psutil.Process().memory_info().rss)
