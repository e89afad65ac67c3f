"""The two things that reading a file yields, records and problems, and what is to be said of records that are used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

# The rule of a row with more cells than the table has columns.
RAGGED = "ragged row"
# Remarks on rows that are used all the same.
OPEN_QUOTE, RUN_ON, LONG_CELL = "open quote", "run on", "long cell"
_REMARKS = {
    OPEN_QUOTE: "{place} a cell begins with a quotation mark and does not end with one; the line was read as a row by itself, "
    "and so were those below it.",
    RUN_ON: "{place} a cell begins with a quotation mark that is not closed properly, and lines below it were read into the "
    "same cell. Check the marks there.",
    LONG_CELL: "{place} quotation marks hold lines together that could each be a row; they were read as one cell. Check "
    "the marks there.",
}


class Record(NamedTuple):
    """One row as it stands in the file. `number` is its line (text files) or its place, counted from one; `remark` is what is
    odd about it, if anything is.
    """

    number: int
    values: dict[str, Any]
    remark: str = ""


@dataclass(frozen=True)
class Problem:
    """Why one row cannot be used. `rule` is a short name that counts are kept under."""

    row: int
    column: str
    rule: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


class Refused(Exception):
    """Raised while one row is converted; becomes that row's Problem."""

    def __init__(self, rule: str, message: str, column: str = "") -> None:
        super().__init__(message)
        self.rule, self.message, self.column = rule, message, column


class Remarks:
    """Which rows have which remark: how many, and the first few."""

    def __init__(self) -> None:
        self._counts, self._first = Counter[str](), dict[str, list[int]]()

    def see(self, remark: str, row: int) -> None:
        self._counts[remark] += 1
        if len(first := self._first.setdefault(remark, [])) < 3:
            first.append(row)

    def sentences(self) -> list[str]:
        """One for each remark."""
        return [_REMARKS[remark].format(place=self._place(remark)) for remark in self._counts]

    def _place(self, remark: str) -> str:
        count, first = self._counts[remark], self._first[remark]
        named = ", ".join(map(str, first)) + (", …" if count > len(first) else "")
        return f"In row {named}" if count == 1 else f"In {count} rows ({named})"
