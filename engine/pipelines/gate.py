"""What a stage must reach before the next one may start: a held-out metric and a bound, read strictly.

Owns how a gate is written, and which of a run's measurements counts: that of the weights which the run kept.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from dataclasses import dataclass
from typing import Any

from engine.errors import FieldProblem, ParamError
from engine.params import LLMTrainingParams, form_of
from engine.registry import spec_for
from engine.runs import events
from engine.runs.directory import RunDirectory
from engine.runs.status import kept_measurement

_SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_WORDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_KEYS = {words.replace(" ", "_"): sign for sign, words in _WORDS.items()}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TEXT = re.compile(rf"\s*([^\s<>=]+)\s*(>=|<=|>|<)\s*({_NUMBER})\s*")
_HOW = "`gate: eval_loss < 2.0` or `gate: {metric: eval_loss, at_most: 2.0}` (at_least, at_most, more_than, less_than)"


@dataclass(frozen=True)
class Gate:
    """A held-out metric, a sign (`>=`, `<=`, `>`, `<`) and a bound. As text: `eval_loss < 2.0`."""

    metric: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.bound!r}"

    @property
    def asked(self) -> str:
        """The bound in words: "at least 0.8"."""
        return f"{_WORDS[self.sign]} {self.bound:g}"

    def met_by(self, value: float) -> bool:
        """Whether a measurement is good enough."""
        return _SIGNS[self.sign](value, self.bound)


@dataclass(frozen=True)
class Verdict:
    """A gate held against a run: the measurement of the kept weights (None: there is none) and its step."""

    gate: Gate
    value: float | None
    step: int
    best: bool

    @property
    def met(self) -> bool:
        return self.value is not None and self.gate.met_by(self.value)

    def sentence(self, stage: str) -> str:
        """What was reached and what was asked, and of which weights."""
        if self.value is None:
            return f"Stage {stage} measured no {self.gate.metric} on held-out rows; {self.gate.asked} was asked."
        which = "its best checkpoint, which it kept" if self.best else "the weights at its end, which it kept"
        reached = f"Stage {stage} reached {self.gate.metric} {_short(self.value, self.gate)}; {self.gate.asked} was asked."
        return f"{reached} That is {which} (step {self.step})."


def read_gate(value: Any) -> Gate:
    """A gate as a person writes it: `eval_loss < 2.0`, or a mapping with `metric` and one bound.

    Raises:
        ParamError: it is neither; the message shows both.
    """
    if isinstance(value, str) and (found := _TEXT.fullmatch(value)):
        return _gate(found[1], found[2], float(found[3]))
    if isinstance(value, dict):
        rest = {key: bound for key, bound in value.items() if key != "metric"}
        bounds = [(key, bound) for key, bound in rest.items() if key in _KEYS]
        if isinstance(value.get("metric"), str) and len(rest) == len(bounds) == 1:
            key, bound = bounds[0]
            if isinstance(bound, (int, float)) and not isinstance(bound, bool):
                return _gate(value["metric"], _KEYS[key], float(bound))
    raise _wrong(f"gate {value!r} cannot be read. Write {_HOW}.")


def gate_problem(gate: Gate, params: LLMTrainingParams) -> str:
    """Why a run with these settings can never be held against the gate; "" when it can."""
    known = held_out_metrics(params)
    own_parts = any(form_of(type(params), name).widget == "rewards" for name in type(params).model_fields)
    if gate.metric not in known and not (own_parts and gate.metric.startswith("eval_rewards/")):
        near = difflib.get_close_matches(gate.metric, known, n=1, cutoff=0.5)
        guess = f" Did you mean {near[0]}?" if near else ""
        return f"gate: the trainer {params.trainer} measures no {gate.metric!r}.{guess} It measures {', '.join(known)}."
    if params.valid_path is None and params.valid_fraction == 0:
        return "gate: nothing is held out to measure with, since valid_fraction is 0. Hold out a part, such as 0.1."
    return ""


def held_out_metrics(params: LLMTrainingParams) -> list[str]:
    """The held-out curves that the trainer's charts show, the one that it is judged by first."""
    return list(titles(params.trainer))


def titles(trainer: str) -> dict[str, str]:
    """The held-out metrics of a trainer, the one that it is judged by first, with the words that its charts have for them."""
    spec, found = spec_for(trainer), dict[str, str]()
    for chart in spec.charts:
        for key, label in chart.series:
            if key.startswith("eval_"):
                part = label.removesuffix("held-out").rstrip(", ")
                found.setdefault(key, f"{chart.title}, {part}" if part else chart.title)
    first = spec.judged_by
    return {first: found.get(first, first), **found}


def in_words(trainer: str, gate: str) -> str:
    """A gate as the page says it: "Loss less than 2 on held-out rows"; "" for none."""
    if not gate:
        return ""
    asked = read_gate(gate)
    return f"{titles(trainer).get(asked.metric, asked.metric)} {asked.asked} on held-out rows"


def judge(gate: Gate, run: RunDirectory) -> Verdict:
    """Hold a finished run against a gate, by the measurement of the weights that are in its model."""
    points = _points(run, gate.metric)
    best = kept[0] if run.params().get("keep_best") and (kept := kept_measurement(run.status())) else None
    step = best or max(points, default=0)
    value = points.get(step)
    return Verdict(gate, None if value is None or not math.isfinite(value) else value, step, best=bool(best))


def _points(run: RunDirectory, metric: str) -> dict[int, float | None]:
    """Every measurement of one metric by its step, without those that a resumed run threw away."""
    points: dict[int, float | None] = {}
    found, offset = events.read(run.events_file)
    while found:
        for event in found:
            if event["type"] == "resumed":
                points = {step: value for step, value in points.items() if step <= (event["step"] or -1)}
            elif event["type"] == "metric" and metric in event["values"]:
                points[event["step"]] = event["values"][metric]
        found, offset = events.read(run.events_file, offset)
    return points


def _gate(metric: str, sign: str, bound: float) -> Gate:
    if not metric.startswith("eval_"):
        raise _wrong(f"gate: {metric!r} is measured on rows that are trained on. Held-out metrics begin with eval_: {_HOW}.")
    if not math.isfinite(bound):
        raise _wrong(f"gate: the bound must be a number, got {bound}. Write {_HOW}.")
    return Gate(metric, sign, bound)


def _wrong(message: str) -> ParamError:
    return ParamError([FieldProblem("gate", message)])


def _short(value: float, gate: Gate) -> str:
    """As few digits as show on which side of the bound it lies."""
    for digits in range(3, 17):
        short = f"{value:.{digits}g}"
        if float(short) != gate.bound and gate.met_by(float(short)) == gate.met_by(value):
            return short
    return repr(value)
