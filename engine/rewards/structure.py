"""A reward for answers that programs can read."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from engine.rewards.reward import Score, each


def valid_json(argument: str) -> Score:
    """0 to 1: 1 for a JSON object or list and nothing else; with keys named, half for an object and half for its keys."""
    keys = [key.strip() for key in argument.split(",") if key.strip()]

    def score(answer: str) -> float:
        value = _parsed(answer)
        if not keys:
            return float(isinstance(value, (dict, list)))
        return 0.5 + 0.5 * sum(key in value for key in keys) / len(keys) if isinstance(value, dict) else 0.0

    return each(lambda answer, _: score(answer))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):  # a model writes brackets within brackets without end
        return None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")
