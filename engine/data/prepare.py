"""Writes the rows a run trains on: train.jsonl and valid.jsonl, streamed, split the same way every time.

A row's side follows from what is asked in it and the seed, so neither copies of a row nor answers to the same prompt lie on
both sides.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine.data.checks import Checks, asked_key, key_of, none_liked
from engine.data.convert import derivation
from engine.data.records import Problem, Remarks
from engine.data.source import Member
from engine.data.stream import Layout, converted, layout
from engine.errors import DataError
from engine.paths import expanded
from engine.spec import RowKind

_FEW = 20
_HELD_OUT = 0.1
_HELD_OUT_MOST = 500
_SHOWN = 200
_TOO_FEW_PROMPTS = "No rows are held out: they answer too few different prompts, and rows of one prompt stay on one side."
# Rows that answer one prompt stay together: so many times the share of held-out rows may be held out for that, at most.
_OVER = 3
# Rows of two sorts are counted in one number, which costs less memory than two: the disliked ones in its lower half.
_LIKED = 1 << 32


@dataclass(frozen=True)
class _Dealt:
    """For every row the place of its content, the place of what is asked in it, and its sort: liked or not, for answers with a
    thumb."""

    places: array[int]
    asked: array[int]
    sorts: bytearray


@dataclass(frozen=True)
class Prepared:
    """What was written and what was left out."""

    source: str
    sha256: str
    bytes: int
    form: str
    mapping: dict[str, str]
    kind: str
    train_rows: int
    valid_rows: int
    own_valid: bool  # the held-out rows came from files of their own
    dropped: int
    problem_counts: dict[str, int]
    problems: list[Problem]
    warnings: list[str]
    liked: float | None = None  # share of the answers with a thumbs up, where rows have thumbs

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def held_out_fraction(rows: int) -> float:
    """The share of rows kept aside when nobody chose: none below 20 rows, a tenth, at most 500 rows."""
    return 0.0 if rows < _FEW else min(_HELD_OUT, _HELD_OUT_MOST / rows)


def prepare(
    path: str | Path,
    kind: RowKind,
    out_dir: Path,
    *,
    form: str | None = None,
    mapping: dict[str, str] | None = None,
    valid_path: str | Path | None = None,
    valid_fraction: float | None = None,
    seed: int = 42,
    max_samples: int | None = None,
    drop_bad_rows: bool = True,
) -> Prepared:
    """Convert everything at `path` into canonical rows of `kind` under `out_dir`.

    Raises:
        DataError: no usable row is left, or there are bad rows and `drop_bad_rows` is off.
    """
    how = layout(path, form, mapping)
    out_dir.mkdir(parents=True, exist_ok=True)
    everything = out_dir / "all.jsonl"
    checks, counts, own_counts = Checks(kind), Counter[str](), Counter[str]()
    problems: list[Problem] = []
    _write(everything, _usable(converted(how.files, how, kind), checks, counts, problems))
    _refuse_empty(how, checks.rows, problems)
    if counts and not drop_bad_rows:
        refuse_bad(sum(counts.values()), problems)
    dealt = _looked_at(everything, kind, seed)
    kept, total = None, len(dealt.places)
    if max_samples and max_samples < total:  # numbers of rows and not places, which copies share
        kept = set(heapq.nsmallest(max_samples, range(total), key=dealt.places.__getitem__))
    aside, told = _own_valid(how, valid_path, form, mapping), len(problems)
    own = None if aside is None else converted(aside.files, aside, kind)
    rows = min(total, max_samples or total)
    share = 0.0 if own is not None else held_out_fraction(rows) if valid_fraction is None else valid_fraction
    train, valid = _split(everything, out_dir, dealt, kept, round(rows * share))
    everything.unlink()
    few = _TOO_FEW_PROMPTS if own is None and round(rows * share) and not valid else ""
    warnings = [*how.notes, few, *how.remarks.sentences(), derivation(how.form, kind), *checks.warnings()]
    if aside is not None and own is not None:
        valid, leaked = _write_own(own, out_dir, kind, own_counts, problems)
        warnings += [f"Held-out rows: {said}" for said in aside.remarks.sentences()]
        if own_counts and not drop_bad_rows:
            refuse_bad(sum(own_counts.values()), problems[told:])
        if leaked:
            warnings.append(f"{leaked} held-out rows are also in the training rows: the held-out loss will look too good.")
    warnings = [*_dropped_words("row", counts), *_dropped_words("held-out row", own_counts), *warnings]
    return Prepared(
        source=str(path),
        sha256=_digest(path, [*how.files, *how.valid_files]),
        bytes=sum(file.size or 0 for file in how.files),
        form=how.form,
        mapping=how.mapping,
        kind=kind,
        train_rows=train,
        valid_rows=valid,
        own_valid=own is not None,
        dropped=sum((counts + own_counts).values()),
        problem_counts=dict(counts + own_counts),
        problems=problems,
        warnings=[w for w in warnings if w],
        liked=checks.liked_share if kept is None or kind != "feedback" else _liked(dealt, kept),
    )


def _usable(
    rows: Iterable[tuple[int, Any]], checks: Checks, counts: Counter[str], problems: list[Problem]
) -> Iterator[dict[str, Any]]:
    for _, row in rows:
        if isinstance(row, Problem):
            counts[row.rule] += 1
            if len(problems) < _SHOWN:
                problems.append(row)
        else:
            checks.see(row)
            yield row


def _refuse_empty(how: Layout, usable: int, problems: list[Problem]) -> None:
    if usable == 0:
        if not problems:  # all of them are left out on purpose
            raise none_liked()
        named = f"No row of {how.files[0].name} can be used. The first problem: {problems[0].message}"
        raise DataError(named, hint="Check the columns.")


def _liked(dealt: _Dealt, kept: set[int]) -> float:
    """Share of the answers with a thumbs up among the rows that are taken: their weights follow from it."""
    return sum(dealt.sorts[row] for row in kept) / len(kept)


def refuse_bad(dropped: int, problems: list[Problem]) -> None:
    """Raise a DataError that names the first of the rows that cannot be used."""
    named = " ".join(problem.message for problem in problems[:3])
    what = "1 row has" if dropped == 1 else f"{dropped} rows have"
    raise DataError(f"{what} problems. {named}", hint="Mend them, or leave rows with problems out.")


def _looked_at(file: Path, kind: RowKind, seed: int) -> _Dealt:
    made = _Dealt(array("Q"), array("Q"), bytearray())
    with file.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            made.places.append(_place(key_of(row, kind), seed))
            made.asked.append(_place(_place(asked_key(row, kind), seed), seed + 1))
            made.sorts.append(kind == "feedback" and bool(row["label"]))
    first, several = dict[int, int](), set[int]()
    for asked, place in zip(made.asked, made.places, strict=True):
        if first.setdefault(asked, place) != place:
            several.add(asked)
    for row, place in enumerate(made.places):  # where nobody else answers the prompt, the whole row says its side
        if made.asked[row] not in several:
            made.asked[row] = _place(place, seed + 1)
    return made


def _split(everything: Path, out_dir: Path, dealt: _Dealt, kept: set[int] | None, valid: int) -> tuple[int, int]:
    """Deal the rows out, in their order in the file; returns how many went to each side."""
    groups = Counter[int]()  # what is asked -> how many of its rows are of either sort
    for row, (asked, sort) in enumerate(zip(dealt.asked, dealt.sorts, strict=True)):
        if kept is None or row in kept:
            groups[asked] += _LIKED if sort else 1
    held = _held_out(groups, valid)
    counts = [0, 0]
    with (
        everything.open(encoding="utf-8") as lines,
        (out_dir / "train.jsonl").open("w", encoding="utf-8") as train,
        (out_dir / "valid.jsonl").open("w", encoding="utf-8") as aside,
    ):
        for row, (line, asked) in enumerate(zip(lines, dealt.asked, strict=True)):
            if kept is not None and row not in kept:
                continue
            is_held = asked in held
            (aside if is_held else train).write(line)
            counts[is_held] += 1
    return counts[0], counts[1]


def _held_out(groups: Counter[int], valid: int) -> set[int]:
    """The groups to hold out, about `valid` rows: those first in place for which there is room; of few and large groups the
    smallest one, if that is not far more. A group is never parted.
    """
    totals = divmod(sum(groups.values()), _LIKED)[::-1]
    shares = _shares({sort: total for sort, total in enumerate(totals) if total}, valid)
    room, held = [shares.get(0, 0), shares.get(1, 0)], set[int]()
    for place in sorted(groups):
        group = divmod(groups[place], _LIKED)[::-1]
        if not any(room):
            break
        if all(count <= left for count, left in zip(group, room, strict=True)):
            held.add(place)
            room = [left - count for count, left in zip(group, room, strict=True)]
    if held or not valid or len(groups) < 2:
        return held
    size, place = min((sum(divmod(group, _LIKED)), place) for place, group in groups.items())
    whole = zip(divmod(groups[place], _LIKED)[::-1], totals, strict=True)
    return (
        {place}
        if all(count < total for count, total in whole if total) and size <= min(_OVER * valid, sum(totals) // 3)
        else held
    )


def _shares(counted: dict[int, int], valid: int) -> dict[int, int]:
    """How many rows of each sort are held out: its share, at least one where there is room, and never all of them."""
    left, shares, total = valid, dict[int, int](), sum(counted.values())
    for sort, size in sorted(counted.items(), key=lambda pair: pair[1]):
        wished = max(round(valid * size / total), int(valid >= len(counted)))
        shares[sort] = min(left if len(shares) == len(counted) - 1 else wished, size - 1)
        left -= shares[sort]
    return shares


def _place(key: int, seed: int) -> int:
    """A row's place in an order that looks random and is the same for the same seed (a multiplicative hash)."""
    return ((key ^ (seed * 0x9E3779B97F4A7C15)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF


def _keys(file: Path, kind: RowKind) -> Iterator[int]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield key_of(json.loads(line), kind)


def _own_valid(how: Layout, valid_path: str | Path | None, form: str | None, mapping: dict[str, str] | None) -> Layout | None:
    """How the person's own held-out file is read, or the files that the data itself names so; None when there are none."""
    if valid_path is not None:
        return layout(valid_path, form or how.form, mapping)
    return replace(how, files=how.valid_files, remarks=Remarks()) if how.valid_files else None


def _write_own(
    rows: Iterable[tuple[int, Any]], out_dir: Path, kind: RowKind, counts: Counter[str], problems: list[Problem]
) -> tuple[int, int]:
    """How many held-out rows were written, and how many of them are trained on as well."""
    trained = set(_keys(out_dir / "train.jsonl", kind))
    checks, found, leaked = Checks(kind), list[Problem](), 0

    def good() -> Iterator[dict[str, Any]]:
        nonlocal leaked
        for row in _usable(rows, checks, counts, found):
            leaked += key_of(row, kind) in trained
            yield row

    written = _write(out_dir / "valid.jsonl", good())
    problems += [replace(problem, message=f"Held-out rows: {problem.message}") for problem in found]
    if not written:
        raise DataError("No row of the held-out file can be used.", hint="It needs the same columns as the training file.")
    return written, leaked


def _write(target: Path, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    # broken bytes in a text are refused before; in a column that is only carried along they become question marks
    with target.open("w", encoding="utf-8", errors="replace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            count += 1
    return count


def _dropped_words(what: str, counts: Counter[str]) -> Iterator[str]:
    """A sentence on the rows that were left out, if there are any."""
    if dropped := sum(counts.values()):
        rules = ", ".join(f"{count} × {rule}" for rule, count in counts.most_common(4))
        were = f"1 {what} with problems was" if dropped == 1 else f"{dropped} {what}s with problems were"
        yield f"{were} left out ({rules})."


def _digest(path: str | Path, files: list[Member]) -> str:
    """SHA-256 of a file as it lies there; of a folder, a part of one or a Hub set that of the files' names and contents."""
    digest, alone = hashlib.sha256(), expanded(path)
    for file in [Member(alone.name, lambda: alone.open("rb"), None)] if alone.is_file() else files:
        digest.update(b"" if alone.is_file() else file.name.encode())
        with file.open() as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
