"""What a setting may be, in words: its type, its range, its choices. For help, errors, docstrings and the reference alike."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types as at
from pydantic.fields import FieldInfo

_BOUNDS = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
_KINDS = {int: "whole number", float: "number", str: "text", bool: "yes, no", list: "list", dict: "mapping"}


def without_none(annotation: Any) -> Any:
    """The annotation without `| None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def plain_type(annotation: Any) -> Any:
    """The type without `| None`, and without what it holds: list for list[str]."""
    inner = without_none(annotation)
    return get_origin(inner) or inner


def choices_of(field: FieldInfo) -> list[str]:
    """The words that a setting chooses from; none for one that takes any value of its type."""
    inner = without_none(field.annotation)
    return [str(value) for value in get_args(inner)] if get_origin(inner) is Literal else []


def range_of(field: FieldInfo) -> str:
    """The allowed range, such as "more than 0 and at most 1000"; "" when there is none."""
    parts = [
        f"{word} {_number(getattr(bound, key))}"
        for key, word in _BOUNDS
        for bound in field.metadata
        if isinstance(bound, (at.Ge, at.Gt, at.Le, at.Lt)) and hasattr(bound, key)
    ]
    return " and ".join(parts)


def values_of(field: FieldInfo, mark: str = "") -> str:
    """All that a setting may be: "whole number, at least 1", or its choices, each between two `mark`s."""
    if choices := choices_of(field):
        return ", ".join(f"{mark}{choice}{mark}" for choice in choices)
    kind, bounds = plain_type(field.annotation), range_of(field)
    return f"{_KINDS[kind]}, {bounds}" if bounds and kind in (int, float) else _KINDS[kind]


def default_of(field: FieldInfo, *, auto: bool, mark: str = "") -> str:
    """What is taken when nothing is given."""
    if field.is_required():
        return "must be given"
    value: Any = field.get_default(call_default_factory=True)
    if value is None or value in ("", [], {}):
        return "automatic" if auto else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{mark}{value:g}{mark}" if isinstance(value, float) else f"{mark}{value}{mark}"


def _number(bound: Any) -> str:
    """A bound as people write it: 1048576 in full, 0.5 without zeros behind it."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
