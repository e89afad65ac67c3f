"""A reward against answers that say the same again and again."""

from __future__ import annotations

from engine.rewards.reward import Score, each

_WORDS = 3


def no_repeat(argument: str) -> Score:
    """-1 to 0: minus the share of its runs of three words (or as many as named) that the answer has said already."""
    if argument and not (argument.isdecimal() and int(argument) > 0):
        raise ValueError(f"{argument!r} is no number of words")
    size = int(argument or _WORDS)

    def score(answer: str) -> float:
        words = answer.casefold().split()
        runs = [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]
        return len(set(runs)) / len(runs) - 1 if runs else 0.0

    return each(lambda answer, _: score(answer))
