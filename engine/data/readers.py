"""One reader for each file format: a member in, records and problems out, a row at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.data.arrow import arrow
from engine.data.documents import text
from engine.data.json_files import json_document, json_lines
from engine.data.parquet import parquet
from engine.data.records import Problem, Record
from engine.data.source import Member
from engine.data.tables import table

Rows = Iterator[Record | Problem]


def read(member: Member) -> Rows:
    """Every row of one file."""
    yield from _READERS[member.format](member)


_READERS: dict[str, Callable[[Member], Rows]] = {
    "jsonl": json_lines,
    "json": json_document,
    "csv": table,
    "parquet": parquet,
    "arrow": arrow,
    "text": text,
}
FORMAT_NAMES = {
    "jsonl": "JSON Lines",
    "json": "JSON",
    "csv": "table (CSV)",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "text": "plain text",
}
