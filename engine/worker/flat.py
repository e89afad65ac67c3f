"""Training on rows that lie end to end: no padding, no mask, and the model's head only where it is needed.

A batch is one row of T tokens in which documents follow each other, with positions that begin again at each of them.
What a batch is worth is a sum over its items (trained tokens, pairs of answers, texts) divided by the items of the whole
optimizer step, so that accumulation changes nothing, and neither does sharing the step among processes.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Sampler, SequentialSampler
from transformers import PrinterCallback, Trainer

from engine.runs.status import State
from engine.worker.attention import NAME as DOCUMENTS
from engine.worker.checkpointing import SafeCheckpoints
from engine.worker.ranks import ALONE, Ranks
from engine.worker.reporter import Reporter
from engine.worker.shares import FILLER, Evened, FilledUp, without_fillers
from engine.worker.splitting import SplitCheckpoints, is_split
from engine.worker.tokens import IGNORED
from engine.worker.training_clock import TrainingClock


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


def forward_inputs(bare: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """What the model's forward is given of a flattened row. `bare` is the model without what accelerate wraps around it."""
    given = {key: inputs[key] for key in ("input_ids", "position_ids")}
    if bare.config._attn_implementation in (DOCUMENTS, "flash_attention_2"):  # the others make a mask from the positions
        given.update({key: value for key, value in inputs.items() if key.startswith(("cu_seq_lens", "max_length"))})
    return given


def logits_at(model: Any, bare: Any, inputs: dict[str, Any], keep: torch.Tensor) -> torch.Tensor:
    """Logits (positions, vocabulary) in fp32 at the positions `keep` of a flattened row."""
    return raw_logits_at(model, bare, inputs, keep).float()


def raw_logits_at(model: Any, bare: Any, inputs: dict[str, Any], keep: torch.Tensor) -> torch.Tensor:
    """`logits_at` in the number format that the model made them in."""
    given = forward_inputs(bare, inputs)
    if _head_chooses(type(bare.get_base_model() if hasattr(bare, "get_base_model") else bare)):
        return model(**given, use_cache=False, logits_to_keep=keep).logits[0]
    return model(**given, use_cache=False).logits[0, keep]


@cache
def _head_chooses(kind: type) -> bool:
    """Whether this architecture can run its head on chosen positions only."""
    return "logits_to_keep" in inspect.signature(kind.forward).parameters  # type: ignore[attr-defined]


class Scored(NamedTuple):
    """What one batch gave: the loss summed over its items, how many they are, and sums of what else is charted.

    `over` names what a sum is divided by, where that is not the number of items: the liked answers alone, say.
    """

    loss: torch.Tensor
    items: int
    sums: dict[str, torch.Tensor]
    over: Mapping[str, int] = MappingProxyType({})


