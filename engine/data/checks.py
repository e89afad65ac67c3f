"""What is worth a warning although every row can be used: duplicates, lopsided lengths, very long rows."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from engine.data.weights import greeting
from engine.errors import DataError
from engine.spec import RowKind

# A longer row is likely a whole book in one cell; about 25,000 tokens.
_LONG = 100_000


class Checks:
    """Sees canonical rows one after another and then says what is odd. Memory: eight bytes a row."""

    def __init__(self, kind: RowKind) -> None:
        self.kind: RowKind = kind
        self.seen: set[int] = set()
        self.rows = self.duplicates = self.long = self.chosen = self.rejected = self.liked = self.greeted = 0

    def see(self, row: dict[str, Any]) -> bool:
        """Note one row; False when the very same row came before."""
        self.rows += 1
        key = key_of(row, self.kind)
        fresh = key not in self.seen
        self.seen.add(key)
        self.duplicates += not fresh
        sizes = {name: size(row[name]) for name in row}
        self.long += sum(sizes.values()) > _LONG
        self.chosen += sizes.get("chosen", 0)
        self.rejected += sizes.get("rejected", 0)
        self.greeted += _is_greeted(row)
        self.liked += self.kind == "feedback" and bool(row["label"])
        return fresh

    @property
    def liked_share(self) -> float | None:
        """Share of the answers with a thumbs up; None for rows without thumbs."""
        return self.liked / self.rows if self.kind == "feedback" and self.rows else None

    def warnings(self) -> list[str]:
        """Sentences on what was seen, the weightiest first."""
        made = []
        if self.duplicates:
            are = "have the same prompt as another row" if self.kind == "prompts" else "are exact copies of another row"
            made.append(f"{self.duplicates} of {self.rows} rows {are}.")
        if self.rows >= 20 and min(self.chosen, self.rejected) > 0:
            ratio = self.chosen / self.rejected
            if ratio > 1.5 or ratio < 1 / 1.5:
                longer, times = ("better", ratio) if ratio > 1 else ("worse", 1 / ratio)
                made.append(
                    f"The {longer} answers are {times:.1f} times as long as the others: the model may learn length "
                    "instead of quality."
                )
        if self.liked_share in (0.0, 1.0):
            made.append(f"Every answer has a thumbs {'up' if self.liked else 'down'}: to tell good from bad takes both.")
        if self.greeted:
            made.append(
                f"{self.greeted} of {self.rows} conversations begin with a greeting of the assistant. It is read and not "
                "learned, and left out where the model's chat template refuses it."
            )
        if self.long:
            made.append(f"{self.long} rows have more than {_LONG:,} characters; most of such a row is cut away.")
        if 0 < self.rows < 20:
            few = "One row is" if self.rows == 1 else f"{self.rows} rows are"
            made.append(f"{few} very few: good for a try, too few to learn more than that.")
        return made


def _is_greeted(row: dict[str, Any]) -> bool:
    asked = row.get("prompt", row.get("messages"))
    return isinstance(asked, list) and bool(greeting(asked))


def one_sided(liked: bool) -> DataError:
    """Why nothing can be learned from answers that are all liked, or all not."""
    return DataError(
        f"Every answer has a thumbs {'up' if liked else 'down'}, so good cannot be told from bad.",
        hint="Add answers with the other thumb; good answers alone are learned with plain fine-tuning.",
    )


def none_liked() -> DataError:
    """Why there is nothing to learn for who learns from liked answers alone."""
    return DataError(
        "Not one answer has a thumbs up, and this training learns from those alone.",
        hint="Check which column holds the thumbs and which words it has for up and down. Else choose another file.",
    )


def key_of(row: dict[str, Any], kind: RowKind) -> int:
    """A 64-bit key of what is learned from a row; equal rows have equal keys. Of a row of prompts that is the prompt: a number
    or an answer that is carried along makes it no other question.
    """
    return _hashed(row["prompt"] if kind == "prompts" else row)


def asked_key(row: dict[str, Any], kind: RowKind) -> int:
    """A 64-bit key of what is asked in a row: rows that answer the same prompt have equal keys. A text is asked nothing, and
    has the key of its own.
    """
    asked = row.get("prompt")
    if asked is None and isinstance(talk := row.get("messages"), list):
        last = max((place for place, turn in enumerate(talk) if turn.get("role") == "user"), default=-1)
        asked = talk[: last + 1]
    if isinstance(asked, list) and len(asked) == 1 and asked[0].keys() == {"role", "content"} and asked[0]["role"] == "user":
        asked = asked[0]["content"]  # the same question as one that stands alone
    return _hashed(asked) if asked else key_of(row, kind)


def _hashed(value: Any) -> int:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def size(value: Any) -> int:
    """Characters of text in a canonical value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(len(str(turn.get("content") or "")) for turn in value if isinstance(turn, dict))
    return 0
