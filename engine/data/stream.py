"""All rows behind a path, converted: what the preview looks at and what training is prepared from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.data.convert import convert
from engine.data.detect import Detection, detect, detect_mapped, guess_mapping
from engine.data.forms import FORMS
from engine.data.late import LateColumns
from engine.data.readers import FORMAT_NAMES, read
from engine.data.records import RAGGED, Problem, Record, Refused, Remarks
from engine.data.sections import sections
from engine.data.sides import Sides, sides
from engine.data.source import EXPECTED, Member, source_of
from engine.errors import DataError
from engine.spec import RowKind

# Rows from which the form is told.
_LOOKED_AT = 200
# Rows that are searched for a column which a person named and the first rows lack.
_SEARCHED = 20_000
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
    """How a source is read: its files, its columns, the form of its rows and which column plays which role. While its rows are
    converted, optional roles are given to columns that only later rows have, and remarks on rows are gathered.
    """

    files: list[Member]
    valid_files: list[Member]
    columns: list[str]
    detection: Detection | None
    form: str
    mapping: dict[str, str]
    late: LateColumns
    notes: list[str]  # what is to be said of the files as a whole: how they were read, and what in them was not
    remarks: Remarks = field(default_factory=Remarks)


def layout(path: str | Path, form: str | None, mapping: dict[str, str] | None) -> Layout:
    """Look at the first rows and settle form and mapping; what the person chose wins over what was detected.

    Raises:
        DataError: there are no rows at all, or a chosen form or column does not exist.
    """
    source = source_of(path)
    dealt = sides(source.files)
    train, valid = _sections(dealt)
    notes = [*_notes([*train, *valid]), *dealt.notes, *source.notes]
    first = beginning(train)
    if not first:
        problem = next((r for r in all_rows(train) if isinstance(r, Problem)), None)
        found = problem.message if problem else "It has no rows."
        ragged = problem is not None and problem.rule == RAGGED
        hint = "Give each row as many cells as the first line names columns." if ragged else f"Expected {EXPECTED}."
        raise DataError(f"{train[0].name}: no row can be read. {found}", hint=hint)
    columns = list(dict.fromkeys(name for record in first for name in record.values))
    rows = [record.values for record in first]
    all_columns = [*columns, *_later(mapping or {}, columns, train)]
    _refuse_unknown(mapping or {}, all_columns)
    detection, chosen, roles = _settled(rows, all_columns, form, mapping or {})
    left_out = {role for role, column in (mapping or {}).items() if not column}
    return Layout(train, valid, all_columns, detection, chosen, roles, LateColumns(chosen, columns, roles, left_out), notes)


def _settled(
    rows: list[dict[str, Any]], columns: list[str], form: str | None, mapping: dict[str, str]
) -> tuple[Detection | None, str, dict[str, str]]:
    """What was detected, the form that counts, and its columns."""
    found = detect(rows)
    if form is None and mapping and (mapped := detect_mapped(rows, mapping, found)):
        return mapped, mapped.form, dict(mapped.mapping)
    if form is not None and form not in FORMS:
        raise DataError(f"There is no row format {form!r}.", hint=f"Choose one of: {', '.join(FORMS)}.")
    chosen = form or (found.form if found else "")
    if not chosen:
        return found, "", {}
    base = found.mapping if found and found.form == chosen else guess_mapping(chosen, columns)
    merged = {**base, **{k: v for k, v in mapping.items() if v}}
    known = {role.name for role in FORMS[chosen].roles}
    for role in mapping.keys() - known:
        raise DataError(f"Rows of {FORMS[chosen].label} have no {role!r}.", hint=f"They have: {', '.join(sorted(known))}.")
    return found, chosen, {k: v for k, v in merged.items() if mapping.get(k, v)}  # a role mapped to "" is left out


def _sections(dealt: Sides) -> tuple[list[Member], list[Member]]:
    """The files to train on and those held out, with the lists that one of them holds out itself among the latter."""
    train, valid = list[Member](), [part for file in dealt.valid for part in sections(file)]
    for file in dealt.train:
        first, *aside = sections(file)
        train.append(first)
        valid += aside
    return train, valid


def _notes(files: list[Member]) -> list[str]:
    """What is said of how files are read, each sentence once, with the files' names where there are several."""
    guesses: dict[str, list[str]] = {}
    for file in files:
        guesses.setdefault(file.note, []).append(file.place)
    return [
        note if len(files) == 1 else f"{', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)}: {note}"
        for note, names in guesses.items()
        if note
    ]


def _later(mapping: dict[str, str], columns: list[str], files: list[Member]) -> list[str]:
    """Columns that a person named and that are none of the first rows', but some later row's."""
    sought = {column for column in mapping.values() if column} - set(columns)
    if not sought or (
        len(files) == 1 and files[0].format in ("csv", "parquet", "arrow", "text")
    ):  # whose rows all have the same ones
        return []
    found: dict[str, None] = {}
    for record in itertools.islice(all_rows(files), _SEARCHED):
        if isinstance(record, Record):
            found |= dict.fromkeys(name for name in record.values if name in sought)
            if len(found) == len(sought):
                break
    return list(found)


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
            last = record.row if isinstance(record, Problem) else record.number
            made = record if isinstance(record, Problem) else _seen(record, how, kind, before)
            if isinstance(made, Problem) and len(files) > 1:
                made = replace(made, row=last + before, message=f"{file.place}: {made.message}")
            yield last + before, made
        before += last if len(files) > 1 else 0


def _seen(record: Record, how: Layout, kind: RowKind, before: int) -> dict[str, Any] | Problem | None:
    """The row converted, once its columns and what is odd about it are noted."""
    how.late.see(record.number + before, record.values)
    if record.remark:
        how.remarks.see(record.remark, record.number + before)
    return _one(record, how, kind)


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


def _one(record: Record, how: Layout, kind: RowKind) -> dict[str, Any] | Problem | None:
    number = record.number
    try:
        return convert(record.values, how.form, how.mapping, kind)
    except Refused as refused:
        return Problem(number, refused.column, refused.rule, f"Row {number}: {refused.message}")
    except RecursionError:
        return Problem(number, "", "too deep", f"Row {number} is nested too deeply.")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
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
