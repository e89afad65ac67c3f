"""How long rows are in tokens, in the few figures that plans are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Enough to tell what is left of rows when they are cut at any length, and little to send.
_SHARES = np.arange(0.5, 100, 1)


def figures(lengths: Sequence[int], trained: Sequence[int], read: int) -> dict[str, Any]:
    """Figures for `engine.plan.DataFacts` of rows with these tokens and trained tokens; others read `read` tokens in all."""
    made = np.array(lengths)
    return {
        "tokens_mean": float(made.mean()),
        "tokens_p95": int(np.percentile(made, 95)),
        "tokens_max": int(made.max()),
        "spread": np.percentile(made, _SHARES).tolist(),
        "trained_mean": float(np.mean(trained)),
        "read_mean": read / len(made),
    }
