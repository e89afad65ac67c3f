"""The YAML of AutoTrain: `task`, `base_model`, and groups `data`, `params` and `hub`, as one flat mapping of its names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.errors import FieldProblem, ParamError

_GROUPS = ("data", "params", "hub")
# A name inside the group `data`, and its name as a flag.
_DATA = {"path": "data_path"}
# The first word of tasks that train language models; what follows it is the trainer.
_OURS = "llm"


def flattened(values: dict[str, Any]) -> dict[str, Any]:
    """`values` without groups, when they have AutoTrain's shape; else as they are.

    Raises:
        ParamError: a group is no mapping, a name stands in two places with two values, or the task is none of ours.
    """
    if "task" not in values and not any(isinstance(values.get(group), dict) for group in _GROUPS):
        return values
    flat: dict[str, Any] = {}
    problems = []
    for name, value in _pairs(values):
        if name in flat and flat[name] != value:
            message = f"{name} stands there twice, as {flat[name]!r} and as {value!r}."
            problems.append(FieldProblem(name, message))
        flat[name] = value
    if problems:
        raise ParamError(problems)
    task = flat.pop("task", None)
    trainer = flat.get("trainer") or _trainer_of(task)
    return {**flat, "trainer": trainer} if trainer else flat


def _pairs(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name not in _GROUPS:
            yield name, value
        elif isinstance(value, dict):
            yield from (
                (_DATA.get(str(inner), str(inner)) if name == "data" else str(inner), given) for inner, given in value.items()
            )
        elif value is not None:
            message = f"{name} is a group of settings, each on a line of its own below it."
            raise ParamError([FieldProblem(name, message)])


def _trainer_of(task: Any) -> str:
    """The trainer that a task names: `llm-sft` and `llm:sft` name one, `llm` alone none."""
    words = str(task or "").strip()
    first, _, rest = words.replace(":", "-").partition("-")
    if words and first != _OURS:
        message = f"The task {words!r} is none of this app's: it trains language models (task: {_OURS}-…)."
        raise ParamError([FieldProblem("task", message)])
    return rest
