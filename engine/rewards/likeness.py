"""How alike two texts are: the ratio of difflib's SequenceMatcher, word for word the same and bounded in time.

SequenceMatcher takes cubic time on texts that say the same words again and again, as an answer does that goes wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Longer texts are compared so many words at a time.
WORDS = 2000


def likeness(some: Sequence[str], other: Sequence[str]) -> float:
    """0 to 1: twice the words in common, in the same order, as a share of all words; two empty texts are alike.

    Of texts of more than 2000 words, the first 2000 are compared with the first 2000, the second with the second, and so on.
    """
    total = len(some) + len(other)
    starts = range(0, min(len(some), len(other)), WORDS)
    common = sum(_common(some[start : start + WORDS], other[start : start + WORDS]) for start in starts)
    return 2 * common / total if total else 1.0


def _common(some: Sequence[str], other: Sequence[str]) -> int:
    """Words in the longest run that both share, and in the longest ones before and after it, and so on."""
    if some == other:
        return len(some)
    runs, common = _runs(some, other), 0
    left = [(0, len(some), 0, len(other))]
    while left:
        top, bottom, start, end = left.pop()
        if top == bottom or start == end:
            continue
        size, last, last_other = _longest(runs[top:bottom, start:end])
        if size:
            common += size
            left.append((top, top + last - size + 1, start, start + last_other - size + 1))
            left.append((top + last + 1, bottom, start + last_other + 1, end))
    return common


def _runs(some: Sequence[str], other: Sequence[str]) -> Any:
    """For each word of both, how many words before and with it are the same."""
    import numpy as np

    numbers = {word: number for number, word in enumerate(dict.fromkeys([*some, *other]))}
    columns = np.array([numbers[word] for word in other])
    runs = np.zeros((len(some) + 1, len(other) + 1), np.int16)
    for row, word in enumerate(some):
        np.multiply(runs[row, :-1] + 1, columns == numbers[word], out=runs[row + 1, 1:], casting="unsafe")
    return runs[1:, 1:]


def _longest(runs: Any) -> tuple[int, int, int]:
    """The length of the longest run inside of this part, the earliest of several, and where it ends."""
    import numpy as np

    rows, columns = (np.arange(1, size + 1, dtype=np.int16) for size in runs.shape)
    inside = np.minimum(np.minimum(runs, rows[:, None]), columns)  # what began before this part does not count
    last, last_other = divmod(int(inside.argmax()), len(columns))
    return int(inside[last, last_other]), last, last_other
