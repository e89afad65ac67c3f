"""Tables of text (CSV, TSV): a row at a time, also where quotation marks stand alone or cells are missing."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, TextIO

from engine.data.json_stream import LARGEST_VALUE
from engine.data.records import LONG_CELL, OPEN_QUOTE, RAGGED, RUN_ON, Problem, Record
from engine.data.source import Member, text_of
from engine.data.tabbed import first_cells
from engine.errors import DataError

_HEADER = "The first line names the columns."
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
# A row of so many lines that each could be a row is told, and one of so many more is taken for several rows at once.
_LONG, _ENDLESS = 20, 4096
# Of the lines that a quotation mark holds together, the share that must look like rows by themselves.
_MOSTLY = 0.9


def table(member: Member) -> Iterator[Record | Problem]:
    """Every row of a table, numbered as a spreadsheet does: a row may run over several lines, and the header is the first."""
    csv.field_size_limit(LARGEST_VALUE)
    with text_of(member) as file:
        delimiter = member.mark or _delimiter(file.read(1 << 16))
    with text_of(member) as file:  # opened again, for what comes out of an archive cannot be wound back
        lines = _Lines(file, delimiter)
        header, first = _read_header(lines, member)
        lines.width = len(header)
        for number, row in enumerate(_rows(lines), first):
            if isinstance(row, str):
                yield Problem(number, "", "bad table row", f"Row {number} cannot be read: {row}.")
            elif any(cell.strip() for cell in row.cells):
                yield _record(number, row, header, delimiter)


def _record(number: int, row: _Row, header: list[str], delimiter: str) -> Record | Problem:
    """The row under its header: cells that lack at the end are empty, and empty ones beyond the header are none."""
    cells, width = row.cells, len(header)
    if len(cells) != width:
        if any(cell.strip() for cell in cells[width:]):
            message = f"Row {number} has {len(cells)} cells, the header names {width} columns."
            quoted = f"A cell that holds {_NAMES[delimiter]} needs quotation marks around it."
            return Problem(number, "", RAGGED, f"{message} {quoted}")
        cells = cells[:width] + [""] * (width - len(cells))
    return Record(number, dict(zip(header, cells, strict=True)), row.remark)


class _Row(NamedTuple):
    cells: list[str]
    remark: str = ""


class _Open(Exception):
    """Raised while a row is read that goes on and on because of one quotation mark."""


class _Lines:
    """The lines of a table as the csv module asks for them; those of the row in hand can be given back."""

    def __init__(self, file: TextIO, delimiter: str) -> None:
        self._file, self._back = file, deque[str]()
        self.delimiter, self.width = delimiter, 0
        self.taken: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._file)
        self.taken.append(line)
        count = len(self.taken)
        if count >= _ENDLESS and count.bit_count() == 1 and self.are_rows():  # looked at again each time it has doubled
            raise _Open
        return line

    def give_back(self, first: int) -> None:
        """All lines of the row in hand from the `first` on are read again."""
        self._back.extendleft(reversed(self.taken[first:]))
        del self.taken[first:]

    def are_rows(self) -> bool:
        """Whether the row in hand is several, held together by a mark: each line has the header's number of cells by itself. Of
        a single column there is no telling.
        """
        others = [line for line in self.taken[1:] if line.strip()]
        if self.width < 2 or not others or not self._is_row(self.taken[0]):
            return False
        return sum(map(self._is_row, others)) >= _MOSTLY * len(others)

    def _is_row(self, line: str) -> bool:
        return line.count(self.delimiter) == self.width - 1 or len(_cells(line, self.delimiter)) == self.width


def _rows(lines: _Lines) -> Iterator[_Row | str]:
    """The rows below the header; words for one that the csv module refuses.

    It reads strictly: a cell that begins with a quotation mark must end with one. What does not is looked at line by line.
    """
    strict = csv.reader(lines, delimiter=lines.delimiter, strict=True)
    while True:
        lines.taken.clear()
        try:
            cells = next(strict, None)
        except csv.Error as error:
            yield str(error) if "field limit" in str(error) else _mended(lines)
        except _Open:
            yield _first_line(lines)
        else:
            if cells is None:
                return
            yield _Row(cells) if len(lines.taken) < 2 else _checked(cells, lines)


def _checked(cells: list[str], lines: _Lines) -> _Row:
    """A row over several lines whose marks all have their second: as it was read, unless only chance closed the cell."""
    if not lines.are_rows():
        return _Row(cells)
    tabs, count = lines.delimiter == "\t", len(lines.taken)
    if len(cells) != lines.width or (tabs and count > _LONG):  # a tab within a cell is rare, a comma is not
        return _first_line(lines)
    return _Row(cells, LONG_CELL if tabs or count > _LONG else "")


def _mended(lines: _Lines) -> _Row | str:
    """A row with a mark that is not closed, or closed amid a cell."""
    if lines.are_rows() or lines.width == 1:
        return _first_line(lines)
    lines.give_back(0)
    try:
        cells = next(csv.reader(lines, delimiter=lines.delimiter))
    except csv.Error as error:
        return str(error)
    except _Open:
        return _first_line(lines)
    several = len(lines.taken) > 1 and not lines.are_rows()
    return _Row(cells, RUN_ON) if several else _first_line(lines)


def _first_line(lines: _Lines) -> _Row:
    """The first line of what was taken as a row by itself; all others are read again."""
    remark = OPEN_QUOTE if len(lines.taken) > 1 else ""
    lines.give_back(1)
    line, mark = lines.taken[0].rstrip("\r\n"), lines.delimiter
    bare = line.split(mark) if lines.width > 1 else [line]
    fits = len(bare) == lines.width or (len(bare) > lines.width and not any(cell.strip() for cell in bare[lines.width :]))
    return _Row([_unquoted(cell) for cell in bare] if fits else _cells(line, mark), remark)


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _unquoted(cell: str) -> str:
    """A cell without the marks around all of it, which are none of its own: "He said "hi" to me", but not "Yes" and "no"."""
    inside = cell[1:-1]
    wrapped = len(cell) > 1 and cell[0] == cell[-1] == '"' and re.match(r'[^"]*($|""|(?<![^\s(\[])")', inside)
    return inside.replace('""', '"') if wrapped else cell


def _read_header(lines: _Lines, member: Member) -> tuple[list[str], int]:
    """The names of the columns, and the number of the row below them."""
    reader = csv.reader(lines, delimiter=lines.delimiter)
    try:
        first, above = first_cells(reader) if member.mark else (next(reader, []), 0)
        if "".join(first).strip("\ufeff").lower().startswith("sep=") and len(first) <= 2:
            first = next(reader, [])  # Excel's own first line, which names the separator
    except csv.Error as error:
        raise DataError(f"The header line of {member.name} cannot be read: {error}.", hint=_HEADER) from None
    if not member.headed:  # the first line is a row
        lines.give_back(above)
        return _header([""] * len(first)), above + 1
    header = _header(first)
    if len(header) == 1 and not header[0].strip():
        raise DataError(f"{member.name} has no header line.", hint=_HEADER)
    return header, above + 2


def _delimiter(start: str) -> str:
    """The mark between cells: the one that splits the first rows into the most columns of equal number."""
    lines = start.splitlines(keepends=True)
    named = re.match(r"\ufeff?sep=(.)\s*$", lines[0], re.IGNORECASE) if lines else None
    if named and named.group(1) in ",;\t|":
        return named.group(1)

    def columns(mark: str) -> tuple[int, int]:
        rows = [row for row in csv.reader(lines[:30], delimiter=mark) if row]
        width = len(rows[0]) if rows else 0
        return (sum(len(row) == width for row in rows) if width > 1 else 0), width

    return max(",;\t|", key=columns)


def _header(cells: list[str]) -> list[str]:
    """Column names; a name that comes again gets a number, an empty one its place."""
    names: dict[str, int] = {}  # each with the number that its next namesake gets, if that one is free
    for place, cell in enumerate(cells, 1):
        name = plain = cell.strip().lstrip("\ufeff") or f"column {place}"
        while name in names:
            name, names[plain] = f"{plain} ({names[plain]})", names[plain] + 1
        names[name] = 2
    return list(names)
