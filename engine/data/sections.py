"""The lists of rows in one JSON object: which are trained on, which are held out, and which are neither, and said."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from engine.data.json_files import ROW_LISTS, alike, members_of
from engine.data.json_stream import BrokenJson, JsonStream
from engine.data.parts import SPLITS, split_of
from engine.data.source import Member, text_of

# Characters of a file that are looked at, more only until a list is found that is not held out; a list that begins later is
# settled when its rows are read.
_LOOKED_AT = 16 << 20
# Rows from which a list's columns are told.
_FIRST = 20


@dataclass
class _List:
    """A list of objects: how many were seen, and what the first of them have."""

    name: str
    rows: int = 0
    columns: set[str] = field(default_factory=set)

    @property
    def split(self) -> str:
        return SPLITS.get(self.name.lower(), "")


def sections(member: Member) -> list[Member]:
    """The member as it is; or, where it is an object of several lists, its rows, and apart from them those it holds out."""
    found, whole = _lists(member) if member.format == "json" else ([], True)
    if len(found) < 2:
        return [member]
    place = split_of(member.name) or SPLITS.get(member.split, "")
    train = [one for one in found if one.split == "train"] or [one for one in found if not one.split] or found
    most = max(train, key=lambda one: one.rows)
    train = [one for one in train if alike(one.columns, most.columns)]
    valid = [one for one in found if one.split == "valid" and one not in train and alike(one.columns, most.columns)]
    valid = valid if place in ("", "train") else []
    left = [one for one in found if one not in train and one not in valid]
    said = _said(left, train, whole)
    parts = [_part(member, train, found, place)]
    if valid:
        parts.append(replace(_part(member, valid, found, "valid"), note=""))
    return [replace(parts[0], note=" ".join(filter(None, [member.note, said]))), *parts[1:]]


def _part(member: Member, some: list[_List], found: list[_List], split: str) -> Member:
    names = tuple(one.name for one in some)
    share = sum(one.rows for one in some) / sum(one.rows for one in found)
    size = None if member.size is None else int(member.size * share)
    return replace(
        member, lists=names, beside=tuple(one.name for one in found if one.name not in names), split=split, size=size
    )


def _said(left: list[_List], read: list[_List], whole: bool) -> str:
    if not left:
        return ""

    def words(some: list[_List]) -> str:
        counted = (f" ({one.rows} {'row' if one.rows == 1 else 'rows'})" if whole else "" for one in some)
        named = [f"“{one.name[:40]}”{count}" for one, count in zip(some, counted, strict=True)]
        return ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")

    return f"The file holds several lists: {words(read)} was read, and left out was {words(left)}."


def _lists(member: Member) -> tuple[list[_List], bool]:
    """The lists of objects in the object at the beginning of a file, and whether these are all."""
    found: list[_List] = []
    with text_of(member) as file:
        stream = JsonStream(file)
        try:
            if stream.peek() != "{":
                return [], True
            for name in members_of(stream):
                if stream.peek() != "[" or name.lower() in ROW_LISTS:
                    stream.value()
                elif not _look(_List(name), stream, found):
                    return found, False
        except BrokenJson:  # which is told when the rows are read
            return found, False
    return found, True


def _look(one: _List, stream: JsonStream, found: list[_List]) -> bool:
    """Note the list that comes next if its first item is an object; False when enough was looked at before its end."""
    for value in stream.items():
        if one.rows == 0 and isinstance(value, dict):
            found.append(one)
        if isinstance(value, dict) and one.rows < _FIRST:
            one.columns |= value.keys()
        one.rows += 1
        if stream.read > _LOOKED_AT and any(listed.split in ("", "train") for listed in found):
            return False
    return True
