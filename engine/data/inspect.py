"""What is in a file: the first rows, their form, what is wrong, and how many there are; at once, however large it is."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.data.checks import Checks
from engine.data.convert import asking, derivation
from engine.data.count import Look, count, looked
from engine.data.detect import unused
from engine.data.forms import FORMS, Role
from engine.data.records import Problem, Record
from engine.data.stream import (
    MOST_KEPT,
    Layout,
    beginning,
    characters,
    check_serves,
    every,
    format_name,
    lacking,
    layout,
    listed,
)
from engine.spec import RowKind

_SHOWN_CELL = 2000


@dataclass(frozen=True)
class Column:
    """One column of the file: what it holds, the share of the looked-at rows that fill it, and an example."""

    name: str
    type: str
    filled: float
    example: str


@dataclass(frozen=True)
class Inspection:
    """Everything the page shows of a file. Row counts beyond the rows looked at are estimated from bytes."""

    name: str
    file_format: str
    encoding: str
    size_bytes: int
    rows: int
    rows_exact: bool
    columns: list[Column]
    form: str
    form_label: str
    why: str
    mapping: dict[str, str]
    roles: list[Role]
    kinds: list[RowKind]
    kind: RowKind | None
    conversion_note: str
    raw: list[tuple[int, dict[str, Any]]]
    examples: list[tuple[int, dict[str, Any]]]
    problems: list[Problem]
    problem_counts: dict[str, int]
    looked_at: int
    warnings: list[str]
    lengths: list[int] = field(default_factory=list)
    held_out: int | None = None  # rows of the files that the data itself names as held out
    liked: float | None = None  # share of the answers looked at with a thumbs up, where rows have thumbs

    @property
    def usable(self) -> int:
        """How many of the rows looked at can be used."""
        return len(self.lengths)

    @property
    def comparable(self) -> list[str]:
        """Columns that an answer can be compared with: those that are no part of the prompt."""
        used = asking(self.mapping)
        return [column.name for column in self.columns if column.name not in used]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def inspect(
    path: str | Path,
    kind: RowKind | None = None,
    *,
    form: str | None = None,
    mapping: dict[str, str] | None = None,
    limit: int = 20,
    check_rows: int = 5000,
) -> Inspection:
    """Look at the first `check_rows` rows of the data at `path`, as rows of `kind` (None: the one that fits best).

    Raises:
        DataError: it is no data set, or cannot serve `kind`.
    """
    how = layout(path, form, mapping)
    first = beginning(how.files)
    kinds = list(FORMS[how.form].kinds) if how.form else []
    kind = kind or (kinds[0] if kinds and not lacking(how) else None)
    checks = Checks(kind or "text")
    problems: list[Problem] = []
    counts: Counter[str] = Counter()
    examples: list[tuple[int, dict[str, Any]]] = []
    lengths: list[int] = []
    kept = 0
    if kind is not None:
        check_serves(how, kind)
        look = Look(every(how.files, how, kind), check_rows)  # the file's own rows, whatever is made of them
        for number, row in look:
            if row is None:
                continue
            if isinstance(row, Problem):
                counts[row.rule] += 1
                problems.append(row)
                continue
            checks.see(row)
            lengths.append(characters(row))
            look.weigh(lengths[-1])
            kept += lengths[-1]
            if len(examples) < limit and (kept <= MOST_KEPT or not examples):
                examples.append((number, row))
        rows, exact = count(how.files, look)
    else:
        look, rows, exact = looked(how.files, check_rows)
    raw, columns = _raw(how, first, limit, look.seen)  # after the look, which meets columns that the first rows lack
    file = how.files[0]
    return Inspection(
        name=Path(path).name,
        file_format=format_name(file) + (f", {len(how.files)} files" if len(how.files) > 1 else ""),
        encoding=file.encoding,
        size_bytes=sum(file.size or 0 for file in how.files),
        rows=rows,
        rows_exact=exact,
        columns=columns,
        form=how.form,
        form_label=FORMS[how.form].label if how.form else "rows of an unknown kind",
        why=_why(how, kind, [record.values for record in first]),
        mapping=how.mapping,
        roles=list(FORMS[how.form].roles) if how.form else [],
        kinds=kinds,
        kind=kind,
        conversion_note=derivation(how.form, kind) if how.form and kind else "",
        raw=raw,
        examples=examples,
        problems=problems[:200],
        problem_counts=dict(counts),
        looked_at=look.seen,
        warnings=[*how.notes, *how.remarks.sentences(), *checks.warnings()],
        lengths=lengths,
        held_out=looked(how.valid_files, check_rows)[1] if how.valid_files else None,
        liked=checks.liked_share,
    )


def _why(how: Layout, kind: RowKind | None, rows: list[dict[str, Any]]) -> str:
    if missing := lacking(how):
        return f"No column is chosen for: {', '.join(missing)}."
    if how.detection and how.detection.mapping == {k: v for k, v in how.mapping.items() if v not in how.late.found}:
        left = unused(rows, how.detection) if kind != "prompts" else []
        return how.detection.why + how.late.why() + (f" Not used: {listed(left)}." if left else "")
    if how.form and how.mapping:
        labels = {role.name: role.label for role in FORMS[how.form].roles}
        read = ", ".join(f"{column} as “{labels[role]}”" for role, column in how.mapping.items())
        return f"As it is set below: {read}."
    return "No column has a name that says what it is; choose what each one holds."


def _raw(how: Layout, records: list[Record], limit: int, seen: int) -> tuple[list[tuple[int, dict[str, Any]]], list[Column]]:
    """The first rows as they stand in the file, with long cells cut for showing, and what each column holds."""
    shown = [(r.number, {k: _short(v) for k, v in r.values.items()}) for r in records[:limit]]
    columns = []
    for name in dict.fromkeys([*how.columns, *how.late.found]):
        if late := how.late.found.get(name):
            columns.append(Column(name, _type(late.example), late.filled / max(seen, 1), str(_short(late.example))[:80]))
            continue
        cells = [r.values.get(name) for r in records]
        filled = [c for c in cells if c not in (None, "", [])]
        kinds = Counter(_type(c) for c in filled)
        example = str(_short(filled[0]))[:80] if filled else ""
        most = kinds.most_common(1)[0][0] if kinds else "nothing"
        columns.append(Column(name, most, len(filled) / max(len(cells), 1), example))
    return shown, columns


def _short(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return value[:_SHOWN_CELL] + "…" if isinstance(value, str) and len(value) > _SHOWN_CELL else value


def _type(value: Any) -> str:
    names = {bool: "yes or no", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return names.get(type(value), type(value).__name__)
