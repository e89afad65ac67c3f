"""What is to be done for each stage: keep its run, wait for it, go on with it, or start one. Everything that can be known
beforehand is checked here, for all stages, before the first one starts.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from engine.errors import FieldProblem, ModelError, ParamError, RunActive, RunError, StudioError
from engine.models import INSTRUCTED, STARTER, facts, resolve
from engine.params import LLMTrainingParams, model_settings
from engine.pipelines.gate import gate_problem
from engine.pipelines.pipeline import Pipeline, Stage, stage_problems
from engine.registry import parse, spec_for
from engine.runs import queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.samples import data_file

# Rows that are looked at before the first stage starts; each stage reads all of its own when its turn comes.
_LOOKED_AT = 500
# The names of bundled models, which a stage of that name would hide.
_BUNDLED = (STARTER, INSTRUCTED)


class Move(StrEnum):
    """What is to be done for a stage."""

    KEEP = "keep"  # it is done, with these very settings and models
    WATCH = "wait for"  # its run is at work or waits for the device
    RESUME = "go on with"  # its run was interrupted or stopped, and left a checkpoint
    START = "start"


@dataclass(frozen=True)
class Step:
    """One stage with its settings, in which the names of stages are the names of their runs, and what is to be done."""

    stage: Stage
    params: LLMTrainingParams
    run: str
    move: Move


def steps(pipeline: Pipeline, attempts: Mapping[str, Sequence[str]], root: Path) -> list[Step]:
    """What is to be done for every stage; `attempts` are the runs that were made for it so far.

    A stage that is done stays as it is unless its own settings, or a run that it builds on, have changed.

    Raises:
        ParamError: some stages' settings cannot be used, or name a stage that is not before them; tells all of it.
        RunActive: a stage is at work with other settings.
    """
    problems: list[FieldProblem] = []
    found: list[Step] = []
    runs: dict[str, str] = {}
    for stage in pipeline.stages:
        wrong = _reference_problems(pipeline, stage)
        if wrong:
            problems += stage_problems(stage.name, wrong)
            runs[stage.name] = f"{pipeline.name}-{stage.name}"
            continue
        named = {field: runs[other] for field, other in pipeline.references(stage).items()}
        try:
            params = parse({**stage.settings, **named})
        except ParamError as error:
            problems += stage_problems(stage.name, error.problems)
            runs[stage.name] = f"{pipeline.name}-{stage.name}"
            continue
        if stage.gate and (why := gate_problem(stage.gate, params)):
            problems += stage_problems(stage.name, [FieldProblem("gate", why)])
        run, move = _move(pipeline, stage, params, attempts.get(stage.name, ()), root)
        runs[stage.name] = run
        found.append(Step(stage, params.model_copy(update={"project_name": run}), run, move))
    if problems:
        raise ParamError(problems)
    return found


def check(pipeline: Pipeline, planned: Sequence[Step]) -> None:
    """Look at the models and the data of every stage that is yet to start.

    Raises:
        ParamError: a model or a file is not there or cannot serve its stage; tells all of it.
    """
    problems: list[FieldProblem] = []
    for step in planned:
        if step.move is Move.START:
            wrong = [
                *_model_problems(pipeline, step),
                *data_problems(step.params, measured_for="gate" if step.stage.gate else ""),
            ]
            problems += stage_problems(step.stage.name, wrong)
    if problems:
        raise ParamError(problems)


def _move(pipeline: Pipeline, stage: Stage, params: LLMTrainingParams, attempts: Sequence[str], root: Path) -> tuple[str, Move]:
    """The stage's run, and what is to be done with it."""
    newest = RunDirectory(root / attempts[-1]) if attempts else None
    if newest is not None and newest.status_file.is_file():
        status, same = newest.status(), _was_given(newest, params)
        if not status.ended_state:
            if same:
                return newest.name, Move.WATCH
            raise RunActive(
                f"Stage {stage.name} is {status.state.value} as the run {newest.name!r}, with other settings than asked now.",
                hint=f"Stop it first: `aitraining stop {newest.name}`. Or resume the pipeline without changes.",
            )
        if same and status.state is State.DONE:
            return newest.name, Move.KEEP
        if same and status.state in (State.INTERRUPTED, State.STOPPED) and queue.has_progress(newest):
            return newest.name, Move.RESUME
    number, name = 1, f"{pipeline.name}-{stage.name}"
    while name in attempts or (root / name).exists():
        number += 1
        name = f"{pipeline.name}-{stage.name}-{number}"
    return name, Move.START


