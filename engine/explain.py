"""Turns pydantic's complaints into sentences that name the setting, its range, its flag and the nearest right one."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engine.errors import FieldProblem, ParamError
from engine.field_words import range_of
from engine.params import LLMTrainingParams, flag


def explain(cls: type[LLMTrainingParams], error: ValidationError) -> ParamError:
    """A ParamError with one problem for each wrong field of `cls`."""
    problems: dict[str, FieldProblem] = {}
    for detail in error.errors():
        # settings that do not go together say in their context which of them is to be changed
        name = str(detail["loc"][0]) if detail["loc"] else str(detail.get("ctx", {}).get("field", ""))
        problems.setdefault(name, FieldProblem(name, _sentence(cls, name, detail)))
    return ParamError(list(problems.values()))


def _sentence(cls: type[LLMTrainingParams], name: str, detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return unknown_setting(cls, name)
    given: Any = detail.get("input")
    if name not in cls.model_fields:
        return detail["msg"].removeprefix("Value error, ")
    field, kind = cls.model_fields[name], detail["type"]
    if kind == "missing":
        return f"{name} is missing: {field.description} ({flag(name)})"
    if kind == "literal_error":
        return f"{name} must be {detail.get('ctx', {})['expected']}, got {given!r} ({flag(name)})."
    if kind.startswith(("greater_than", "less_than")):
        return f"{name} must be {range_of(field)}, got {given!r} ({flag(name)}). {field.description}"
    if kind.startswith(("int", "float", "decimal")):
        whole = "a whole number" if kind.startswith("int") else "a number"
        return f"{name} must be {whole}, got {given!r} ({flag(name)})."
    if kind == "string_pattern_mismatch":
        return f"{name} {given!r} does not fit. {field.description} ({flag(name)})"
    if kind == "dict_type":
        return f"{name} must be JSON between braces, got {str(given)[:60]!r} ({flag(name)})."
    if kind.startswith("bool"):
        return f"{name} must be true or false, got {given!r} ({flag(name)} or --no-{flag(name)[2:]})."
    return f"{name}: {detail['msg'].removeprefix('Value error, ')} ({flag(name)})"


def unknown_setting(cls: type[LLMTrainingParams], name: str) -> str:
    """A sentence about a name that is no setting of `cls`: whose it is, or the nearest right one."""
    from engine.registry import specs  # params → explain → registry → params: only when something is wrong

    owners = [s.id for s in specs().values() if name in s.params.model_fields]
    trainer = cls.model_fields["trainer"].default
    if owners:
        return f"{name} belongs to the trainer {' and '.join(owners)}; {trainer} does not use it ({flag(name)})."
    near = difflib.get_close_matches(name, cls.model_fields, n=1)
    guess = f" Did you mean {near[0]} ({flag(near[0])})?" if near else ""
    return f"There is no setting {name!r}.{guess}"
