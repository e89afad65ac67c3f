"""What a trainer's build() gets: rows as tokens, the model, the arguments and callbacks every trainer shares.

Knows what kinds of rows and trainers there are, never which trainer is asking.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import TrainingArguments

from engine.errors import DataError
from engine.models import resolve
from engine.params import LLMTrainingParams
from engine.plan import Plan
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.spec import TrainerSpec
from engine.worker.answers import stop_tokens
from engine.worker.callbacks import RunCallback
from engine.worker.models import load_causal
from engine.worker.reporter import Reporter
from engine.worker.token_rows import Blocks, Packed, RowWriter, TokenRows
from engine.worker.tokens import Tokens, chat_tokens, spelt_control_tokens, text_tokens, turn_end

Row = dict[str, Any]

_LOOKED_AT = 200


class Rows(NamedTuple):
    """Tokenised rows to train on, and those to measure with (None: there are none)."""

    train: Sequence[dict[str, Any]]
    valid: Sequence[dict[str, Any]] | None


class Kit:
    """The tools for one run. `params` has every automatic setting chosen."""

    def __init__(self, run: RunDirectory, spec: TrainerSpec, plan: Plan, tokenizer: Any, reporter: Reporter) -> None:
        self.run, self.spec, self.plan, self.params = run, spec, plan, plan.params
        self.tokenizer, self.reporter = tokenizer, reporter
        self.callback: RunCallback | None = None
        self._turn_end: int | None = None

    @cached_property
    def model(self) -> Any:
        """The causal model to train, with its adapter if one is wanted."""
        return load_causal(resolve(self.params.model), self.params)

    @cached_property
    def isolates(self) -> bool:
        """Whether the model keeps documents apart that lie end to end; models with a recurrent state may not."""
        from engine.worker.isolation import keeps_apart

        return keeps_apart(self.model)

    def text_rows(self) -> Rows:
        """Documents, each with its end-of-text token; `blocks` cuts them."""
        return self._tokenised(lambda row: text_tokens(row, self.tokenizer), max_length=None)

    def chat_rows(self, *, train_on_prompt: bool) -> Rows:
        """Conversations with the answers trained, cut at the longest length."""
        rows = self._tokenised(
            lambda row: chat_tokens(row, self.tokenizer, train_on_prompt=train_on_prompt), self.params.max_length
        )
        self._turn_end = turn_end(itertools.islice(rows.train, _LOOKED_AT), self.tokenizer)
        return rows

    def blocks(self, rows: Rows, *, cross_documents: bool) -> Rows:
        """All documents end to end, cut into blocks of the longest length."""
        length = self.params.max_length or 512
        if not (cross_documents or self.isolates):
            self.reporter.warn("This kind of model cannot keep documents apart: text in one block sees what is before it.")
        return Rows(*(part and Blocks(part, length, sees_all=cross_documents) for part in rows))  # type: ignore[arg-type]

    def packed(self, rows: Rows, *, cross_documents: bool) -> Rows:
        """Training rows packed into places of the longest length; held-out rows stay as they are."""
        length = self.params.max_length or 512
        if not (cross_documents or self.isolates):
            self.reporter.warn("This kind of model cannot keep rows apart, so short rows are not joined.")
            return rows
        return Rows(Packed(rows.train, length, sees_all=cross_documents), rows.valid)  # type: ignore[arg-type]

    def causal_trainer(self, rows: Rows) -> Any:
        """Next-token training on `rows`."""
        from engine.worker.causal import CausalTrainer

        charted = {key for chart in self.spec.charts for key, _ in chart.series}
        assert self.callback is not None
        self._teach_where_to_stop()
        p = self.params
        batch, joined = p.batch_size or 1, p.gradient_accumulation
        if not self.isolates:
            batch, joined = 1, joined * batch  # the same step, one row after the other
        return CausalTrainer(
            model=self.model,
            args=self.arguments(len(rows.train), batch, joined, has_valid=bool(rows.valid)),
            train_dataset=rows.train,
            eval_dataset=rows.valid or None,
            processing_class=self.tokenizer,
            callbacks=[self.callback],
            with_perplexity="perplexity" in charted,
            reporter=self.reporter,
        )

    def _teach_where_to_stop(self) -> None:
        """Name the token that ends an answer in the model's own generation settings, so that every program stops there."""
        settings = self.model.generation_config
        known = stop_tokens(self.model, self.tokenizer)
        if self._turn_end is not None and self._turn_end not in known:
            settings.eos_token_id = [*known, self._turn_end]

    def arguments(
        self, rows: int, batch_size: int, accumulation: int, *, has_valid: bool, **overrides: Any
    ) -> TrainingArguments:
        """The settings that every trainer hands to transformers, for `rows` rows to train on."""
        p = self.params
        per_epoch = math.ceil(math.ceil(rows / batch_size) / accumulation)
        steps = math.ceil(per_epoch * p.epochs)
        values: dict[str, Any] = {
            "output_dir": str(self.run.checkpoints_dir),
            "num_train_epochs": p.epochs,
            # transformers would repeat the data until it has made that many steps
            "max_steps": min(p.max_steps, steps) if p.max_steps else -1,
            "per_device_train_batch_size": batch_size,
            "per_device_eval_batch_size": batch_size,
            "gradient_accumulation_steps": accumulation,
            "learning_rate": p.lr,
            "lr_scheduler_type": "constant_with_warmup" if p.scheduler == "constant" else p.scheduler,
            # transformers reads a number below one as a share of all steps and rounds it up: less than one step is none,
            # or the only step of a short run would be one of size zero
            "warmup_steps": p.warmup_ratio if p.warmup_ratio * self.plan.total_steps >= 1 else 0,
            "weight_decay": p.weight_decay,
            "max_grad_norm": p.max_grad_norm,
            "optim": p.optimizer,
            "seed": p.seed,
            # said even where there is nothing else: transformers refuses bf16 on a CPU that it was not told to use
            "use_cpu": p.device == "cpu" or not torch.accelerator.is_available(),
            "bf16": p.precision == "bf16",
            "fp16": p.precision == "fp16",
            "activation_checkpointing": bool(p.gradient_checkpointing),
            "logging_steps": p.logging_steps,
            "logging_first_step": True,
            "logging_nan_inf_filter": False,  # a loss that is no number must be seen
            "eval_strategy": "steps" if has_valid else "no",
            "eval_steps": p.eval_steps,
            "eval_on_start": has_valid,
            "save_strategy": "steps",
            "save_steps": p.save_steps,
            "save_total_limit": p.save_total_limit,
            "report_to": "none",
            "disable_tqdm": True,
            "remove_unused_columns": False,
            "label_names": ["labels"],
            "dataloader_pin_memory": False,
        }
        made = TrainingArguments(**{**values, **overrides})
        made._n_gpu = min(1, made.n_gpu)  # one device a run; with more, transformers would split each batch among them
        return made

    def _tokenised(self, make: Callable[[Row], Tokens], max_length: int | None) -> Rows:
        self.reporter.phase(State.PREPARING, "Tokenising")
        train = self._tokenise_file("train", make, max_length)
        if not len(train):
            raise DataError(
                "No row has a token to train on.",
                hint="The answers may be empty, or cut away: choose a greater longest length.",
            )
        valid = self._tokenise_file("valid", make, max_length)
        return Rows(train, valid if len(valid) else None)

    def _tokenise_file(self, part: str, make: Callable[[Row], Tokens], max_length: int | None) -> TokenRows:
        writer = RowWriter(self.run.data_dir / f"{part}.tokens")
        empty = refused = 0
        reason = ""
        spelt = Counter[str]()
        for number, row in enumerate(read_rows(self.run.data_dir / f"{part}.jsonl")):
            if number % _LOOKED_AT == 0:
                self.reporter.heed_stop()
            spelt.update(spelt_control_tokens(row, self.tokenizer))
            try:
                tokens = make(row).cut(max_length)
            except DataError as error:
                refused, reason = refused + 1, reason or str(error)
                continue
            if tokens.trained:
                writer.add(tokens)
            else:
                empty += 1
        if empty:
            self.reporter.warn(
                f"{empty} {'held-out' if part == 'valid' else 'training'} rows have no token to train on within "
                f"{max_length} tokens and were left out.",
                "A greater longest length keeps them.",
            )
        for token, count in spelt.most_common(3):
            self.reporter.warn(
                f"{count} {'held-out' if part == 'valid' else 'training'} rows spell {token}, which the model takes for "
                f"the real control token.",
                "Delete it from the text, unless it was put there on purpose.",
            )
        if refused:
            self.reporter.warn(f"{refused} rows were left out. The first of them: {reason}")
        return writer.close()


def read_rows(file: Path, limit: int | None = None) -> Iterator[Row]:
    """Canonical rows of a prepared file, one JSON object a line."""
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as lines:
        for line in itertools.islice(lines, limit):
            yield json.loads(line)


def row_tokens(spec: TrainerSpec, params: LLMTrainingParams, tokenizer: Any) -> Callable[[Row], Tokens]:
    """How this trainer's rows become tokens, for counting them before anything is planned."""
    if spec.rows == "text":
        return lambda row: text_tokens(row, tokenizer)
    on_prompt = bool(params.model_dump().get("train_on_prompt"))
    return lambda row: chat_tokens(row, tokenizer, train_on_prompt=on_prompt)
