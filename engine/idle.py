"""Settings that do nothing beside others, such as a LoRA rank where all weights are trained."""

from __future__ import annotations

from collections.abc import Iterable

from engine.params import LLMTrainingParams, flag, form_of
from engine.spec import MoreThan


def counts(params: LLMTrainingParams, name: str) -> bool:
    """Whether a setting does anything beside these others."""
    when = form_of(type(params), name).when
    return all(getattr(params, other) in wanted for other, wanted in when.items())


def sentence(cls: type[LLMTrainingParams], name: str) -> str:
    """Why a setting of such a run does nothing, and what would let it count."""
    when = form_of(cls, name).when
    needs = " and ".join(f"{other} is {_words(wanted)}" for other, wanted in when.items())
    return f"{name} does nothing here: it counts only while {needs}. Set that as well ({', '.join(map(flag, when))})."


def idle(params: LLMTrainingParams, names: Iterable[str]) -> list[str]:
    """A sentence for each of these settings that does nothing, if it is not what it would be anyway."""
    fields = type(params).model_fields
    asked = (name for name in names if name in fields and getattr(params, name) != fields[name].default)
    return [sentence(type(params), name) for name in asked if not counts(params, name)]


def _words(wanted: tuple[object, ...] | MoreThan) -> str:
    return str(wanted) if isinstance(wanted, MoreThan) else " or ".join(map(_word, wanted))


def _word(value: object) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
