"""What a recogniser is given, and what it says: evidence in, a finding out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.diagnosis.series import Points
from engine.errors import ParamError
from engine.params import LLMTrainingParams, form_of
from engine.registry import parse, spec_for
from engine.runs.status import State, Status
from engine.spec import TrainerSpec

Action = Literal["retry", "resume"]
Wish = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One setting of a change: the value that the run had (what was chosen for it where it was left open), and the new one."""

    setting: str
    label: str
    was: Any
    becomes: Any

    def __str__(self) -> str:
        return f"{self.label}: {_worded(self.was)} → {_worded(self.becomes)}"


@dataclass(frozen=True)
class Finding:
    """What was recognised in a run.

    `kind` is a word for programs; `what` happened, `why`, and what to do now (`advice`) are sentences for people. `change` is
    the one change most likely to help, as settings (empty: the same settings again). `action` says what it is for: a new
    run with that change, or going on from the last checkpoint. `confidence`: "certain" where the run itself said so.
    """

    kind: str
    what: str
    why: str
    advice: str
    change: tuple[Change, ...] = ()
    action: Action = "retry"
    confidence: Literal["certain", "likely"] = "likely"

    @property
    def settings(self) -> Wish:
        """The change as settings that can be laid over those of the run."""
        return {one.setting: one.becomes for one in self.change}

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        return " ".join((self.what, self.why, self.advice)).strip()

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "change": [{**one.__dict__, "words": str(one)} for one in self.change]}


@dataclass(frozen=True)
class Evidence:
    """What is known of a run: `params` as they were asked for, `chosen` with nothing left open once the run had a plan."""

    name: str
    status: Status
    params: LLMTrainingParams
    chosen: LLMTrainingParams
    plan: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Points] = field(default_factory=dict)
    warnings: tuple[dict[str, Any], ...] = ()
    trained: bool = False  # whether it came as far as its first step
    log: str = ""  # the end of it
    resumable: bool = False
    restarted: bool = False  # whether the machine was, since the run's last sign of life
    memory_kills: int | None = None  # by the system, of any process since the run began; None: it does not say

    @property
    def spec(self) -> TrainerSpec:
        return spec_for(self.params.trainer)

    @property
    def working(self) -> bool:
        return self.status.state is State.TRAINING

    def curve(self, key: str) -> Points:
        """The metric's points that are numbers, in order; empty where there are none."""
        return self.curves.get(key, [])

    def has(self, name: str) -> bool:
        """Whether this trainer has a setting of that name."""
        return name in type(self.params).model_fields

    def first_valid(self, wishes: Iterable[Wish]) -> tuple[Change, ...]:
        """The first wish that this trainer takes and that is not what the run had; empty where none is."""
        for wish in wishes:
            if self.differs(wish) and self._valid(wish):
                return tuple(self._change(name, value) for name, value in wish.items())
        return ()

    def differs(self, wish: Wish) -> bool:
        return bool(wish) and all(self.has(name) and getattr(self.chosen, name) != value for name, value in wish.items())

    def _valid(self, wish: Wish) -> bool:
        try:
            changed(self.params, wish)
        except ParamError:
            return False
        return True

    def _change(self, name: str, value: Any) -> Change:
        label = form_of(type(self.params), name).label
        return Change(name, label, getattr(self.chosen, name), value)


Recogniser = Callable[[Evidence], Finding | None]


def changed(params: LLMTrainingParams, wish: Wish) -> LLMTrainingParams:
    """The settings of a run with a change, for a new run with a name of its own.

    Raises:
        ParamError: the trainer does not take it.
    """
    return parse({**params.model_dump(), **wish, "project_name": None})


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "automatic"
    return f"{value:g}" if isinstance(value, float) else str(value)
