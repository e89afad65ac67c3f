"""Gives answers their scores: reward functions, a reward model, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForSequenceClassification

from engine.errors import ModelError
from engine.models import resolve
from engine.params import LLMTrainingParams
from engine.rewards import Rewards, Row
from engine.worker import attention
from engine.worker.isolation import keeps_apart
from engine.worker.models import load_tokenizer, loaded
from engine.worker.scoring import score_ids
from engine.worker.templates import choose_template
from engine.worker.tokens import chat_tokens

_TOGETHER = 16


class Scores(NamedTuple):
    """`total` (answers,) is the weighted sum; `parts` are the scores that it is made of, before their weights, by name."""

    total: torch.Tensor
    parts: dict[str, list[float]]


class RewardModel:
    """A sequence classifier with one label, asked in fp32. It reads the talk in its own template and with its own tokens."""

    def __init__(self, reference: str, params: LLMTrainingParams) -> None:
        """
        Raises:
            ModelError: there is no such model, or it writes and gives no score.
        """
        source = resolve(reference)
        if source.path is not None and not source.scores:
            raise ModelError(
                f"{reference} writes texts and does not score them.",
                hint="Train a reward model first, and name its run in rl_reward_model_path.",
            )
        plain = params.model_copy(update={"peft": False, "quantization": "none", "attention": "sdpa"})
        self.model = loaded(source, plain, AutoModelForSequenceClassification).eval().requires_grad_(False)
        if self.model.config.num_labels != 1:
            raise ModelError(f"{reference} sorts into {self.model.config.num_labels} classes; a reward model gives one number.")
        self.tokenizer = load_tokenizer(source)
        choose_template(self.tokenizer, "auto")
        self.context = getattr(self.model.config, "max_position_embeddings", None)
        self.flat = hasattr(self.model, "score") and keeps_apart(self.model)
        if self.flat and attention.supported(self.model.config, self.context or 0):
            self.model.set_attn_implementation(attention.NAME)

    def __call__(self, prompts: Sequence[Any], answers: Sequence[str]) -> list[float]:
        """One score for each answer; a talk that is too long loses its beginning."""
        rows = [{"prompt": prompt, "completion": answer} for prompt, answer in zip(prompts, answers, strict=True)]
        ids = [chat_tokens(row, self.tokenizer).input_ids[-(self.context or 1 << 30) :] for row in rows]
        if self.flat:
            parts = (ids[start : start + _TOGETHER] for start in range(0, len(ids), _TOGETHER))
            return [score for part in parts for score in score_ids(self.model, part)]
        with torch.no_grad():
            given = (torch.tensor([one], device=self.model.device) for one in ids)
            return [float(self.model(input_ids=one).logits[0, 0]) for one in given]


class Judge:
    """What answers are learned from."""

    def __init__(self, rewards: Rewards, model: RewardModel | None, model_weight: float = 1.0) -> None:
        self.rewards, self.model, self.model_weight = rewards, model, model_weight

    def __call__(self, rows: Sequence[Row], answers: Sequence[str]) -> Scores:
        """Scores of answers to the rows' prompts.

        Raises:
            TrainingError: a reward function failed.
        """
        prompts = [row["prompt"] for row in rows]
        parts = self.rewards(prompts, answers, rows)
        total = torch.tensor(self.rewards.total(parts) if parts else [0.0] * len(answers))
        if self.model is not None:
            parts["model"] = self.model(prompts, answers)
            total = total + self.model_weight * torch.tensor(parts["model"])
        return Scores(total, parts)
