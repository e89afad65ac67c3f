"""What a trainer's build() gets: rows as tokens, the model, the arguments and callbacks every trainer shares.

Knows what kinds of rows and trainers there are, never which trainer is asking.
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from transformers import TrainingArguments

from engine.models import resolve
from engine.plan import Plan
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.spec import TrainerSpec
from engine.worker.answers import stop_tokens
from engine.worker.callbacks import RunCallback
from engine.worker.isolation import keeps_apart
from engine.worker.models import load_causal, load_frozen
from engine.worker.pairs import PairRows
from engine.worker.reporter import Reporter
from engine.worker.rows import Make, Rows, Source, read_rows, tokenised
from engine.worker.token_rows import Blocks, Packed
from engine.worker.tokens import chat_tokens, pair_tokens, text_tokens, turn_end

if TYPE_CHECKING:
    from engine.worker.teachers import LocalTeacher

ReferenceKind = Literal["none", "precomputed", "live"]

_LOOKED_AT = 200


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
    def scorer(self) -> Any:
        """The model with a fresh scoring head, with its adapter if one is wanted."""
        from engine.worker.scoring import load_scorer

        return load_scorer(resolve(self.params.model), self.params, self.tokenizer)

    @cached_property
    def isolates(self) -> bool:
        """Whether the model keeps documents apart that lie end to end; models with a recurrent state may not."""
        return keeps_apart(self.model)

    def text_rows(self) -> Rows:
        """Documents, each with its end-of-text token; `blocks` cuts them."""
        return self._rows(lambda row: (text_tokens(row, self.tokenizer),), max_length=None)

    def chat_rows(self, *, train_on_prompt: bool) -> Rows:
        """Conversations with the answers trained, cut at the longest length."""
        rows = self._rows(
            lambda row: (chat_tokens(row, self.tokenizer, train_on_prompt=train_on_prompt),), self.params.max_length
        )
        self._turn_end = turn_end(itertools.islice(rows.train, _LOOKED_AT), self.tokenizer)
        return rows

    def pair_rows(self, *, whole: bool = False) -> Rows:
        """Pairs of answers, cut at the longest length; `whole` leaves pairs out that would have to be cut."""
        rows = self._rows(lambda row: pair_tokens(row, self.tokenizer), self.params.max_length, whole=whole)
        self._turn_end = turn_end(itertools.islice(rows.train, _LOOKED_AT), self.tokenizer)
        return Rows(*(part and PairRows(part) for part in rows))  # type: ignore[arg-type]

    def teacher(self, name: str | None, *, address: str | None, with_guesses: bool) -> Any:
        """Who answers the prompts: the model `name` at `address`, or one on this machine (None: the base model itself)."""
        from engine.worker.endpoint import EndpointTeacher
        from engine.worker.teachers import local_teacher

        if address:
            return EndpointTeacher(address, str(name), self.reporter)
        return local_teacher(self, name, with_guesses=with_guesses)

    def taught_rows(self, teacher: Any, *, most: int, temperature: float, with_guesses: bool) -> Rows:
        """Prompts with the teacher's answers of at most `most` tokens (see engine/worker/lessons.py)."""
        from engine.worker.lessons import Lessons

        return Lessons(self, most, temperature).learned_from(teacher, with_guesses=with_guesses)

    def answered_rows(self, make: Make, source: Source) -> Rows:
        """Rows as `source` reads them, in as many texts each as `make` gives."""
        rows = self._rows(make, None, source=source)
        self._turn_end = turn_end(itertools.islice(rows.train, _LOOKED_AT), self.tokenizer)
        return rows

    def _rows(self, make: Make, max_length: int | None, *, whole: bool = False, source: Source = read_rows) -> Rows:
        return tokenised(self.run, self.reporter, self.tokenizer, make, max_length, whole=whole, source=source)

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
        self._teach_where_to_stop()
        # a model that mixes documents takes the rows of a step one after the other
        return CausalTrainer(**self._wired(rows, one_by_one=not self.isolates), with_perplexity="perplexity" in charted)

    def pair_trainer(self, rows: Rows, objective: Any, reference: ReferenceKind = "none") -> Any:
        """Training on pairs of answers with `objective` (see engine/worker/preference.py)."""
        from engine.worker.pairs import PairTrainer

        self._teach_where_to_stop()
        live = self._reference(rows, reference)
        return PairTrainer(**self._wired(rows), objective=objective, together=self.isolates, reference=live)

    def score_trainer(self, rows: Rows, *, centre: float) -> Any:
        """Training to score pairs of texts (see engine/worker/scoring.py)."""
        from engine.worker.scoring import ScoreTrainer

        model = self.scorer
        return ScoreTrainer(**self._wired(rows, model=model), together=keeps_apart(model), centre=centre)

    def distilling_trainer(self, rows: Rows, teacher: LocalTeacher | None, *, alpha: float, temperature: float) -> Any:
        """Training on a teacher's answers, and on its guesses where it is given (see engine/worker/distilling.py)."""
        from engine.worker.distilling import DistillingTrainer

        self._teach_where_to_stop()
        apart = self.isolates and (teacher is None or teacher.isolates)
        return DistillingTrainer(
            **self._wired(rows, one_by_one=not apart),
            alpha=alpha,
            temperature=temperature,
            guesses=teacher.guesses if teacher else None,
        )

    def _reference(self, rows: Rows, kind: ReferenceKind) -> Any:
        """The reference's log-probabilities: put beside the rows, or a way to ask for them at every step."""
        from engine.worker import pairs

        p, named = self.params, getattr(self.params, "model_ref", None)
        if kind == "none":
            return None
        if kind == "live" and p.peft and not named:
            return pairs.adapter_off(self.isolates)
        other = load_frozen(resolve(named or p.model), p) if named or kind == "live" else self.model
        if kind == "live":
            return pairs.held_model(other, self.isolates)
        self.reporter.phase(State.PREPARING, "Asking the reference")
        for part, some in zip(("train", "valid"), rows, strict=True):
            if some is not None:
                pairs.precompute(
                    other,
                    some,  # type: ignore[arg-type]
                    self.run.data_dir / f"{part}.reference.npy",
                    batch=p.batch_size or 1,
                    precision=p.precision or "fp32",
                    together=self.isolates,
                    beat=self.reporter.heed_stop,
                )
        return None

    def _wired(self, rows: Rows, *, one_by_one: bool = False, model: Any = None) -> dict[str, Any]:
        """What every trainer is given."""
        assert self.callback is not None
        batch, joined = self.params.batch_size or 1, self.params.gradient_accumulation
        if one_by_one:
            batch, joined = 1, joined * batch
        return {
            "model": self.model if model is None else model,
            "args": self.arguments(len(rows.train), batch, joined, has_valid=bool(rows.valid)),
            "train_dataset": rows.train,
            "eval_dataset": rows.valid or None,
            "processing_class": self.tokenizer,
            "callbacks": [self.callback],
            "reporter": self.reporter,
        }

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
