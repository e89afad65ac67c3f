"""Tokenised rows on disk: three flat files that are mapped into memory, so that any number of rows costs none of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.worker.tokens import IGNORED, Tokens

_PARTS = ("ids", "labels", "ends", "marks")


class RowWriter:
    """Appends rows to `<path>.ids`, `.labels` (int32), `.ends` (int64, running end of each row) and `.marks` (float32).

    A mark is a number that goes with a row: the margin of a pair, or whether an answer was liked.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._files = {part: path.with_suffix(f".{part}").open("wb") for part in _PARTS}
        self._end = 0

    def add(self, tokens: Tokens, mark: float = 0.0) -> None:
        self._end += len(tokens.input_ids)
        self._files["ids"].write(np.asarray(tokens.input_ids, np.int32).tobytes())
        self._files["labels"].write(np.asarray(tokens.labels, np.int32).tobytes())
        self._files["ends"].write(np.int64(self._end).tobytes())
        self._files["marks"].write(np.float32(mark).tobytes())

    def close(self) -> TokenRows:
        for file in self._files.values():
            file.close()
        return TokenRows(self.path)


class TokenRows(Sequence[dict[str, Any]]):
    """Rows by number: `input_ids` and `labels` (int32 arrays) and `documents`, the lengths of what is in the row."""

    def __init__(self, path: Path) -> None:
        self.ends = np.fromfile(path.with_suffix(".ends"), np.int64)
        self.marks = np.fromfile(path.with_suffix(".marks"), np.float32)
        empty = not len(self.ends) or not self.ends[-1]
        self._ids, self._labels = (
            np.empty(0, np.int32) if empty else np.memmap(path.with_suffix(f".{part}"), np.int32, "r")
            for part in ("ids", "labels")
        )

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: Any) -> Any:
        index = range(len(self))[index]
        start, end = (int(self.ends[index - 1]) if index else 0), int(self.ends[index])
        return {
            "input_ids": self._ids[start:end],
            "labels": self._labels[start:end],
            "documents": [end - start],
        }

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row."""
        return np.diff(self.ends, prepend=0)

    @property
    def trained(self) -> int:
        """Trained tokens of all rows."""
        return int((self._labels != IGNORED).sum())


class Joined(Sequence[dict[str, Any]]):
    """Several rows in each place, as `places` says.

    `sees_all` makes each place one document, so that attention runs from row to row.
    """

    def __init__(self, rows: TokenRows, places: list[list[int]], *, sees_all: bool) -> None:
        self.rows, self.places, self.sees_all = rows, places, sees_all

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        parts = [self.rows[row] for row in self.places[index]]
        lengths = [len(part["input_ids"]) for part in parts]
        return {
            "input_ids": np.concatenate([part["input_ids"] for part in parts]),
            "labels": np.concatenate([part["labels"] for part in parts]),
            "documents": [sum(lengths)] if self.sees_all else lengths,
        }


class Packed(Joined):
    """As many rows in each place as fit: first-fit, in windows of a thousand rows so that the order stays nearly as it was."""

    _WINDOW = 1000

    def __init__(self, rows: TokenRows, max_length: int, *, sees_all: bool) -> None:
        super().__init__(rows, list(self._fill(rows.lengths, max_length)), sees_all=sees_all)

    def _fill(self, lengths: np.ndarray, max_length: int) -> Iterator[list[int]]:
        for start in range(0, len(lengths), self._WINDOW):
            window = lengths[start : start + self._WINDOW]
            open_places: list[tuple[int, list[int]]] = []
            for offset in np.argsort(-window, kind="stable"):
                length, row = int(window[offset]), start + int(offset)
                for place, (used, members) in enumerate(open_places):
                    if used + length <= max_length:
                        members.append(row)
                        open_places[place] = (used + length, members)
                        break
                else:
                    open_places.append((length, [row]))
            yield from (members for _, members in open_places)


class Blocks(Sequence[dict[str, Any]]):
    """All rows end to end, cut into blocks of `length` tokens; the last block is as long as what is left.

    `sees_all` lets a block's documents see each other; else each is a document of its own.
    """

    def __init__(self, rows: TokenRows, length: int, *, sees_all: bool) -> None:
        self.rows, self.length, self.sees_all = rows, length, sees_all
        self.total = int(rows.ends[-1]) if len(rows) else 0

    def __len__(self) -> int:
        # a single token that is left over has nothing to be predicted from
        return math.ceil(max(0, self.total - 1) / self.length)

    def __getitem__(self, index: Any) -> Any:
        start = range(len(self))[index] * self.length
        end = min(start + self.length, self.total)
        inside = self.rows.ends[(self.rows.ends > start) & (self.rows.ends < end)]
        edges = [start, *map(int, inside), end]
        return {
            "input_ids": self.rows._ids[start:end],
            "labels": self.rows._labels[start:end],
            "documents": [end - start] if self.sees_all else [b - a for a, b in itertools.pairwise(edges)],
        }
