"""JSON and JSON Lines: records out of lines, of an array, of an object of columns, or of an object around the list of rows."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, TextIO

from engine.data.json_stream import LARGEST_VALUE, BrokenJson, JsonStream, parse
from engine.data.parts import SPLITS
from engine.data.records import Problem, Record
from engine.data.source import Member, text_of
from engine.data.turns import is_plain_turn, makes_a_talk
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
_LARGEST_COLUMNS_FILE = 512 << 20
# An array of more turns than this is no single conversation.
_MOST_TURNS = 10_000
_NOTHING = object()
# What the Hub's viewer puts around each row.
_VIEWER_ROW = frozenset(["row_idx", "row", "truncated_cells"])


def json_lines(member: Member) -> Rows:
    """Every line of a file of JSON Lines."""
    with text_of(member) as file:
        for number, line in bounded_lines(file):
            if len(line) > LARGEST_VALUE:
                yield Problem(number, "", "too large", f"Line {number} is longer than {LARGEST_VALUE >> 20} MB.")
                continue
            if not line.strip():
                continue
            try:
                yield _record(number, parse(line))
            except ValueError as error:
                yield Problem(number, "", "not JSON", f"Line {number} is not JSON: {error}.")


def json_document(member: Member) -> Rows:
    """Every row of a JSON file.

    Raises:
        DataError: it is not JSON.
    """
    with text_of(member) as file:
        stream = JsonStream(file)
        try:
            if stream.peek() == "[":
                yield from _array(stream.items())
            else:
                yield from _object(stream, member)
                number = 1
                while stream.peek() == "{":  # objects one after another, without an array around them
                    yield _record(number := number + 1, stream.value())
        except BrokenJson as error:
            raise DataError(
                f"{member.name} is not JSON: line {error.line}: {error}.",
                hint="It may have been cut off. Make it again.",
            ) from None


def bounded_lines(file: TextIO) -> Iterator[tuple[int, str]]:
    """Numbered lines, each held to a little over the largest value; the rest of a longer one is skipped."""
    number = 0
    while line := file.readline(LARGEST_VALUE + 1):
        number += 1
        yield number, line
        while len(line) > LARGEST_VALUE and not line.endswith("\n") and line:
            line = file.readline(LARGEST_VALUE + 1)


def members_of(stream: JsonStream) -> Iterator[str]:
    """The names in the object that comes next; whoever asks takes each value before the next name."""
    stream.take("{")
    while stream.peek() != "}":
        if stream.peek() != '"':
            stream.take('"')  # says what is there instead of a name
        key = stream.value()
        stream.take(":")
        yield str(key)
        if stream.peek() == ",":
            stream.take(",")
        elif stream.peek() != "}":
            stream.take("}")
    stream.take("}")


def alike(one: set[str], other: set[str]) -> bool:
    """Whether rows of these columns belong together: the same ones, or all of the one's among the other's."""
    return one == other or (len(one & other) > 1 and (one <= other or other <= one))


def _record(number: int, value: Any) -> Record | Problem:
    if isinstance(value, dict):
        inner = value["row"] if value.keys() == _VIEWER_ROW else None
        return Record(number, inner if isinstance(inner, dict) else value)
    if isinstance(value, str):
        return Record(number, {"text": value})
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return Record(number, {"messages": value})
    kind = {list: "a list", type(None): "nothing"}.get(type(value), "a bare value")
    return Problem(number, "", "no object", f"Row {number} is {kind}; expected an object with named columns.")


def _array(items: Iterable[Any]) -> Rows:
    """One row an item; an array of nothing but turns is one conversation, as it is on one line of JSON Lines."""
    turns: list[Any] | None = []
    size = 0
    for number, value in enumerate(items, 1):
        if turns is not None:
            if is_plain_turn(value) and len(turns) < _MOST_TURNS and size < LARGEST_VALUE:
                turns.append(value)
                size += sum(len(part) for part in value.values() if isinstance(part, str))
                continue
            yield from (_record(n, turn) for n, turn in enumerate(turns, 1))
            turns = None
        yield _record(number, value)
    if turns and makes_a_talk(turns):
        yield Record(1, {"messages": turns})
    elif turns:
        yield from (_record(n, turn) for n, turn in enumerate(turns, 1))


def _object(stream: JsonStream, member: Member) -> Rows:
    """One object: a row by itself, an object of columns, or a wrapper around lists of rows."""
    values: dict[str, Any] = {}
    lists = _Lists(member)
    for key in members_of(stream):
        if stream.peek() != "[" or key.lower() in ROW_LISTS:
            values[key] = stream.value()
        elif (column := (yield from lists.read(key, stream))) is not None:
            values[key] = column
    if lists.found:
        return
    if (inner := _wrapped(values)) is not None:
        yield from (_record(number, row) for number, row in enumerate(inner, 1))
        return
    columns = [v for v in values.values() if isinstance(v, list)]
    if columns and len(columns) == len(values) and len({len(c) for c in columns}) == 1 and not set(values) <= ROW_LISTS:
        for number, row in enumerate(zip(*columns, strict=True), 1):
            yield Record(number, dict(zip(values, row, strict=True)))
    else:
        yield Record(1, values)


class _Lists:
    """The lists within one object. Those of objects are rows, numbered on from list to list."""

    def __init__(self, member: Member) -> None:
        self._member, self._number = member, 0
        self._columns = set[str]()
        self.found = False

    def read(self, name: str, stream: JsonStream) -> Generator[Record | Problem, None, list[Any] | None]:
        """The rows of the list that comes next; returns a list that is a column, and None for all others."""
        items = stream.items()
        if name in self._member.beside:
            self.found = True
            for _ in items:
                pass
            return None
        first = next(items, _NOTHING)
        if not isinstance(first, dict):
            return [] if first is _NOTHING else self._column(first, items)
        if not self._columns:
            self._columns = set(first)
        elif name not in self._member.lists and (held := _held_out(name, first, self._columns)):  # too late to be looked at
            count = sum(1 for _ in items) + 1
            message = f"After row {self._number}: the list {name[:40]!r} of {count} rows {held}, and was left out."
            yield Problem(self._number, "", "another list", message)
            return None
        self.found = True
        yield self._numbered(first)
        yield from map(self._numbered, items)
        return None

    def _numbered(self, value: Any) -> Record | Problem:
        self._number += 1
        return _record(self._number, value)

    def _column(self, first: Any, items: Iterator[Any]) -> list[Any]:
        column = [first]
        for value in items:
            column.append(value)
            if len(column) % 100_000 == 0 and (self._member.size or 0) > _LARGEST_COLUMNS_FILE:
                raise DataError(
                    f"{self._member.name} holds whole columns and is too large to turn.", hint="Save it as JSON Lines."
                )
        return column


def _held_out(name: str, first: dict[str, Any], columns: set[str]) -> str:
    """Why a list that comes after other rows is none of them; "" when it is."""
    if SPLITS.get(name.lower()) in ("valid", "test"):
        return "is not to be trained on"
    return "" if alike(set(first), columns) else "has other columns"


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
