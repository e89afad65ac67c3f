"""All rows behind a path, converted: what the preview looks at and what training is prepared from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.convert import convert
from engine.data.detect import Detection, detect, detect_mapped, guess_mapping
from engine.data.forms import FORMS
from engine.data.parts import split_of
from engine.data.readers import FORMAT_NAMES, read
from engine.data.records import Problem, Record, Refused
from engine.data.source import EXPECTED, Member, members
from engine.errors import DataError
from engine.spec import RowKind

# Rows from which the form is told.
_LOOKED_AT = 200
# Characters after which no more rows are kept.
MOST_KEPT = 16 << 20
KIND_WORDS: dict[str, str] = {
    "text": "plain text",
    "chat": "questions with answers, or conversations",
    "preference": "a better and a worse answer to each prompt",
    "prompts": "prompts",
    "feedback": "answers with a thumbs up or down",
}


@dataclass(frozen=True)
class Layout:
    """How a source is read: its files, its columns, the form of its rows and which column plays which role."""

    files: list[Member]
    valid_files: list[Member]
    columns: list[str]
    detection: Detection | None
    form: str
    mapping: dict[str, str]


def layout(path: str | Path, form: str | None, mapping: dict[str, str] | None) -> Layout:
    """Look at the first rows and settle form and mapping; what the person chose wins over what was detected.

    Raises:
        DataError: there are no rows at all, or a chosen form or column does not exist.
    """
    train, valid = _split_files(members(path))
    first = beginning(train)
    if not first:
        problem = next((r for r in all_rows(train) if isinstance(r, Problem)), None)
        found = problem.message if problem else "It has no rows."
        raise DataError(f"{train[0].name}: no row can be read. {found}", hint=f"Expected {EXPECTED}.")
    columns = list(dict.fromkeys(name for record in first for name in record.values))
    rows = [record.values for record in first]
    _refuse_unknown(mapping or {}, columns)
    found = detect(rows)
    if form is None and mapping and (mapped := detect_mapped(rows, mapping, found)):
        return Layout(train, valid, columns, mapped, mapped.form, mapped.mapping)
    if form is not None and form not in FORMS:
        raise DataError(f"There is no row format {form!r}.", hint=f"Choose one of: {', '.join(FORMS)}.")
    chosen = form or (found.form if found else "")
    if not chosen:
        return Layout(train, valid, columns, found, "", {})
    base = found.mapping if found and found.form == chosen else guess_mapping(chosen, columns)
    merged = {**base, **{k: v for k, v in (mapping or {}).items() if v}}
    known = {role.name for role in FORMS[chosen].roles}
    for role in (mapping or {}).keys() - known:
        raise DataError(f"Rows of {FORMS[chosen].label} have no {role!r}.", hint=f"They have: {', '.join(sorted(known))}.")
    merged = {k: v for k, v in merged.items() if (mapping or {}).get(k, v)}  # a role mapped to "" is left out
    return Layout(train, valid, columns, found, chosen, merged)


def _refuse_unknown(mapping: dict[str, str], columns: list[str]) -> None:
    for column in mapping.values():
        if column and column not in columns:
            raise DataError(f"There is no column {column!r}.", hint=f"The columns are: {', '.join(columns[:20])}.")


def converted(files: list[Member], how: Layout, kind: RowKind) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """Every row of `files` as a canonical row of `kind`, or as a problem. Row numbers run on from file to file."""
    return ((number, row) for number, row in every(files, how, kind) if row is not None)


def every(files: list[Member], how: Layout, kind: RowKind) -> Iterator[tuple[int, dict[str, Any] | Problem | None]]:
    """As `converted`, with None for a row that is left out on purpose: a disliked answer, for who learns from liked ones."""
    check_serves(how, kind)
    before = 0
    for file in files:
        last = 0
        for record in read(file):
            if isinstance(record, Problem):
                last = record.row
                yield record.row + before, record
                continue
            last = record.number
            yield record.number + before, _one(record, how, kind, before)
        before += last if len(files) > 1 else 0


def check_serves(how: Layout, kind: RowKind) -> None:
    """Raise a DataError when rows of this form cannot be turned into `kind`, or a role has no column."""
    if not how.form:
        others = "; ".join(words for other, words in KIND_WORDS.items() if other != kind)
        if how.detection:
            raise DataError(how.detection.why, hint=f"This training takes {KIND_WORDS[kind]}. Others take: {others}.")
        raise DataError(
            f"The columns {listed(how.columns)} do not say what they are.",
            hint=f"This training takes {KIND_WORDS[kind]}. Others take: {others}. Say what the rows are, and then which column "
            "is which.",
        )
    form = FORMS[how.form]
    if kind not in form.kinds:
        raise DataError(
            f"This file holds {form.label}; this trainer needs {KIND_WORDS[kind]}.",
            hint=f"{_readers_of(form.kinds)} Else choose another file, or correct the format and its columns.",
        )
    if missing := lacking(how):
        raise DataError(
            f"No column is chosen for: {', '.join(missing)}.", hint=f"The columns are: {', '.join(how.columns[:20])}."
        )


def listed(columns: list[str], most: int = 12) -> str:
    more = len(columns) - most
    return ", ".join(columns[:most]) + (f" and {more} more" if more > 0 else "")


def lacking(how: Layout) -> list[str]:
    """What a row of the form must have and no column is known for, by its label."""
    roles = FORMS[how.form].roles if how.form else ()
    return [role.label for role in roles if role.required and role.name not in how.mapping]


def _readers_of(kinds: tuple[RowKind, ...]) -> str:
    from engine.registry import specs

    ids = [spec.id for spec in specs().values() if spec.rows in kinds]
    return f"Trainers that read it: {', '.join(ids)}."


def format_name(file: Member) -> str:
    packed = {"gzip": ", gzipped", "zip": ", zipped"}.get(file.compression, "")
    return FORMAT_NAMES[file.format] + packed


def _one(record: Record, how: Layout, kind: RowKind, before: int) -> dict[str, Any] | Problem | None:
    try:
        return convert(record.values, how.form, how.mapping, kind)
    except Refused as refused:
        number = record.number + before
        return Problem(number, refused.column, refused.rule, f"Row {number}: {refused.message}")
    except RecursionError:
        return Problem(record.number + before, "", "too deep", f"Row {record.number + before} is nested too deeply.")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        number = record.number + before
        return Problem(number, "", "unreadable", f"Row {number} cannot be read ({type(error).__name__}: {error}).")


def beginning(files: list[Member]) -> list[Record]:
    """The first rows that can be read: enough to tell what the others hold, and no more than fit into little memory."""
    first: list[Record] = []
    held = 0
    for record in itertools.islice(all_rows(files), _LOOKED_AT):
        if isinstance(record, Record):
            first.append(record)
            held += written(record.values)
            if held > MOST_KEPT:
                break
    return first


def written(values: Any) -> int:
    """Characters of all text in a row as it stands in the file, however deep it lies."""
    total, left = 0, [values]
    while left:
        value = left.pop()
        if isinstance(value, (str, bytes)):
            total += len(value)
        elif isinstance(value, (list, dict)):
            left += value.values() if isinstance(value, dict) else value
    return total


def characters(row: dict[str, Any]) -> int:
    """How many characters of text a canonical row holds."""
    return sum(len(v) if isinstance(v, str) else _turn_characters(v) for v in row.values() if isinstance(v, (str, list)))


def _turn_characters(turns: list[Any]) -> int:
    return sum(len(str(t.get("content") or "")) if isinstance(t, dict) else len(str(t)) for t in turns)


def all_rows(files: list[Member]) -> Iterator[Record | Problem]:
    """Every row of every file as it stands there."""
    for file in files:
        yield from read(file)


def _split_files(files: list[Member]) -> tuple[list[Member], list[Member]]:
    """Training files, and those that a folder or archive itself names as held out. `test` files are left alone."""
    if len(files) == 1:
        return files, []
    splits = {id(f): split_of(f.name) or f.split for f in files}
    train = [f for f in files if splits[id(f)] == "train"]
    valid = [f for f in files if splits[id(f)] == "valid"]
    if train:
        return train, valid
    rest = [f for f in files if f not in valid and splits[id(f)] != "test"]
    return rest or files, valid if rest else []
