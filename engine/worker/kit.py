"""What a trainer's build() gets: rows as tokens, the model, the arguments and callbacks every trainer shares.

Knows what kinds of rows and trainers there are, never which trainer is asking.
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from transformers import TrainingArguments

from engine.arguments import group_settings, shared_arguments
from engine.models import resolve
from engine.plan import Plan
from engine.rewards import read
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.spec import TrainerSpec
from engine.worker import attention
from engine.worker.answers import stop_tokens
from engine.worker.callbacks import RunCallback
from engine.worker.isolation import keeps_apart
from engine.worker.judge import Judge, RewardModel
from engine.worker.models import load_causal, load_frozen, load_reference
from engine.worker.pairs import PairRows
from engine.worker.prompts import prompt_rows
from engine.worker.reporter import Reporter
from engine.worker.rows import Make, Rows, Source, kept, read_rows, tokenised
from engine.worker.token_rows import Blocks, Packed
from engine.worker.tokens import chat_tokens, pair_tokens, template_end, text_tokens, turn_end
from engine.worker.zero import zero_arguments

if TYPE_CHECKING:
    from engine.worker.teachers import LocalTeacher

ReferenceKind = Literal["none", "precomputed", "live"]

_LOOKED_AT = 200


class Kit:
    """The tools for one run. `params` has every automatic setting chosen."""

    def __init__(self, run: RunDirectory, spec: TrainerSpec, plan: Plan, tokenizer: Any, reporter: Reporter) -> None:
        self.run, self.spec, self.plan, self.params = run, spec, plan, plan.params
        self.tokenizer, self.reporter, self.ranks = tokenizer, reporter, reporter.ranks
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

    def _feedback_rows(self, *, alone: bool) -> Rows:
        """Rated answers, dealt so that every step sees both kinds; `alone` leaves the crossed ones out.

        Raises:
            DataError: all answers are of one kind.
        """
        from engine.worker.feedback import FeedbackRows

        p = self.params
        rows = self._rows(lambda row: (chat_tokens(row, self.tokenizer),), p.max_length)
        self._turn_end = turn_end(itertools.islice(rows.train, _LOOKED_AT), self.tokenizer)
        how = {
            "batch": (p.batch_size or 1) * self.ranks.size,
            "max_length": p.max_length or 512,
            "seed": p.seed,
            "alone": alone,
        }
        train = FeedbackRows(rows.train, **how)  # type: ignore[arg-type]
        valid = rows.valid and FeedbackRows(rows.valid, **how, mixed=False)  # type: ignore[arg-type]
        up, down = int(train.liked.sum()), int((~train.liked).sum())
        self.reporter.phase(State.PREPARING, f"{up} answers with a thumbs up and {down} with a thumbs down")
        fewer = min(up, down)
        if fewer * how["batch"] < len(train):
            self.reporter.warn(
                f"Only {fewer} of {len(train)} answers are of the rarer kind: some steps see none of them.",
                "More of them, or more rows per step, would teach more steadily.",
            )
        return Rows(train, valid or None)

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
        with self.ranks.first_before_others():
            if not self.ranks.first:
                return kept(self.run)
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

    def feedback_trainer(self, *, against_drift: bool, beta: float, up: float, down: float) -> Any:
        """Training on rated answers against the model as it is now; see `kto` in engine/worker/feedback.py."""
        from engine.worker.feedback import FeedbackTrainer, kto

        rows = self._feedback_rows(alone=not against_drift)
        self._teach_where_to_stop()
        self._reference(rows, "precomputed")
        objective = partial(kto, against_drift=against_drift, beta=beta, up=up, down=down)
        return FeedbackTrainer(**self._wired(rows), objective=objective, beta=beta, together=self.isolates)

    def group_trainer(self, *, kl: float, **settings: Any) -> Any:
        """Learning from how several answers to a prompt score, with TRL; see engine/worker/groups.py for the settings."""
        from trl import GRPOConfig

        from engine.worker.groups import GroupTrainer

        assert self.callback is not None
        p, (rows, judge) = self.params, self._judged_prompts()
        count = len(rows.train)
        batch = min(p.batch_size or 1, count)
        joined = min(p.gradient_accumulation, count // batch)
        steps = self.steps(count, batch, joined)
        made = group_settings(count, len(rows.valid or ()), batch, joined, **settings)
        limit = min(p.max_steps or steps, steps)  # said, since TRL leaves prompts out of a pass that fill no step
        self._teach_where_to_stop()
        return GroupTrainer(
            rows=rows,
            judge=judge,
            kl=kl,
            reference=_padded(load_frozen(resolve(p.model), p)) if kl and not p.peft else None,
            reporter=self.reporter,
            model=_padded(self.model),
            args=self.arguments(count, batch, joined, has_valid=bool(rows.valid), kind=GRPOConfig, max_steps=limit, **made),
            processing_class=self.tokenizer,
            callbacks=[self.callback],
        )

    def score_trainer(self, rows: Rows, *, centre: float) -> Any:
        """Training to score pairs of texts (see engine/worker/scoring.py)."""
        from engine.worker.scoring import ScoreTrainer

        model = self.scorer
        return ScoreTrainer(**self._wired(rows, model=model), together=keeps_apart(model), centre=centre)

    def policy_trainer(self) -> Any:
        """Answering prompts and learning from the answers' scores (see engine/worker/policy_trainer.py)."""
        from engine.worker.policy_trainer import PolicyTrainer

        p, (rows, judge) = self.params, self._judged_prompts()
        self._teach_where_to_stop()
        reference = None if p.peft else load_frozen(resolve(p.model), p)
        wired = self._wired(rows, whole_step=True)
        return PolicyTrainer(**wired, params=p, judge=judge, reference=reference, together=self.isolates)

    def _judged_prompts(self) -> tuple[Rows, Judge]:
        """Prompts for answers that are scored while the model trains, and what scores them.

        Raises:
            DataError: a reward compares with a column that is not there. ModelError: the reward model cannot be used.
        """
        p: Any = self.params
        rewards, named = read(p.rl_rewards), p.rl_reward_model_path
        rows = prompt_rows(self.run, self.reporter, self.tokenizer, p.max_length)
        rewards.check_columns(prompt["row"] for part in rows for prompt in part or ())
        self._turn_end = template_end(self.tokenizer)  # the answers are the model's own: only the template can tell
        if p.peft and p.lora_dropout:
            self.reporter.warn("LoRA dropout is left out: answers must be learned from by the model that wrote them.")
        return rows, Judge(rewards, RewardModel(named, p) if named else None, p.rl_reward_model_weight)

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
        other = load_reference(resolve(named or p.model), p, self.tokenizer) if named or kind == "live" else self.model
        if kind == "live":
            return pairs.held_model(other, self.isolates)
        self.reporter.phase(State.PREPARING, "Asking the reference")
        how = {"batch": p.batch_size or 1, "precision": p.precision or "fp32", "together": self.isolates}
        both: Any = rows
        pairs.precompute_all(other, both, self.run.data_dir, self.ranks, beat=self.reporter.heed_stop, **how)
        return None

    def _wired(self, rows: Rows, *, one_by_one: bool = False, whole_step: bool = False, model: Any = None) -> dict[str, Any]:
        """What every trainer is given; with `whole_step` it takes the rows of a step at once and parts them itself."""
        assert self.callback is not None
        batch, joined = self.params.batch_size or 1, self.params.gradient_accumulation
        if whole_step:
            batch, joined = joined * batch, 1
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

    def steps(self, rows: int, batch_size: int, accumulation: int) -> int:
        """Optimizer steps that the wished passes over `rows` rows make."""
        return math.ceil(math.ceil(math.ceil(rows / (batch_size * self.ranks.size)) / accumulation) * self.params.epochs)

    def _teach_where_to_stop(self) -> None:
        """Name the token that ends an answer in the model's own generation settings, so that every program stops there."""
        settings = self.model.generation_config
        known = stop_tokens(self.model, self.tokenizer)
        if self._turn_end is not None and self._turn_end not in known:
            settings.eos_token_id = [*known, self._turn_end]

    def arguments(
        self, rows: int, batch_size: int, accumulation: int, *, has_valid: bool, kind: Any = TrainingArguments, **overrides: Any
    ) -> TrainingArguments:
        """The settings that every trainer hands to transformers, for `rows` rows to train on; `kind` may want more."""
        p = self.params
        on_cpu = p.device == "cpu" or not torch.accelerator.is_available()
        folder, steps = self.run.checkpoints_dir, self.steps(rows, batch_size, accumulation)
        steps = min(p.max_steps or steps, steps)
        values = shared_arguments(p, folder, batch_size, accumulation, steps, has_valid, on_cpu)
        if p.max_steps:  # transformers would repeat the data until it has made that many
            values["max_steps"] = steps
        if self.ranks.size > 1:
            values["ddp_broadcast_buffers"] = False  # no layer of ours changes its buffers
        values |= zero_arguments(p, on_cpu=on_cpu)
        made = kind(**{**values, **overrides})
        made._n_gpu = min(1, made.n_gpu)  # one device a run; with more, transformers would split each batch among them
        return made


def _padded(model: Any) -> Any:
    """The model with an attention that knows padding, for rows that do not lie end to end."""
    if model.config._attn_implementation == attention.NAME:
        model.set_attn_implementation("sdpa")
    return model