class FlatTrainer(SplitCheckpoints, SafeCheckpoints, Trainer):
    """transformers' Trainer over flattened rows; a subclass says what a batch scores and what it counts."""

    def __init__(self, *args: Any, reporter: Reporter | None = None, collate: Any = flatten, **kwargs: Any) -> None:
        self.ranks = reporter.ranks if reporter else ALONE
        if self.ranks.size > 1:
            collate = without_fillers(collate)
            kwargs |= {key: FilledUp(kwargs[key]) for key in ("train_dataset", "eval_dataset") if kwargs.get(key) is not None}
        super().__init__(*args, data_collator=collate, **kwargs)
        self.remove_callback(PrinterCallback)  # the log has its own lines
        self.model_accepts_loss_kwargs = True  # we divide by num_items_in_batch ourselves
        self.reporter = reporter
        self._clock = reporter.clock if reporter else TrainingClock()
        self._tally = _Tally(self._clock)

    def scored(self, model: Any, inputs: dict[str, Any]) -> Scored:
        """The batch's loss and metrics, as sums."""
        raise NotImplementedError

    def items(self, inputs: dict[str, Any]) -> int:
        """How many items the batch holds; the same number as `scored` gives."""
        raise NotImplementedError

    def derived(self, metrics: dict[str, float], prefix: str) -> dict[str, float]:
        """Metrics that follow from averages; `prefix` is "" or "eval_"."""
        return {}

    def bare(self, model: Any) -> Any:
        """The model without what accelerate has wrapped around it."""
        return self.accelerator.unwrap_model(model)

    def _prepare_input(self, data: Any) -> Any:
        """Moved to the device and nothing else: with DeepSpeed transformers would round a reference's log-probabilities to the
        model's number format.
        """
        return data.to(self.args.device) if isinstance(data, torch.Tensor) else super()._prepare_input(data)

    def order(self, rows: Any) -> Sampler[int]:
        """The order of a pass over `rows`, the same for all processes."""
        return SeedableRandomSampler(rows)  # what accelerate makes of a random order for one process

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows: Any = train_dataset if train_dataset is not None else self.train_dataset
        if self.ranks.size == 1:
            return super()._get_train_sampler(train_dataset)
        return Evened(self.order(rows), len(rows), self.args.per_device_train_batch_size * self.ranks.size)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        if self.ranks.size == 1:
            return super()._get_eval_sampler(eval_dataset)
        share = self.args.per_device_eval_batch_size * self.ranks.size
        return Evened(SequentialSampler(eval_dataset), len(eval_dataset), share)

    def _scored(self, model: Any, inputs: dict[str, Any]) -> Scored:
        """What the batch scored; a filler is gone through as the others are, and counts nothing."""
        found = self.scored(model, inputs)
        if FILLER not in inputs:
            return found
        return Scored(0.0 * found.loss, 0, {name: 0.0 * value for name, value in found.sums.items()})

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> int:
        items = sum(self.items(batch) for batch in batch_samples if FILLER not in batch)
        return int(self.ranks.total(torch.tensor(items)))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        found = self._scored(model, inputs)
        self._tally.add(found, 0 if FILLER in inputs else inputs["input_ids"].numel())
        # a block whose documents are one token each has nothing to train: its loss is 0 and not 0/0
        share = found.loss / max(num_items_in_batch if num_items_in_batch is not None else found.items, 1)
        return share * self.ranks.size  # gradients and logged losses of several processes are averaged, and not summed

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Means over all items of the held-out rows."""
        with self._clock.aside():
            return self._measure(eval_dataset, metric_key_prefix)

    def _measure(self, eval_dataset: Any, metric_key_prefix: str) -> dict[str, float]:
        assert self.model is not None
        was_training = self.model.training
        before = self.reporter.status if self.reporter else None
        if self.reporter:
            self.reporter.set(state=State.EVALUATING, phase="Measuring on held-out rows")
        self.model.eval()
        with torch.no_grad(), self.compute_loss_context_manager():
            metrics = self._averages(self.get_eval_dataloader(eval_dataset), metric_key_prefix)
        self.model.train(was_training)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self.reporter and before:
            self.reporter.set(state=before.state, phase=before.phase)
        return metrics

    def _averages(self, batches: Iterable[dict[str, Any]], prefix: str) -> dict[str, float]:
        """Loss and metrics over all batches; nothing when somebody asks to stop, since half a measurement is none."""
        total, count, sums, over = 0.0, 0, dict[str, float](), Counter[str]()
        for batch in batches:
            if self._stop_asked():
                return {}
            batch = self._prepare_inputs(batch)
            if not self.items(batch) and not is_split(self.model):  # which the other processes go through
                continue
            found = self._scored(self.model, batch)
            total, count = total + float(found.loss), count + found.items
            for name, value in found.sums.items():
                sums[name] = sums.get(name, 0.0) + float(value)
                over[name] += found.over.get(name, found.items)
        total, count, sums, over = _of_all(self.ranks, total, count, sums, over)
        if not count:
            return {}
        means = {f"{prefix}_{name}": value / over[name] for name, value in sums.items() if over[name]}
        metrics = {f"{prefix}_loss": total / count, **means}
        return {**metrics, **self.derived(metrics, f"{prefix}_")}

    def _stop_asked(self) -> bool:
        if self.reporter is None:
            return False
        self.reporter.beat()
        return self.reporter.stop_asked()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:  # tokens are counted on from where the checkpoint was
            self._tally.tokens = int(self.state.num_input_tokens_seen)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.state.num_input_tokens_seen = self._tally.in_all(self.ranks)  # written with the rest of the state
        with self._clock.aside():
            super()._save_checkpoint(model, trial)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs = {**logs, **self._tally.take(self.ranks), "memory_bytes": memory_bytes()}
            logs |= self.derived(logs, "")
        super().log(logs, start_time)


class _Tally:
    """Counts between two logs. Kept as tensors, so that a GPU is not made to wait at every step."""

    def __init__(self, clock: TrainingClock) -> None:
        self.tokens, self._clock = 0, clock
        self._start()

    def _start(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._over = Counter[str]()
        self._seen, self._since = 0, self._clock.seconds()

    def add(self, found: Scored, seen: int) -> None:
        for name, value in found.sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
            self._over[name] += found.over.get(name, found.items)
        self._seen, self.tokens = self._seen + seen, self.tokens + seen

    def in_all(self, ranks: Ranks = ALONE) -> int:
        """Tokens until now, over all processes."""
        return self.tokens - self._seen + int(ranks.total(torch.tensor(self._seen)))

    def take(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Averages and speed since the last call, and tokens in all, over all processes."""
        seconds = max(self._clock.seconds() - self._since, 1e-9)
        sums = {name: float(value) for name, value in self._sums.items()}
        seen, _, sums, over = _of_all(ranks, self._seen, 0, sums, self._over)
        self.tokens += int(seen) - self._seen
        made = {name: value / over[name] for name, value in sums.items() if over[name]}
        made |= {"tokens_per_second": seen / seconds, "tokens": float(self.tokens)}
        self._start()
        return made


def _of_all(
    ranks: Ranks, total: float, count: int, sums: dict[str, float], over: Counter[str]
) -> tuple[float, int, dict[str, float], Counter[str]]:
    """The same numbers summed over all processes, which have the same names."""
    if ranks.size == 1:
        return total, count, sums, over
    names = sorted(sums)
    held = [total, count, *(sums[name] for name in names), *(over[name] for name in names)]
    total, counted, *rest = ranks.total(torch.tensor(held, dtype=torch.float64)).tolist()
    whole = Counter({name: int(value) for name, value in zip(names, rest[len(names) :], strict=True)})
    return total, int(counted), dict(zip(names, rest, strict=False)), whole


def perplexity(loss: float) -> float:
    """exp(loss), held below what a float can show."""
    return math.exp(min(loss, 50.0))


def memory_bytes() -> float:
    """Bytes in use on the device: the GPU's peak, or this process's resident memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated())
    return float(psutil.Process().memory_info().rss)
