"""What a sweep is: the settings that all its runs share, the values to try for some of them, and how they are chosen.

Reads and writes its YAML. Owns the declaration only; nothing here looks at a run.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.config_file import read_mapping, yaml_entry
from engine.errors import FieldProblem, ParamError
from engine.params import LLMTrainingParams
from engine.pipelines.pipeline import from_here
from engine.registry import class_of, spec_for
from engine.spec import TrainerSpec
from engine.sweeps.space import Axis, Choices, Range, read_axis

Kind = Literal["grid", "random", "adaptive"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,69}")
# Above this nobody looks at every line, and a slip (a range of ranks, say) would fill the queue for weeks.
MOST = 200
# The ways on as the command line has them; the page has a choice in place of the flag.
LIST_OR_DRAW = "List its values, or say how many combinations are to be drawn (--random 10)."
FEWER_OR_DRAW = "Try fewer values, or draw some of the combinations (--random 20)."
_KEYS = ("sweep", "settings", "try", "random", "adaptive")
_SHAPE = (
    "A sweep file holds `settings:` (those of every run, the trainer among them), `try:` with the values of each setting that "
    "varies, and perhaps `sweep: NAME` and `random: 10` or `adaptive: 10`."
)


@dataclass(frozen=True)
class Sweep:
    """`settings` as they were written; `axes` are the values of each setting that varies; `tries` is 0 for a grid."""

    name: str
    settings: dict[str, Any]
    axes: dict[str, Axis] = field(default_factory=dict)
    kind: Kind = "grid"
    tries: int = 0

    @property
    def spec(self) -> TrainerSpec:
        """The trainer of all its runs."""
        return spec_for(class_of(self.settings).model_fields["trainer"].default)

    @property
    def seed(self) -> int:
        """What the draws begin with: the seed of the trainings, so that one number repeats all of it."""
        seed = self.settings.get("seed", LLMTrainingParams.model_fields["seed"].default)
        return int(seed) if str(seed).isdecimal() else 0

    @property
    def size(self) -> float:
        """How many combinations there are; infinite with a range of fractions."""
        sizes = [
            len(axis) if isinstance(axis, Choices) else axis.high - axis.low + 1 if axis.whole else math.inf
            for axis in self.axes.values()
        ]
        return math.prod(sizes)

    @property
    def wanted(self) -> int:
        """How many runs it has at most."""
        return int(self.size) if self.kind == "grid" else int(min(self.tries, self.size))

    def to_mapping(self) -> dict[str, Any]:
        """As its YAML has it; `from_mapping` reads it back."""
        tried = {name: axis.plain() for name, axis in self.axes.items()}
        how = {} if self.kind == "grid" else {self.kind: self.tries}
        return {"sweep": self.name, "settings": dict(self.settings), "try": tried, **how}

    def to_yaml(self) -> str:
        """As a file that `aitraining sweep FILE` takes."""
        return "\n".join(yaml_entry(name, value) for name, value in self.to_mapping().items()) + "\n"


def from_yaml(text: str, name: str | None = None) -> Sweep:
    """A sweep from the text of its file. Raises as `from_mapping`."""
    return from_mapping(read_mapping(text, shape=_SHAPE), name)


def from_mapping(values: Mapping[str, Any], name: str | None = None) -> Sweep:
    """A sweep from a mapping of the shape that the YAML has; `name` goes over the one in it.

    Raises:
        ParamError: a name or a number cannot be used, or something else of the shape is wrong. The settings' values are judged
            with each combination: see engine/sweeps/tries.py.
    """
    unknown = [key for key in values if key not in _KEYS]
    if unknown:
        raise _wrong("", f"A sweep file has no {', '.join(map(repr, unknown))}. {_SHAPE}")
    settings, axes = values.get("settings"), values.get("try")
    if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
        raise _wrong("settings", f"The sweep has no settings. {_SHAPE}")
    if not isinstance(axes, Mapping):
        raise _wrong("try", f"It is not said what varies in this sweep. {_SHAPE}")
    how = {kind: values.get(kind) for kind in ("random", "adaptive")}
    return built(settings, axes, name=name or values.get("sweep"), **how)


def built(
    settings: Mapping[str, Any],
    axes: Mapping[str, Any],
    *,
    name: str | None = None,
    random: int | None = None,
    adaptive: int | None = None,
) -> Sweep:
    """A sweep of these settings. `axes`: setting -> its values, as `read_axis` takes them. Raises as `from_mapping`."""
    from engine.sweeps.group import Group

    if random is not None and adaptive is not None:
        raise _wrong("random", "A sweep is either random or adaptive. Leave one of the two out.")
    named = str(name or "") or Group.free_name("sweep")
    if not NAME.fullmatch(named):
        shape = "letters, digits, dots, dashes and underscores, beginning with a letter or digit, at most 70"
        raise _wrong("sweep", f"{named!r} cannot be a sweep's name: {shape}.")
    kind: Kind = "random" if random is not None else "adaptive" if adaptive is not None else "grid"
    tries = _tries(kind, random if random is not None else adaptive)
    cls = class_of(dict(settings))
    plain = {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in settings.items()}
    tried = _axes(cls, axes)
    shared = {key: value for key, value in from_here(cls, plain).items() if key not in tried and key != "project_name"}
    sweep = Sweep(named, shared, tried, kind, tries)
    _must_be_listable(sweep)
    return sweep


def _axes(cls: type[LLMTrainingParams], given: Mapping[str, Any]) -> dict[str, Axis]:
    """Every setting that varies with its values; tells all that is wrong with them."""
    if not given:
        raise _wrong("try", "Nothing varies in this sweep. Give a setting with the values to try (--sweep lr=1e-4,3e-4).")
    found: dict[str, Axis] = {}
    problems: list[FieldProblem] = []
    for name, values in given.items():
        try:
            found[str(name).replace("-", "_")] = read_axis(cls, str(name).replace("-", "_"), values)
        except ParamError as error:
            problems += error.problems
    if problems:
        raise ParamError(problems)
    return found


def _tries(kind: Kind, given: Any) -> int:
    if kind == "grid":
        return 0
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise _wrong(kind, f"{kind} is the number of runs and must be a whole number, at least 1, got {given!r}.")
    return given


def _must_be_listable(sweep: Sweep) -> None:
    ranges = [name for name, axis in sweep.axes.items() if isinstance(axis, Range)]
    if sweep.kind == "grid" and ranges:
        raise ParamError(
            [
                FieldProblem(name, f"{name} is a range, {sweep.axes[name]}, and not every number in it can be tried.")
                for name in ranges
            ],
            hint=LIST_OR_DRAW,
        )
    if sweep.wanted > MOST:
        what = "combinations" if sweep.kind == "grid" else "runs"
        raise ParamError(
            [FieldProblem(sweep.kind, f"These are {sweep.wanted:,} {what}; a sweep has at most {MOST}.")],
            hint=FEWER_OR_DRAW,
        )


def _wrong(about: str, message: str) -> ParamError:
    return ParamError([FieldProblem(about, message)])
