"""Which texts are tables, and whether the first line of one names its columns."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.data.forms import FORMS

# Anki begins its exports with lines about them, of which one may name the columns.
_ABOUT = re.compile(r"#[a-z ]+:")
_COLUMNS = "#columns:"
_LINE = re.compile(r"\r\n|\r|\n")
_NAMES = {name for form in FORMS.values() for role in form.roles for name in role.columns}
_NAMES |= {"front", "back", "term", "definition"}


def looks_like_table(text: str) -> bool:
    """Whether the first lines have equally many of a mark that parts cells."""
    lines = [line for line in text.splitlines()[:10] if line.strip()]
    return len(lines) > 1 and any(
        lines[0].count(mark) and all(line.count(mark) == lines[0].count(mark) for line in lines[:-1]) for mark in ",;\t"
    )


def tabbed(text: str, cut: bool) -> bool:
    """Whether every line of a text has equally many tabs, as Excel, Anki and Quizlet write tables; the last may be cut off."""
    lines = _rows(text)
    lines = lines[:-1] if cut else lines
    return len(lines) > 1 and {line.count("\t") for line in lines} == {lines[0].count("\t")} != {0}


def names_columns(text: str) -> bool:
    """Whether the first line of a table with tabs names its columns, and is no row: a card of Anki's is one."""
    if any(line.startswith(_COLUMNS) for line in _LINE.split(text)[:20]):
        return True
    first = next(iter(_rows(text)), "")
    return any(cell.strip().strip('"').lower() in _NAMES for cell in first.split("\t"))


def first_cells(rows: Iterator[list[str]]) -> tuple[list[str], int]:
    """The first cells of a table behind what Anki says about it, and how many lines that took."""
    number = 0
    for number, cells in enumerate(rows):
        if not cells or not _ABOUT.match(cells[0]):
            return cells, number
        if cells[0].startswith(_COLUMNS):
            return [cells[0].removeprefix(_COLUMNS), *cells[1:]], number
    return [], number


def _rows(text: str) -> list[str]:
    return [line for line in _LINE.split(text) if line.strip() and not _ABOUT.match(line)]
