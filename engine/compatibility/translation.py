"""Settings in any documented spelling, as settings of ours, with a line for each name that became something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, TypeVar

from engine.compatibility import together
from engine.compatibility.autotrain_file import flattened
from engine.compatibility.meanings import Meaning, NoCounterpart, Settings
from engine.compatibility.names import TABLE
from engine.errors import FieldProblem, ParamError
from engine.spec import RowKind

_PATTERNS = tuple(name for name in TABLE if "*" in name)
# Two names for the longest row hold together, and the shorter one is what both allow.
_SMALLER = ("max_length",)
_TRAINERS = {"generic": "default"}
_Made = TypeVar("_Made")


class OlderNameWarning(UserWarning):
    """A setting was given by the name that an older tool has for it; the message says what it became."""


@dataclass
class Translation:
    """Settings of ours, what is to be told about them, and what is wrong: names that mean nothing here are left out of them."""

    values: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    problems: list[FieldProblem] = field(default_factory=list)

    def judged(self, judge: Callable[[dict[str, Any]], _Made]) -> _Made:
        """What `judge` makes of the settings.

        Raises:
            ParamError: something is wrong here, or `judge` refuses the rest; all of it is told at once.
        """
        try:
            made = judge(self.values)
        except ParamError as error:
            raise self.with_those_of(error) from None
        self.refuse()
        return made

    def refuse(self) -> None:
        """
        Raises:
            ParamError: something is wrong here.
        """
        if self.problems:
            raise ParamError(self.problems)

    def with_those_of(self, error: ParamError) -> ParamError:
        """An error of what is wrong here and of what is refused besides; of one setting the first is told."""
        told = {problem.field for problem in self.problems if problem.field}
        return ParamError([*self.problems, *(one for one in error.problems if one.field not in told)], hint=error.hint)


@cache
def meaning_of(name: str) -> Meaning | None:
    """What the table says of a name; None when it is no documented one."""
    found = TABLE.get(name)
    if found is None:
        pattern = next((pattern for pattern in _PATTERNS if fnmatchcase(name, pattern)), None)
        found = TABLE[pattern] if pattern else None
    return found


def is_older(name: str) -> bool:
    """Whether a name is one that older tools document and that is not simply ours."""
    return name in together.NAMES or meaning_of(name) is not None


def trainer_of(values: dict[str, Any]) -> str:
    """The trainer that settings in any spelling name; "" for none."""
    named = str(flattened(values).get("trainer") or "")
    return _TRAINERS.get(named, named)


def translated(values: dict[str, Any], over: dict[str, Any] | None = None) -> Translation:
    """`values` with ours for every older name. `over` are settings that these are given over, such as those of a file.

    Its `problems` name what has no counterpart here, or is given twice in different ways: whoever judges the settings tells
    them together with what else is wrong.

    Raises:
        ParamError: the groups of a file of theirs cannot be read.
    """
    flat = flattened(values)
    if flat is not values:  # their files write null for what is not set
        flat = {name: value for name, value in flat.items() if value is not None}
    named = str(flat.get("trainer") or (over or {}).get("trainer") or "")
    trainer = _TRAINERS.get(named, named)
    found = _Reader(trainer, dict(over or {}))
    found.told({"trainer": named}, {"trainer": trainer})
    return found.read(flat)


class _Reader:
    """One translation: what is ours so far, what each setting was called, and what is wrong."""

    def __init__(self, trainer: str, over: Settings) -> None:
        from engine.registry import specs  # the table serves the settings classes, which the registry lists

        known = specs()
        self.kind: RowKind = known[trainer].rows if trainer in known else "chat"
        chosen = [known[trainer]] if trainer in known else known.values()
        self.has = {name: field for spec in chosen for name, field in spec.params.model_fields.items()}
        self.trainer, self.over = trainer, over
        self.made, self.called = Settings(), dict[str, str]()
        self.lines, self.problems = list[str](), list[FieldProblem]()

    def read(self, values: Settings) -> Translation:
        older = dict[str, Any]()
        for name, value in values.items():
            if name == "trainer":
                self.made[name] = self.trainer if value else value
            elif name in together.NAMES or (together.names_a_column(name) and name not in self.has):
                older[name] = value
            elif (meaning := meaning_of(name)) is None or self._is_our_nothing(name, value):
                self._put(name, name, value)
            else:
                self._one(name, value, meaning)
        self._several(older)
        return Translation(self.made, self.lines, self.problems)

    def _is_our_nothing(self, name: str, value: Any) -> bool:
        """Whether it is a setting of ours that is left open as ours can be."""
        return value is None and name in self.has and self.has[name].default is None

    def told(self, old: Settings, new: Settings) -> None:
        """Say that one thing became another, unless it is the same."""
        if {k: str(v) for k, v in old.items()} != {k: str(v) for k, v in new.items()}:
            self.lines.append(f"{_shown(old)} → {_shown(new)}")

    def _one(self, name: str, value: Any, meaning: Meaning) -> None:
        try:
            made = meaning(value, self.has)
        except NoCounterpart as error:
            self._wrong(name, f"{name} {error.words}: {error}.")
            return
        if isinstance(made, str):
            self.lines.append(f"{_shown(together.without_secrets({name: value})) or name}: {made}")
            return
        self.told({name: value}, made)
        for ours, new in made.items():
            self._put(name, ours, new)

    def _put(self, name: str, ours: str, value: Any) -> None:
        before = self.made.get(ours, value)
        if str(before) != str(value):
            if ours in _SMALLER and _is_count(before) and _is_count(value):
                value = min(before, value, key=int)
                self.lines.append(f"{self.called[ours]} and {name} → {ours} {value}, the smaller one")
            else:
                said = f"{self.called[ours]} {before} and {name} {value}"
                self._wrong(ours, f"{ours} is given twice: {said} are the same setting here.")
        self.made[ours], self.called[ours] = value, name

    def _several(self, older: Settings) -> None:
        given = {**self.over, **self.made, **older}
        for rule in (
            lambda: together.batch(older, given),
            lambda: together.parts(older, given),
            lambda: together.columns(older, given, self.kind),
            lambda: together.owner(older, given),
        ):
            try:
                made, lines = rule()
            except NoCounterpart as error:
                self._wrong("", f"{error}.")
                continue
            self.made.update(made)
            self.lines += lines

    def _wrong(self, name: str, message: str) -> None:
        self.problems.append(FieldProblem(name, message))


def _is_count(value: Any) -> bool:
    return str(value).isdecimal()


def _shown(values: Settings) -> str:
    return ", ".join(f"{name}{_word(value)}" for name, value in values.items())


def _word(value: Any) -> str:
    """A value behind its name; a switch that is on is only named."""
    return "" if value is True else " empty" if value is None else f" {value}"
