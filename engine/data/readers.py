"""One reader for each file format: a member in, records and problems out, a row at a time."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from engine.data.arrow import arrow
from engine.data.json_stream import LARGEST_VALUE, BrokenJson, JsonStream, parse
from engine.data.parquet import parquet
from engine.data.records import Problem, Record
from engine.data.source import Member, text_of
from engine.data.tables import first_cells
from engine.data.turns import begins_a_talk, transcript
from engine.errors import DataError

Rows = Iterator[Record | Problem]

# Columns that hold a list although the object is one row; any other list of objects in an object is the data itself.
ROW_LISTS = frozenset(
    [
        "messages",
        "conversations",
        "conversation",
        "chat",
        "dialog",
        "dialogue",
        "dialogs",
        "turns",
        "prompt",
        "completion",
        "chosen",
        "rejected",
        "tools",
        "input",
        "preferred_output",
        "non_preferred_output",
        "functions",
    ]
)
# What only a turn of a conversation has.
_OF_A_TURN = frozenset(["role", "from", "sender", "speaker", "author", "content", "value"])
# Paragraphs of a plain text are joined into documents of about this many characters, and one that is longer ends there.
_DOCUMENT = 2000
# A talk in one block may be longer, for its turns belong together.
_TALK = 100_000
_LARGEST_COLUMNS_FILE = 512 << 20
_HEADER = "The first line names the columns."


def read(member: Member) -> Rows:
    """Every row of one file."""
    yield from _READERS[member.format](member)


def _jsonl(member: Member) -> Rows:
    with text_of(member) as file:
        for number, line in _lines(file):
            if len(line) > LARGEST_VALUE:
                yield Problem(number, "", "too large", f"Line {number} is longer than {LARGEST_VALUE >> 20} MB.")
                continue
            if not line.strip():
                continue
            try:
                yield _record(number, parse(line))
            except ValueError as error:
                yield Problem(number, "", "not JSON", f"Line {number} is not JSON: {error}.")


def _record(number: int, value: Any) -> Record | Problem:
    if isinstance(value, dict):
        return Record(number, value)
    if isinstance(value, str):
        return Record(number, {"text": value})
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return Record(number, {"messages": value})
    kind = {list: "a list", type(None): "nothing"}.get(type(value), "a bare value")
    return Problem(number, "", "no object", f"Row {number} is {kind}; expected an object with named columns.")


def _json(member: Member) -> Rows:
    with text_of(member) as file:
        stream = JsonStream(file)
        try:
            if stream.peek() == "[":
                yield from (_record(number, value) for number, value in enumerate(stream.items(), 1))
            else:
                yield from _json_object(stream, member)
                number = 1
                while stream.peek() == "{":  # objects one after another, without an array around them
                    yield _record(number := number + 1, stream.value())
        except BrokenJson as error:
            raise DataError(
                f"{member.name} is not JSON: line {error.line}: {error}.",
                hint="It may have been cut off. Make it again.",
            ) from None


def _json_object(stream: JsonStream, member: Member) -> Rows:
    """One object: a row by itself, an object of columns, or a wrapper around the list that is the data."""
    values: dict[str, Any] = {}
    stream.take("{")
    while stream.peek() != "}":
        if stream.peek() != '"':
            stream.take('"')  # says what is there instead of a name
        key = stream.value()
        stream.take(":")
        if stream.peek() == "[" and str(key).lower() not in ROW_LISTS:
            found = yield from _listed(stream, member)
            if found is None:
                return
            values[key] = found
        else:
            values[key] = stream.value()
        if stream.peek() == ",":
            stream.take(",")
        elif stream.peek() != "}":
            stream.take("}")
    stream.take("}")
    if (inner := _wrapped(values)) is not None:
        yield from (_record(number, row) for number, row in enumerate(inner, 1))
        return
    columns = [v for v in values.values() if isinstance(v, list)]
    if columns and len(columns) == len(values) and len({len(c) for c in columns}) == 1 and not set(values) <= ROW_LISTS:
        for number, row in enumerate(zip(*columns, strict=True), 1):
            yield Record(number, dict(zip(values, row, strict=True)))
    else:
        yield Record(1, values)


def _wrapped(values: dict[str, Any]) -> list[Any] | None:
    """The rows of an export that calls its list of conversations what a row calls its one: each item holds turns itself."""
    for name, found in values.items():
        if name.lower() in ROW_LISTS and isinstance(found, list) and found and all(map(_holds_turns, found)):
            return found
    return None


def _holds_turns(item: Any) -> bool:
    if isinstance(item, list):
        return bool(item) and all(isinstance(turn, dict) for turn in item)
    if not isinstance(item, dict) or _OF_A_TURN & {name.lower() for name in item}:
        return False
    lists = [value for name, value in item.items() if name.lower() in ROW_LISTS and isinstance(value, list)]
    return any(value and isinstance(value[0], dict) for value in lists)


def _listed(stream: JsonStream, member: Member) -> Any:
    """A list inside the outer object: its objects are the rows (then None is returned), else it is a column."""
    items, column = stream.items(), []
    for number, value in enumerate(items, 1):
        if isinstance(value, dict):
            yield _record(number, value)
            yield from (_record(n, v) for n, v in enumerate(items, number + 1))
            return None
        column.append(value)
        if len(column) % 100_000 == 0 and (member.size or 0) > _LARGEST_COLUMNS_FILE:
            raise DataError(f"{member.name} holds whole columns and is too large to turn.", hint="Save it as JSON Lines.")
    return column


def _csv(member: Member) -> Rows:
    csv.field_size_limit(LARGEST_VALUE)
    with text_of(member) as file:
        delimiter = member.mark or _delimiter(file.read(1 << 16))
    with text_of(member) as file:  # opened again, for what comes out of an archive cannot be wound back
        reader = csv.reader(file, delimiter=delimiter, strict=False)
        try:
            first, number = first_cells(reader) if member.mark else (next(reader, []), 0)
            if "".join(first).strip("\ufeff").lower().startswith("sep=") and len(first) <= 2:
                first = next(reader, [])  # Excel's own first line, which names the separator
            header = _header(first if member.headed else [""] * len(first))
        except csv.Error as error:
            raise DataError(f"The header line of {member.name} cannot be read: {error}.", hint=_HEADER) from None
        if len(header) == 1 and not header[0].strip():
            raise DataError(f"{member.name} has no header line.", hint=_HEADER)
        unread = [] if member.headed else [first]
        number += len(unread) == 0  # as a spreadsheet counts: a row may run over several lines, and the header is the first
        while True:
            number += 1
            try:
                cells = unread.pop() if unread else next(reader, None)
            except csv.Error as error:
                yield Problem(number, "", "bad table row", f"Row {number} cannot be read: {error}.")
                continue
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                message = f"Row {number} has {len(cells)} cells, the header names {len(header)} columns."
                yield Problem(number, "", "ragged row", message)
            else:
                yield Record(number, dict(zip(header, cells, strict=True)))


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


def _text(member: Member) -> Rows:
    """Paragraphs (blocks between blank lines), joined into documents of about 2000 characters; a question with its answer in
    one block is a row by itself. Each has the number of its first line. A block without an end is cut at the ends of lines.
    """
    held: list[str] = []
    start = 1
    with text_of(member) as file:
        for number, paragraph in _paragraphs(file):
            alone = begins_a_talk(paragraph)
            if held and (alone or sum(map(len, held)) >= _DOCUMENT):
                yield Record(start, {"text": "\n\n".join(held)})
                held = []
            if alone:
                yield Record(number, {"text": paragraph})
                continue
            start = start if held else number
            held.append(paragraph)
    if held:
        yield Record(start, {"text": "\n\n".join(held)})


def _paragraphs(file: TextIO) -> Iterator[tuple[int, str]]:
    """Each with the number of its first line."""
    lines: list[str] = []
    start, size, most = 1, 0, _DOCUMENT
    for number, line in _lines(file):
        if lines and (size >= most or not line.strip()):
            yield start, "\n".join(lines)
            lines = []
        if not line.strip():
            continue
        if not lines:
            start, size, most = number, 0, _TALK if transcript(line) else _DOCUMENT
        lines.append(line.rstrip("\r\n"))
        size += len(line)
    if lines:
        yield start, "\n".join(lines)


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    """Numbered lines, each held to a little over the largest value; the rest of a longer one is skipped."""
    number = 0
    while line := file.readline(LARGEST_VALUE + 1):
        number += 1
        yield number, line
        while len(line) > LARGEST_VALUE and not line.endswith("\n") and line:
            line = file.readline(LARGEST_VALUE + 1)


_READERS: dict[str, Callable[[Member], Rows]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
    "parquet": parquet,
    "arrow": arrow,
    "text": _text,
}
FORMAT_NAMES = {
    "jsonl": "JSON Lines",
    "json": "JSON",
    "csv": "table (CSV)",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "text": "plain text",
}
