"""How well the starter knows its town: perplexity on texts it never saw, beside a unigram and a trigram model.

All three read the same training texts in the same tokens. Perplexity is exp(mean negative log-likelihood per token),
end-of-text tokens included. The n-gram models are interpolated and smoothed (Jelinek & Mercer 1980): the share of each
order is fitted on the last tenth of the training texts.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

_GRID = [n / 10 for n in range(1, 10)]


def perplexities(folder: Path, train: list[str], held_out: list[str]) -> dict[str, float]:
    """Perplexity of the model in `folder`, of a trigram and of a unigram model on `held_out`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    seen, unseen = _ids(tokenizer, train), _ids(tokenizer, held_out)
    grams = _Grams(seen[: len(seen) * 9 // 10], len(tokenizer))
    weights = grams.fitted(seen[len(seen) * 9 // 10 :])
    return {
        "model": _of_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), unseen),
        "trigram": grams.perplexity(unseen, weights),
        "unigram": grams.perplexity(unseen, (1.0, 0.0, 0.0)),
    }


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    end = [tokenizer.eos_token_id]
    return [end + ids + end for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


@torch.no_grad()
def _of_model(model: Any, documents: list[list[int]]) -> float:
    loss = count = 0.0
    for ids in documents:
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].float()
        loss += float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum"))
        count += len(ids) - 1
    return math.exp(loss / count)


class _Grams:
    """Counts of one, two and three tokens in a row."""

    def __init__(self, documents: list[list[int]], vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.one: Counter[int] = Counter()
        self.two: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self.three: defaultdict[tuple[int, int], Counter[int]] = defaultdict(Counter)
        for ids in documents:
            self.one.update(ids[1:])
            for a, b in itertools.pairwise(ids):
                self.two[a][b] += 1
            for a, b, c in zip(ids, ids[1:], ids[2:], strict=False):
                self.three[a, b][c] += 1
        self.total = self.one.total()
        self.sums = {k: v.total() for k, v in self.two.items()}, {k: v.total() for k, v in self.three.items()}

    def parts(self, ids: list[int], at: int) -> tuple[float, float, float]:
        """Probability of the token at `at` by each order; the unigram has one imagined count of every token."""
        token, one = ids[at], (self.one[ids[at]] + 1) / (self.total + self.vocabulary)
        before = ids[at - 1]
        two = self.two[before][token] / self.sums[0][before] if before in self.sums[0] else one
        pair = (ids[at - 2], before) if at > 1 else None
        three = self.three[pair][token] / self.sums[1][pair] if pair in self.sums[1] and pair else two
        return one, two, three

    def perplexity(self, documents: list[list[int]], weights: tuple[float, float, float]) -> float:
        logs = []
        for ids in documents:
            for at in range(1, len(ids)):
                logs.append(math.log(sum(w * p for w, p in zip(weights, self.parts(ids, at), strict=True))))
        return math.exp(-sum(logs) / len(logs))

    def fitted(self, documents: list[list[int]]) -> tuple[float, float, float]:
        """The mixture with the lowest perplexity on `documents`."""
        sample = documents[:300]
        mixtures = [(round(1 - b - c, 2), b, c) for b in _GRID for c in _GRID if b + c < 0.999]
        mixtures += [(0.01, round(0.99 - c, 2), c) for c in _GRID] + [(0.001, round(0.999 - c, 3), c) for c in _GRID]
        return min(mixtures, key=lambda mixture: self.perplexity(sample, mixture))
