"""Lists engine/trainers/*.py. A new file there is a new trainer; nothing else is edited."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from typing import Any

from engine import trainers
from engine.errors import FieldProblem, ParamError
from engine.params import LLMTrainingParams
from engine.spec import TrainerSpec


@cache
def specs() -> dict[str, TrainerSpec]:
    """Every trainer by its id, in the order in which they are shown.

    Raises:
        ValueError: a file's SPEC does not carry the file's name as its id.
    """
    found = []
    for info in pkgutil.iter_modules(trainers.__path__):
        spec = importlib.import_module(f"{trainers.__name__}.{info.name}").SPEC
        if spec.id != info.name:
            raise ValueError(f"engine/trainers/{info.name}.py declares the id {spec.id!r}; rename one of them.")
        found.append(spec)
    return {spec.id: spec for spec in sorted(found, key=lambda s: s.order)}


def spec_for(trainer: str) -> TrainerSpec:
    """The declaration of one trainer.

    Raises:
        ParamError: there is no such trainer; the message lists those there are.
    """
    known = specs()
    if trainer not in known:
        near = difflib.get_close_matches(trainer, known, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        message = f"There is no trainer {trainer!r}.{guess} Choose one of: {', '.join(known)}."
        raise ParamError([FieldProblem("trainer", message)])
    return known[trainer]


def parse(values: dict[str, Any]) -> LLMTrainingParams:
    """Settings from a plain dict, as the settings class of the trainer that it names. Names of older tools are understood."""
    return class_of(values)(**values)


def class_of(values: dict[str, Any]) -> type[LLMTrainingParams]:
    """The settings class of the trainer that these settings name.

    Raises:
        ParamError: they name none, or one that there is not.
    """
    from engine.compatibility import trainer_of

    return spec_for(trainer_of(values)).params
