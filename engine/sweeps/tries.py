"""The runs that a sweep would make: every combination as settings, judged before the first of them is queued."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import FieldProblem, ModelError, ParamError
from engine.idle import counts, sentence
from engine.models import facts, resolve
from engine.params import LLMTrainingParams
from engine.pipelines.pipeline import model_settings
from engine.pipelines.steps import data_problems
from engine.registry import parse
from engine.sweeps.sampling import Values, combinations, corners
from engine.sweeps.sweep import Sweep


@dataclass(frozen=True)
class Try:
    """One combination: what it tries, and the settings of its run."""

    values: Values
    params: LLMTrainingParams


def planned(sweep: Sweep) -> list[Try]:
    """Every run that can be told in advance: all but those of an adaptive sweep, which gives none.

    Raises:
        ParamError: some combination cannot be used, or nothing would tell which of them is best.
    """
    made = _judged(sweep, combinations(sweep) or corners(sweep))
    check(sweep, made)
    return [] if sweep.kind == "adaptive" else made


def sketched(sweep: Sweep) -> list[Try]:
    """Runs to foretell by what the sweep takes: those it will have, or samples of what it may have. Raises as `planned`."""
    return _judged(sweep, combinations(sweep) or corners(sweep))


def one(sweep: Sweep, values: Values) -> Try:
    """The run of one combination.

    Raises:
        ParamError: it cannot be used.
    """
    return Try(values, parse({**sweep.settings, **values}))


def check(sweep: Sweep, made: Sequence[Try]) -> None:
    """Look at the models and the data of all runs, each once.

    Raises:
        ParamError: a model or a file is not there or cannot serve, or nothing is held out to measure with.
    """
    problems: dict[str, FieldProblem] = {}
    seen: list[tuple[Any, ...]] = []
    for one in made:
        p = one.params
        about = (p.model, p.data_path, p.valid_path, p.valid_fraction, p.max_samples, p.data_format, p.column_mapping)
        if about in seen:
            continue
        seen.append(about)
        found = [*_model_problems(p), *data_problems(p, measured_for="sweep")]
        if p.valid_path is None and p.valid_fraction == 0:
            words = "valid_fraction is 0, so nothing is held out to tell which run is best. Hold out a part, such as 0.1."
            found.append(FieldProblem("valid_fraction", words))
        problems.update({problem.message: problem for problem in found})
    if problems:
        raise ParamError(list(problems.values()))


def _judged(sweep: Sweep, values: Sequence[Values]) -> list[Try]:
    """Each combination as a run; those that differ only in settings which do nothing beside the others are one."""
    problems: dict[str, FieldProblem] = {}
    made: list[Try] = []
    used: set[str] = set()
    for combination in values:
        try:
            found = one(sweep, combination)
        except ParamError as error:
            problems.update({problem.message: problem for problem in error.problems})
            continue
        idle = [name for name in combination if not counts(found.params, name)]
        used |= combination.keys() - set(idle)
        kept = {name: value for name, value in combination.items() if name not in idle}
        if kept not in [other.values for other in made]:
            made.append(one(sweep, kept) if idle else found)
    if problems:
        raise ParamError(list(problems.values()))
    idle_always = [name for name in sweep.axes if name not in used]
    if idle_always:
        raise ParamError([FieldProblem(name, sentence(sweep.spec.params, name)) for name in idle_always])
    return made


def _model_problems(params: LLMTrainingParams) -> list[FieldProblem]:
    """Models that are not to be found, or cannot serve."""
    found: list[FieldProblem] = []
    for field, widget in model_settings(type(params)).items():
        named = getattr(params, field)
        if not named or (field != "model" and getattr(params, "teacher_endpoint", None)):
            continue
        try:
            source = resolve(named)
            if field == "model":
                facts(named)
            elif widget == "judge" and source.path is not None and not source.scores:
                found.append(FieldProblem(field, f"{field} names {named!r}, whose model writes text. Name a reward model."))
        except ModelError as error:
            found.append(FieldProblem(field, f"{field}: {error}"))
    return found
