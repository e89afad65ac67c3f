"""A curve as a row of bars, for places that have only letters: a terminal, a model card."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The values as at most `width` bars, the lowest the shortest; of many values the mean of each stretch."""
    count = min(width, len(values))
    edges = [place * len(values) // count for place in range(count + 1)] if count else []
    means = [sum(values[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    if high == low:
        return _BARS[0] * count
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in means)
