"""Models that give a text a score: loading them, training them on pairs, asking them.

A scorer is transformers' sequence classifier with one label: the last token's hidden state through a linear head. What
is trained here is asked by plain transformers later, so its padding token must never be a text's last token.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from engine.errors import ModelError
from engine.models import ModelSource
from engine.params import LLMTrainingParams
from engine.worker import attention
from engine.worker.flat import FlatTrainer, Scored, flatten, forward_inputs
from engine.worker.models import loaded, with_adapter
from engine.worker.pairs import flatten_pairs, one_by_one
from engine.worker.preference import bradley_terry
from engine.worker.splitting import fill, is_split


def load_scorer(source: ModelSource, params: LLMTrainingParams, tokenizer: Any) -> Any:
    """A model with a fresh scoring head, ready to be trained, with its adapter if one is wanted."""
    model = loaded(source, params, AutoModelForSequenceClassification, num_labels=1)
    if getattr(model, "score", None) is None:
        raise ModelError(
            f"Models like {source.reference} ({type(model).__name__}) cannot be trained to score.",
            hint="Choose a Llama, Qwen, Mistral, Gemma or GPT-2 model, or one built like them.",
        )
    if is_split(model) and not source.scores:
        _draw_head(model, params.seed)
    if attention.supported(model, params.max_length or 0) and (params.attention or "documents") == "documents":
        model.set_attn_implementation(attention.NAME)
    model.config.pad_token_id = padding_token(tokenizer)
    if params.peft:
        model = with_adapter(model, params, "SEQ_CLS")
    if params.processes > 1:
        _score_when_called(model)
    return model


def _draw_head(model: Any, seed: int) -> None:
    """Draw a split model's fresh head as that of a whole one is drawn: each GPU would throw dice of its own for its part."""
    for weight in model.score.parameters():
        dice = torch.Generator().manual_seed(seed)
        fill(weight, torch.empty(weight.shape).normal_(0, model.config.initializer_range, generator=dice))


def padding_token(tokenizer: Any) -> int | None:
    """A token to pad with that ends no text, given to the tokenizer as well; None when it has none to spare."""
    spare = [tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token]
    chosen = next((token for token in spare if token is not None and token != tokenizer.eos_token), None)
    if chosen is not None:
        tokenizer.pad_token = chosen
        return int(tokenizer.pad_token_id)
    return None


def document_scores(bare: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """The score of every document of a flattened row, shape (documents,), in fp32."""
    inner = bare.get_base_model() if hasattr(bare, "get_base_model") else bare
    hidden = inner.base_model(**forward_inputs(inner, inputs), use_cache=False).last_hidden_state[0]
    last = inputs["cu_seq_lens_q"][1:].long() - 1
    heads = list(inner.score.parameters())
    # an adapter has the frozen head beside its own, which is held finer than the base
    trained = next((weight for weight in heads if weight.requires_grad), heads[0])
    return inner.score(hidden[last].to(trained.dtype)).float()[:, 0]


def score_texts(model: Any, tokenizer: Any, texts: Sequence[str], max_length: int | None = None) -> list[float]:
    """Scores of texts that are rendered already; one that is too long loses its beginning, never its end."""
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"][-(max_length or 1 << 30) :] for text in texts]
    return [score for one in ids for score in score_ids(model, [one])]


@torch.no_grad()
def score_ids(model: Any, texts: Sequence[list[int]]) -> list[float]:
    """Scores of tokenised texts, in one row; several only for a model that keeps them apart."""
    was_training = model.training
    model.eval()
    row = flatten([{"input_ids": _array(ids), "labels": _array(ids), "documents": [len(ids)]} for ids in texts])
    given = {key: value.to(model.device) if isinstance(value, torch.Tensor) else value for key, value in row.items()}
    found = (model(flat_row=given) if is_split(model) else document_scores(model, given)).tolist()
    model.train(was_training)
    return found


def _array(ids: list[int]) -> Any:
    return torch.tensor(ids, dtype=torch.int32).numpy()


def _score_when_called(model: Any) -> None:
    """Let `model(flat_row=…)` give document scores: what averages gradients among processes, and what puts a split model
    together, begins with a model's call.
    """
    plain = model.forward

    def forward(*args: Any, flat_row: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        return plain(*args, **kwargs) if flat_row is None else document_scores(model, flat_row)

    model.forward = forward


class ScoreTrainer(FlatTrainer):
    """Bradley-Terry on pairs (see engine/worker/preference.py); the items are pairs, the text is read whole."""

    def __init__(self, *args: Any, together: bool, centre: float, **kwargs: Any) -> None:
        super().__init__(*args, collate=flatten_pairs, **kwargs)
        self.together, self.centre = together, centre

    def items(self, inputs: dict[str, Any]) -> int:
        return (len(inputs["cu_seq_lens_q"]) - 1) // 2

    def scored(self, model: Any, inputs: dict[str, Any]) -> Scored:
        rows = [inputs] if self.together else one_by_one(inputs)
        with self.accelerator.autocast():  # the head is asked directly, past the forward that accelerate has wrapped
            bare = self.bare(model)
            ask = partial(document_scores, bare) if self.ranks.size == 1 else lambda row: model(flat_row=row)
            scores = torch.cat([ask(row) for row in rows])
        losses, metrics = bradley_terry(scores[0::2], scores[1::2], inputs["margin"], centre=self.centre)
        return Scored(losses.sum(), len(losses), {name: values.detach().sum() for name, values in metrics.items()})


class SampleScores:
    """The same texts scored while a model trains, in the place where a model that writes answers them."""

    def __init__(self, texts: Sequence[tuple[str, str]], tokenizer: Any, max_length: int | None) -> None:
        """`texts` are pairs of what the page shows and what the model reads."""
        self.texts, self.tokenizer, self.max_length = texts, tokenizer, max_length

    def answer(self, model: Any) -> list[tuple[str, str]]:
        """(text, score) pairs."""
        scores = score_texts(model, self.tokenizer, [text for _, text in self.texts], self.max_length)
        return [(shown, f"score {score:+.2f}") for (shown, _), score in zip(self.texts, scores, strict=True)]
