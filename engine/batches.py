"""How many tokens a batch holds, on average and at its fullest, and how many of them are trained. No torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from engine.params import LLMTrainingParams
from engine.registry import spec_for

if TYPE_CHECKING:
    from engine.plan import DataFacts


def joins_rows(params: LLMTrainingParams) -> bool:
    """Whether a place of the batch holds as many rows as fit into the longest length, and not one."""
    return spec_for(params.trainer).rows == "text" or bool(getattr(params, "packing", False))


def row_tokens(params: LLMTrainingParams, data: DataFacts, length: int) -> float:
    """Tokens of one place of the batch, on average, with those that the model writes itself."""
    written = spec_for(params.trainer).copies_of(params).written
    return written + (length if joins_rows(params) else min(data.tokens_mean, length))


def fullest_batch(params: LLMTrainingParams, data: DataFacts, length: int, places: int) -> float:
    """Tokens of about the fullest of a run's batches of `places` rows (twice as many texts, if they are pairs).

    The mean, and two standard deviations of a sum of as many rows; the spread of one is told from its 95th percentile.
    """
    spec = spec_for(params.trainer)
    texts = places * spec.copies_of(params).sequences
    mean = texts * row_tokens(params, data, length)
    if joins_rows(params):
        return mean
    spread = max(0.0, min(data.tokens_p95, length) - min(data.tokens_mean, length)) / 1.645
    longest = texts * (min(data.tokens_max, length) + spec.copies_of(params).written)
    return max(mean, min(mean + 2 * math.sqrt(texts) * spread, longest))


def trained_share(params: LLMTrainingParams, data: DataFacts) -> float:
    """Share of the tokens that are trained, and for which the model's head runs."""
    spec = spec_for(params.trainer)
    written = spec.copies_of(params).written
    return 1.0 if spec.rows == "text" else min(1.0, (data.trained_mean + written) / max(data.tokens_mean + written, 1))
