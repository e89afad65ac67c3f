"""Fixed prompts answered while a model trains, so that its progress can be read and not only measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class SampleAnswers:
    """Answers a few prompts greedily: same prompt, same weights, same answer."""

    def __init__(
        self, shown: list[str], given: list[str], tokenizer: Any, max_new_tokens: int, stopped: Callable[[], bool] = bool
    ) -> None:
        """`shown` is what the page prints, `given` what the model is given (the chat template applied).

        While `stopped()` is true nothing more is written, and nothing half-written is kept.
        """
        self.shown, self.given, self.stopped = shown, given, stopped
        self.tokenizer, self.max_new_tokens = tokenizer, max_new_tokens

    def answer(self, model: Any) -> list[tuple[str, str]]:
        """(prompt, answer) pairs, all prompts in one left-padded batch.

        Of a prompt that leaves no room for its answer the beginning is forgotten, as in the playground.
        """
        if not self.given or not self.max_new_tokens:
            return []
        context = context_of(model)
        batch = self._read(context - min(self.max_new_tokens, context // 2))
        width = batch["input_ids"].shape[1]
        with generating(model), torch.no_grad():
            made = model.generate(
                **batch.to(model.device),
                max_new_tokens=min(self.max_new_tokens, context - width),
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=stop_tokens(model, self.tokenizer),
                stopping_criteria=[lambda ids, _: torch.full((len(ids),), self.stopped(), device=ids.device)],
            )
        if self.stopped():
            return []
        texts = self.tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)
        return [(prompt, text.strip()) for prompt, text in zip(self.shown, texts, strict=True)]

    def _read(self, most: int) -> Any:
        """The prompts as tokens, of each the last `most`."""
        tokenizer = self.tokenizer
        sides = tokenizer.padding_side, tokenizer.truncation_side
        tokenizer.padding_side = tokenizer.truncation_side = "left"
        try:
            how = {"padding": True, "truncation": True, "max_length": most, "add_special_tokens": False}
            return tokenizer(self.given, return_tensors="pt", **how)
        finally:
            tokenizer.padding_side, tokenizer.truncation_side = sides


def context_of(model: Any) -> int:
    """How many tokens a model reads at once; one that names no limit is taken to have none."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30


@contextmanager
def generating(model: Any) -> Iterator[None]:
    """Make a model in training ready to generate: evaluation mode, key-value cache, an attention that knows padding."""
    training, cache = model.training, model.config.use_cache
    attention = model.config._attn_implementation
    model.eval()
    model.config.use_cache = True
    if attention == "documents":
        model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if attention == "documents":
            model.set_attn_implementation(attention)
        model.config.use_cache = cache
        model.train(training)


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's, and those that the model's own settings name."""
    named = model.generation_config.eos_token_id
    named = [named] if isinstance(named, int) else list(named or [])
    return sorted({*named, tokenizer.eos_token_id} - {None})
