"""A thumbs up or down, in all the ways in which people and programs write it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# Yes and no in the languages whose headings are known, too.
_UP = "true 1 yes y good up 👍 ja oui si sí sim thumbsup positive like liked upvote"
_DOWN = "false 0 -1 no n bad down 👎 nein non não nao thumbsdown negative dislike disliked downvote"
_TRUTHS: dict[str, bool] = {word: words is _UP for words in (_UP, _DOWN) for word in words.split()}
_TRUTHS |= {f"{thumb} {way}": way == "up" for thumb in ("thumb", "thumbs") for way in ("up", "down")}
# The colours of a hand, and the mark that asks for a picture of it.
_COLOURS = re.compile("[\U0001f3fb-\U0001f3ff\ufe0f]")
_BETWEEN_WORDS = re.compile(r"(?<=[a-z])[\s_-]+(?=[a-z])")
# Columns of these names hold a number of stars as often as a thumb up.
_OF_STARS = ("rating",)


def truth_of(value: Any) -> bool | None:
    """A thumbs up or down, however it is written; None when it is neither."""
    if isinstance(value, bool):
        return value
    written = _COLOURS.sub("", str(value)).strip().lower().removesuffix(".0")
    return _TRUTHS.get(_BETWEEN_WORDS.sub(" ", written))


def are_thumbs(column: str, values: Iterable[Any]) -> bool:
    """Whether a column of verdicts tells good from bad. A rating of 1 and nothing else may be the worst of five as well."""
    found = {str(value).strip().lower().removesuffix(".0") for value in values}
    if not found or any(truth_of(value) is None for value in found):
        return False
    return not (found == {"1"} and column.strip().lower() in _OF_STARS)
