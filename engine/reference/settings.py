"""docs/settings.md: every setting of every trainer as a table, read off the parameter models."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from engine.explain import range_of
from engine.params import LLMTrainingParams, flag, form_of
from engine.reference.table import table
from engine.registry import specs

_OPENING = """# Settings

Every setting has one name: on the page, in YAML, in Python, and as a flag. "automatic" means chosen from data, model and
device; the page and `plan.json` say why. Which settings matter, and why, is in the guide of each [trainer](README.md#trainers).
"""


def page() -> str:
    """The whole page."""
    shared = set.intersection(*(set(spec.params.model_fields) for spec in specs().values()))
    parts = [_OPENING, "## Of every trainer\n", _table(next(iter(specs().values())).params, shared)]
    for spec in specs().values():
        own = set(spec.params.model_fields) - shared
        parts += [f"## {spec.title} (`{spec.id}`)\n", f"{spec.summary} See [its guide](trainers/{spec.id}.md).\n"]
        parts.append(_table(spec.params, own) if own else "No settings of its own.\n")
    return "\n".join(parts)


def _table(cls: type[LLMTrainingParams], names: set[str]) -> str:
    rows = [
        (f"`{name}`", f"`{flag(name)}`", _values(field), default_of(cls, name), field.description or "")
        for name, field in cls.model_fields.items()
        if name in names and name != "trainer"
    ]
    return table(("setting", "flag", "values", "default", "what it does"), rows)


def _values(field: FieldInfo) -> str:
    plain = _plain(field.annotation)
    if get_origin(plain) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(plain))
    if plain is bool:
        return "yes, no"
    words = {int: "whole number", float: "number", str: "text"}.get(plain, "list" if get_origin(plain) is list else "mapping")
    bounds = range_of(field)
    return f"{words}, {bounds}" if bounds and plain in (int, float) else words


def default_of(cls: type[LLMTrainingParams], name: str) -> str:
    """What counts when nothing is given, in words."""
    field = cls.model_fields[name]
    if field.is_required():
        return "must be given"
    value: Any = field.get_default(call_default_factory=True)
    if value is None or value in ([], {}):
        return "automatic" if form_of(cls, name).auto else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _plain(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation
