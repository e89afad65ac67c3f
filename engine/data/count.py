"""How many rows there are: counted while they fit in a look, else told from the bytes that the looked-at rows took."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from engine.data.arrow import arrow_rows
from engine.data.packed import unpacked_sizes
from engine.data.parquet import parquet_rows
from engine.data.records import Record
from engine.data.source import Member
from engine.data.stream import all_rows, written

# Characters after which a look has seen enough, however few the rows are.
_MUCH = 64 << 20
# Formats that say how many rows there are.
_COUNTED = {"parquet": parquet_rows, "arrow": arrow_rows}
# Lines after which a quotation mark is taken for one that is never closed.
_LONGEST_CELL = 200


class Look:
    """The first of some rows: at most so many, and fewer where they are very long. `whole`: these were all."""

    def __init__(self, rows: Iterable[Any], most: int) -> None:
        self._rows, self._most, self._held = rows, most, 0
        self.seen, self.whole = 0, False

    def __iter__(self) -> Iterator[Any]:
        for row in self._rows:
            self.seen += 1
            yield row
            if self.seen >= self._most or self._held > _MUCH:
                return
        self.whole = True

    def weigh(self, characters: int) -> None:
        """Say how much the row held."""
        self._held += characters


def looked(files: list[Member], most: int) -> tuple[Look, int, bool]:
    """A look at rows as they stand in the files, and how many there are: the number, and whether it is certain."""
    look = Look(all_rows(files), most)
    for row in look:
        look.weigh(written(row.values) if isinstance(row, Record) else 0)
    return look, *count(files, look)


def count(files: list[Member], look: Look) -> tuple[int, bool]:
    """How many rows the files hold, and whether that is certain."""
    if look.whole:
        return look.seen, True
    if all(file.format in _COUNTED for file in files):
        return sum(_COUNTED[file.format](file) for file in files), True
    size = sum(file.size or 0 for file in files) + unpacked_sizes(file.packed for file in files if file.packed)
    taken = _bytes_of(files, look.seen) if size else 0
    return max(look.seen, int(look.seen * size / taken) if taken else 0), False


def _bytes_of(files: list[Member], rows: int) -> int:
    """About how many bytes the first `rows` rows take, as JSON or as they are."""
    taken = 0
    for file in files:
        if file.format not in ("jsonl", "csv"):
            return taken + int(_bytes_of_one(files, min(rows, 500)) * rows)
        used, left = _lines(file, rows)
        taken += used
        if (rows := left) == 0:
            break
    return taken


def _lines(file: Member, rows: int) -> tuple[int, int]:
    """How many bytes the first `rows` rows of a file of lines take, and how many rows it lacks for so many."""
    taken, inside, run = 0, False, 0
    with file.open() as opened:
        for line in opened:
            taken += len(line)
            # a quoted cell may run over several lines: a row is over when its quotes are, but one may lack its second
            inside ^= file.format == "csv" and line.count(b'"') % 2 == 1
            run = run + 1 if inside else 0
            inside = inside and run < _LONGEST_CELL
            rows -= not inside
            if rows == 0:
                break
    return taken, rows


def _bytes_of_one(files: list[Member], rows: int) -> float:
    """How many bytes one of the first rows takes as JSON."""
    records = (r for r in itertools.islice(all_rows(files), rows) if isinstance(r, Record))
    sizes = [len(json.dumps(r.values, ensure_ascii=False, default=str).encode("utf-8", "replace")) for r in records]
    return sum(sizes) / max(len(sizes), 1)
