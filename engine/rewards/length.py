"""A reward for the length of an answer."""

from __future__ import annotations

import re

from engine.rewards.reward import Score, each

_TARGET = re.compile(r"(\d+)(?:\s*-\s*(\d+))?\s*(words?|characters?)?")


def length(argument: str) -> Score:
    """0 to 1: 1 at the target (`40`, `20-40`, `200 characters`), falling evenly to 0 at nothing and at twice its upper end.

    Words are counted unless characters are named.
    """
    found = _TARGET.fullmatch(argument.strip())
    if not found or int(found[2] or found[1]) < max(1, int(found[1])):
        raise ValueError(f"{argument!r} is no length; write 40, 20-40 or 200 characters")
    low, high = int(found[1]), int(found[2] or found[1])
    in_characters = (found[3] or "").startswith("char")

    def score(answer: str) -> float:
        size = len(answer) if in_characters else len(answer.split())
        return min(1.0, size / low) if size <= high and low else max(0.0, 1 - max(0, size - high) / high)

    return each(lambda answer, _: score(answer))
