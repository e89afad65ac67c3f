"""The values that a sweep tries for one setting: a list, or a range. Reads them as people write them, and writes them back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from engine.errors import FieldProblem, ParamError
from engine.explain import unknown_setting
from engine.field_words import plain_type
from engine.params import LLMTrainingParams

# What a sweep cannot vary: what makes it one sweep, and names that each run has for itself.
_FIXED = {
    "trainer": "All runs of a sweep have one trainer, since another one measures something else",
    "project_name": "The runs of a sweep are named after it",
    "hub_model_id": "Every run would be uploaded under another name; upload the best one with `aitraining push`",
}
# A range whose ends are this many times apart is searched by factors, so that its small end is not passed over.
_WIDE = 10
_DIGITS = 3
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*(?:(log|linear)\s*:)?\s*({_NUMBER})\s*(?:\.\.|\bto\b)\s*({_NUMBER})\s*")
_EXAMPLE = "such as `lr = 1e-4, 3e-4` or, for a range, `lr = 1e-5..1e-3`"


@dataclass(frozen=True)
class Choices:
    """Values to choose from, each as its setting has it."""

    values: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __str__(self) -> str:
        plain = [written(value) for value in self.values]
        readable = all(isinstance(value, (int, float, str)) for value in self.values)
        if readable and not any(
            "," in word or _RANGE.fullmatch(word) or word.startswith("[") or word.strip() != word for word in plain
        ):
            return ", ".join(plain)
        return json.dumps(list(self.values), ensure_ascii=False)

    def plain(self) -> list[Any]:
        """As a file has it."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`, ends included. `log`: the same chance for every factor, and not for every step."""

    low: float
    high: float
    log: bool
    whole: bool

    def __str__(self) -> str:
        usual = "" if self.log == _wide(self.low, self.high) else "log:" if self.log else "linear:"
        return f"{usual}{written(self.low)}..{written(self.high)}"

    def plain(self) -> str:
        """As a file has it."""
        return str(self)

    def rounded(self, value: float) -> float:
        """A number that was drawn, with as many digits as matter."""
        if self.whole:
            return round(value)
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


Axis = Choices | Range


def read_axis(cls: type[LLMTrainingParams], name: str, given: Any) -> Axis:
    """The values for the setting `name` of `cls`: text (`1e-4, 3e-4`, `8..64`, `log:1e-5..1e-3`, JSON), a list, or a mapping
    with `from`, `to` and perhaps `log`. Whether each may be used is judged later, with the settings around it.

    Raises:
        ParamError: there is no such setting, it cannot be varied, or what is given is neither a list nor a range.
    """
    if name in _FIXED:
        raise _wrong(name, f"{name} cannot be varied. {_FIXED[name]}.")
    if name not in cls.model_fields:
        raise _wrong(name, unknown_setting(cls, name))
    if isinstance(given, Mapping):
        return _from_mapping(cls, name, given)
    if isinstance(given, str):
        found = _RANGE.fullmatch(given)
        if found and _numeric(cls, name):
            return _range(cls, name, float(found[2]), float(found[3]), None if found[1] is None else found[1] == "log")
        given = _split(name, given)
    if not isinstance(given, (list, tuple)):
        given = [given]
    return _choices(cls, name, given)


def written(value: Any) -> str:
    """A value as people write it: 0.0003, yes, cosine."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _choices(cls: type[LLMTrainingParams], name: str, given: list[Any] | tuple[Any, ...]) -> Choices:
    values = [_typed(cls, name, value) for value in given]
    if not values:
        raise _wrong(name, f"{name} has no values to try. Write some, {_EXAMPLE}.")
    for place, value in enumerate(values):
        if value in values[:place]:
            raise _wrong(name, f"{name}: {written(value)} stands there twice.")
    return Choices(tuple(values))


def _split(name: str, text: str) -> list[Any]:
    """Values with commas between them; JSON where they hold commas of their own."""
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError as error:
            raise _wrong(name, f"{name}: {text} is no JSON list: {error}.") from None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise _wrong(name, f"{name}: a value is missing in {text!r}. Write values with commas between them, {_EXAMPLE}.")
    return parts


def _typed(cls: type[LLMTrainingParams], name: str, value: Any) -> Any:
    """A value of the setting's type, where it can be read as one; the trainer's settings judge it."""
    if isinstance(value, bool) or value is None:
        return value
    kind: Any = cls.model_fields[name].annotation
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return value


def _numeric(cls: type[LLMTrainingParams], name: str) -> bool:
    return plain_type(cls.model_fields[name].annotation) in (int, float)


def _from_mapping(cls: type[LLMTrainingParams], name: str, given: Mapping[str, Any]) -> Range:
    low, high, log = given.get("from"), given.get("to"), given.get("log")
    numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
    if not numbers or given.keys() - {"from", "to", "log"} or not isinstance(log, (bool, type(None))):
        raise _wrong(
            name, f"{name}: a range is written as {{from: 1e-5, to: 1e-3}}, with `log: true` or not; got {dict(given)}."
        )
    if not _numeric(cls, name):
        raise _wrong(name, f"{name} takes no numbers, so it has no range. List its values.")
    assert isinstance(low, (int, float)) and isinstance(high, (int, float))
    return _range(cls, name, float(low), float(high), log)


def _range(cls: type[LLMTrainingParams], name: str, low: float, high: float, log: bool | None) -> Range:
    whole = plain_type(cls.model_fields[name].annotation) is int
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise _wrong(name, f"{name}: a range begins with its smaller end, got {written(low)}..{written(high)}.")
    if log and low <= 0:
        raise _wrong(name, f"{name}: a range that is searched by factors begins above 0, got {written(low)}.")
    if whole and (low != int(low) or high != int(high)):
        raise _wrong(name, f"{name} must be a whole number, got {written(low)}..{written(high)}.")
    ends = (int(low), int(high)) if whole else (low, high)
    return Range(*ends, log=_wide(low, high) if log is None else log, whole=whole)


def _wide(low: float, high: float) -> bool:
    return low > 0 and high / low >= _WIDE


def _wrong(name: str, message: str) -> ParamError:
    return ParamError([FieldProblem(name, message)])
