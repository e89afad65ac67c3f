"""Rewards for what an answer says: words in it, and patterns."""

from __future__ import annotations

import re

from engine.rewards.reward import Score, each


def keyword(argument: str) -> Score:
    """0 or 1: 1 when one of the words or phrases, separated by commas, is in the answer, in capitals or not."""
    patterns = _whole_words(argument)
    return each(lambda answer, _: float(any(pattern.search(answer) for pattern in patterns)))


def every_keyword(argument: str) -> Score:
    """0 to 1: the share of the words or phrases, separated by commas, that are in the answer."""
    patterns = _whole_words(argument)
    return each(lambda answer, _: sum(bool(pattern.search(answer)) for pattern in patterns) / len(patterns))


def regex(argument: str) -> Score:
    """0 or 1: 1 when the regular expression (Python's) is found anywhere in the answer."""
    try:
        pattern = re.compile(argument)
    except re.error as error:
        raise ValueError(f"{argument!r} is no regular expression: {error}") from None
    return each(lambda answer, _: float(bool(pattern.search(answer))))


def _whole_words(argument: str) -> list[re.Pattern[str]]:
    words = [word.strip() for word in argument.split(",") if word.strip()]
    if not words:
        raise ValueError("name at least one word")
    # \b would not find a word that begins or ends with a sign, such as C++
    return [re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE) for word in words]