def _was_given(run: RunDirectory, params: LLMTrainingParams) -> bool:
    """Whether the run was started with these settings, whatever its name."""
    try:
        given = parse(run.params())
    except (ParamError, RunError):
        return False  # settings of another version, which this one cannot take, or damaged ones
    return given.model_copy(update={"project_name": None}) == params.model_copy(update={"project_name": None})


def _reference_problems(pipeline: Pipeline, stage: Stage) -> list[FieldProblem]:
    """What is wrong with the stages that this one names, and with its own name."""
    found: list[FieldProblem] = []
    if stage.name in _BUNDLED:
        found.append(FieldProblem("", f"{stage.name} is the name of the bundled model; give the stage another one."))
    order = [other.name for other in pipeline.stages]
    widgets = model_settings(spec_for(stage.trainer).params)
    for field, other in pipeline.references(stage).items():
        makes = spec_for(pipeline.stage(other).trainer).makes
        if other == stage.name:
            words = f"{field} names the stage itself. Name an earlier stage, a run, a folder or a Hub id."
        elif order.index(other) > order.index(stage.name):
            words = f"{field} names the stage {other}, which comes after it. Put {other} before {stage.name}."
        elif widgets[field] == "judge" and makes != "score":
            words = f"{field} names the stage {other}, whose model writes text. Name one that makes a model that scores."
        elif widgets[field] == "model" and makes == "score" and spec_for(stage.trainer).makes != "score":
            words = f"{field} names the stage {other}, whose model gives scores and cannot write. Name one that writes."
        else:
            continue
        found.append(FieldProblem(field, words))
    return found


def _model_problems(pipeline: Pipeline, step: Step) -> list[FieldProblem]:
    """Models that are neither a stage's nor to be found."""
    references = pipeline.references(step.stage)
    found: list[FieldProblem] = []
    for field, widget in model_settings(type(step.params)).items():
        named = getattr(step.params, field)
        afar = field != "model" and getattr(step.params, "teacher_endpoint", None)  # the server knows what it is called
        if not named or field in references or afar:
            continue
        try:
            source = resolve(named)
            earlier = [stage.name for stage in pipeline.stages if stage.name != step.stage.name]
            near = difflib.get_close_matches(named, earlier, n=1, cutoff=0.75) if source.path is None else []
            if near:
                words = f"{field} names {named!r}, which is no stage, run or folder. Did you mean the stage {near[0]}?"
                found.append(FieldProblem(field, words))
            elif field == "model":
                facts(named)
            elif widget == "judge" and source.path is not None and not source.scores:
                found.append(FieldProblem(field, f"{field} names {named!r}, whose model writes text. Name a reward model."))
        except ModelError as error:
            found.append(FieldProblem(field, f"{field}: {error}"))
    return found


def data_problems(params: LLMTrainingParams, *, measured_for: str = "") -> list[FieldProblem]:
    """What can be seen of the data without reading all of it: that it is there, of the right kind, and has usable rows,
    and where something is measured for (a "gate", a "sweep"), enough of them that some are held out."""
    from engine.data import held_out_fraction, inspect

    kind, found = spec_for(params.trainer).rows, list[FieldProblem]()
    form, mapping = params.data_format, params.column_mapping or None
    for field, path in (("data_path", params.data_path), ("valid_path", params.valid_path)):
        if not path:
            continue
        try:
            seen = inspect(data_file(path), kind, form=form, mapping=mapping, limit=0, check_rows=_LOOKED_AT)
        except StudioError as error:
            found.append(FieldProblem(field, f"{field}: {error}"))
            continue
        if seen.looked_at and not seen.usable:
            first = f" The first problem: {seen.problems[0].message}" if seen.problems else ""
            found.append(FieldProblem(field, f"{field}: none of the first {seen.looked_at} rows can be used.{first}"))
        usable = round(seen.rows * seen.usable / max(seen.looked_at, 1))
        rows, own = min(usable, params.max_samples or usable), params.valid_path or seen.held_out
        if measured_for and not own and params.valid_fraction is None and not held_out_fraction(rows):
            words = f"{measured_for}: of {rows} rows none would be held out to measure with. Set valid_fraction, such as 0.2."
            found.append(FieldProblem(measured_for, words))
    return found
