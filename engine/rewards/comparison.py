"""Rewards that compare an answer with a column of the data. A cell that holds a list accepts any of its entries."""

from __future__ import annotations

import math
import re
from typing import Any

from engine.rewards.likeness import likeness
from engine.rewards.reward import Score, each

# A minus counts only where nothing stands before it: 3-4 ends in 4.
_NUMBER = re.compile(r"(?:(?<![\w.])-)?(?:\d+(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+(?:[eE][+-]?\d+)?)")


def match(column: str) -> Score:
    """0 or 1: 1 when the answer is what the column says; capitals, spaces and a full stop at the end do not count."""
    return each(lambda answer, row: float(any(_plain(answer) == _plain(right) for right in _accepted(row[column]))))


def contains(column: str) -> Score:
    """0 or 1: 1 when what the column says is somewhere in the answer; capitals and spaces do not count."""
    return each(lambda answer, row: float(any(_plain(right) in _plain(answer) for right in _accepted(row[column]))))


def number(column: str) -> Score:
    """0 or 1: 1 when the answer's last number is the column's last number, as in sums that are shown step by step."""

    def score(answer: str, row: dict[str, Any]) -> float:
        given = _last_number(answer)
        wanted = [_last_number(right) for right in _accepted(row[column])]
        return float(given is not None and any(w is not None and math.isclose(given, w, rel_tol=1e-6) for w in wanted))

    return each(score)


def similar(column: str) -> Score:
    """0 to 1: the share of words that answer and column have in common, in the same order (difflib's ratio).

    Texts of more than 2000 words are compared 2000 words at a time, so that a long answer takes no long time.
    """
    return each(lambda answer, row: max((_likeness(answer, right) for right in _accepted(row[column])), default=0.0))


def _likeness(answer: str, right: str) -> float:
    return likeness(_plain(answer).split(), _plain(right).split())


def _accepted(cell: Any) -> list[str]:
    return [str(entry) for entry in (cell if isinstance(cell, list) else [cell])]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".")


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None
