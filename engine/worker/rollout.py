"""Answers that a model samples while it learns, and what the model thinks of each of their tokens.

An answer is written in left-padded batches with the key-value cache, and asked about afterwards in flattened rows without
any padding (see engine/worker/flat.py), with positions that begin at each prompt. Its tokens run up to and including the
first one that ends it, whatever token is used for padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import GenerationConfig
from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper

from engine.worker.answers import generating, stop_tokens
from engine.worker.flat import flatten, logits_at
from engine.worker.rows import Row
from engine.worker.tokens import IGNORED


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled. `top_k` 0 and `top_p` 1 leave every token possible."""

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    @property
    def narrowed(self) -> bool:
        """Whether some tokens cannot be sampled at all."""
        return self.top_k > 0 or self.top_p < 1

    def possible(self, logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Which tokens could be sampled (positions, vocabulary), given logits that temperature has scaled already."""
        for narrow in self._narrowing():
            logits = narrow(None, logits)  # type: ignore[arg-type]  # neither looks at the tokens before
        # what was sampled was possible, though with the cache the numbers came out a little different
        return (logits > -torch.inf).scatter(1, tokens[:, None], True)

    def _narrowing(self) -> Iterator[Any]:
        if self.top_k > 0:
            yield TopKLogitsWarper(self.top_k)
        if self.top_p < 1:
            yield TopPLogitsWarper(self.top_p)


@dataclass(frozen=True)
class Answers:
    """B sampled answers. `ids` are prompt and answer of each without padding, `lengths` the tokens of the answers alone."""

    rows: list[Row]
    ids: list[np.ndarray]
    lengths: torch.Tensor
    finished: torch.Tensor
    texts: list[str]

    @property
    def mask(self) -> torch.Tensor:
        """True on the answers' tokens, (B, longest answer), on the CPU."""
        return torch.arange(int(self.lengths.max()))[None] < self.lengths[:, None]

    def flat(self, members: Sequence[int]) -> dict[str, Any]:
        """Some of them end to end; labelled are the answers' tokens."""
        return flatten([self._labelled(member) for member in members])

    def _labelled(self, member: int) -> dict[str, Any]:
        ids, labels = self.ids[member], np.full(len(self.ids[member]), IGNORED, np.int32)
        first = len(ids) - int(self.lengths[member])
        labels[first:] = ids[first:]
        return {"input_ids": ids, "labels": labels, "documents": [len(ids)]}


class Asked(NamedTuple):
    """For each answer token, in order, N in all: its log-probability, the entropy there (None: not asked for), the value
    of the text before it, and which tokens were possible (None: all)."""

    logps: torch.Tensor
    entropy: torch.Tensor | None
    values: torch.Tensor | None
    possible: torch.Tensor | None


@torch.no_grad()
def sample(
    model: Any, tokenizer: Any, prompts: Sequence[Row], sampling: Sampling, batch: int, beat: Callable[[], None]
) -> Answers:
    """One answer to each prompt, `batch` at a time; sampled with torch's own random numbers."""
    ends, made = stop_tokens(model, tokenizer), list[tuple[list[int], bool]]()
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    with generating(model), _settings(bare, _plain(sampling, tokenizer, ends)):
        for start in range(0, len(prompts), batch):
            beat()
            ids = [torch.from_numpy(prompt["input_ids"]).long() for prompt in prompts[start : start + batch]]
            given, attends = _left_padded(ids, tokenizer.pad_token_id)
            written = bare.generate(input_ids=given.to(bare.device), attention_mask=attends.to(bare.device))
            made += [_cut(answer, ends) for answer in written[:, given.shape[1] :].tolist()]
    return Answers(
        rows=[prompt["row"] for prompt in prompts],
        ids=[
            np.concatenate([prompt["input_ids"], np.asarray(answer, np.int32)])
            for prompt, (answer, _) in zip(prompts, made, strict=True)
        ],
        lengths=torch.tensor([len(answer) for answer, _ in made]),
        finished=torch.tensor([finished for _, finished in made]),
        texts=[text.strip() for text in tokenizer.batch_decode([answer for answer, _ in made], skip_special_tokens=True)],
    )


def ask(
    model: Any,
    row: dict[str, Any],
    sampling: Sampling,
    head: Any = None,
    possible: torch.Tensor | None = None,
    *,
    with_entropy: bool = True,
) -> Asked:
    """What the model thinks of the answers in a flattened row, under the distribution that they are sampled from.

    That is the softmax of logits / temperature, over the possible tokens only where top_k or top_p leave some out. Which
    those are is decided by the model that sampled (`possible` is None) and kept while it is trained, so that ratios of
    probabilities compare two distributions over the same tokens. `head` turns hidden states into values.
    """
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    keep = (row["labels"][0, 1:] != IGNORED).nonzero()[:, 0]
    tokens = row["labels"][0, 1:][keep]
    with _states(bare) as seen:
        logits = logits_at(model, bare, row, keep) / sampling.temperature
    if possible is None and sampling.narrowed:
        possible = sampling.possible(logits.detach(), tokens)
    if possible is not None:
        logits = logits.masked_fill(~possible, torch.finfo(logits.dtype).min)
    logps = -torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    states = seen[0][0] if seen[0].shape[1] == len(keep) else seen[0][0, keep]
    values = head(states.float())[:, 0] if head is not None else None
    return Asked(logps, _entropy(logits) if with_entropy else None, values, possible)


def _entropy(logits: torch.Tensor) -> torch.Tensor:
    """In nats, for each position. It costs as much as the head itself when the vocabulary is large."""
    logps = logits.log_softmax(-1)
    return -(logps.exp() * logps).sum(-1)


def _left_padded(ids: list[torch.Tensor], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    given = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad, padding_side="left")
    lengths = torch.tensor([len(one) for one in ids])
    return given, (torch.arange(given.shape[1]).flip(0)[None] < lengths[:, None]).long()


def _cut(answer: list[int], ends: list[int]) -> tuple[list[int], bool]:
    """The answer up to and including the first token that ends it, and whether there is one."""
    place = next((place for place, token in enumerate(answer) if token in ends), None)
    return (answer, False) if place is None else (answer[: place + 1], True)


def _plain(sampling: Sampling, tokenizer: Any, ends: list[int]) -> GenerationConfig:
    """Nothing but these settings: a model's own (a repetition penalty, say) would sample from another distribution."""
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=True,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=ends,
    )


@contextmanager
def _settings(bare: Any, plain: GenerationConfig) -> Iterator[None]:
    own, bare.generation_config = bare.generation_config, plain
    try:
        yield
    finally:
        bare.generation_config = own


@contextmanager
def _states(bare: Any) -> Iterator[list[torch.Tensor]]:
    """The hidden states that go into the model's head while this is open: the last thing before logits in any architecture."""
    seen: list[torch.Tensor] = []
    hook = bare.get_output_embeddings().register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        hook.remove()
