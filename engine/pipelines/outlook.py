"""What every stage of a pipeline will take, before anything is started: rows, steps, memory, time.

A stage's model may not be there yet. What can be known of it is what it begins with: training changes a model's weights
and not its size, so the plan is made with that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.compute.door import device_of
from engine.errors import StudioError
from engine.estimate import Estimate, estimate
from engine.models import facts
from engine.params import LLMTrainingParams, model_settings
from engine.pipelines.course import Course
from engine.pipelines.pipeline import Pipeline, Stage
from engine.pipelines.steps import Move, steps
from engine.plan import Plan, plan
from engine.registry import parse, spec_for
from engine.runs import checkpoints
from engine.runs.directory import RunDirectory


@dataclass(frozen=True)
class Foreseen:
    """One stage: its run, what is to be done for it, and what that takes; `problem` says why that cannot be told. Of a run that
    goes on, `done` steps lie in its checkpoint, and steps and time of the `estimate` are of what is left."""

    stage: Stage
    run: str
    move: Move
    plan: Plan | None = None
    estimate: Estimate | None = None
    problem: StudioError | None = None
    done: int = 0
    unasked: int = 0  # rows that cannot be used, while nobody has said that they are to be left out


def outlook(pipeline: Pipeline, course: Course | None = None) -> list[Foreseen]:
    """What each stage takes; `course` is what it goes on from. One stage that cannot be planned hides no other.

    Raises:
        ParamError: some stages' settings cannot be used.
    """
    place = course or Course(pipeline.name)
    made = steps(pipeline, course.attempts() if course else {}, place.root)
    return [_left(_foreseen(pipeline, step.stage, step.run, step.move), RunDirectory(place.root / step.run)) for step in made]


def standing_in(pipeline: Pipeline, settings: LLMTrainingParams) -> LLMTrainingParams:
    """Settings of a stage with the models that are yet to be made replaced by those that they begin with."""
    names = {stage.name for stage in pipeline.stages}
    chosen = {field: getattr(settings, field) for field in model_settings(type(settings))}
    return settings.model_copy(update={field: base_of(pipeline, value) for field, value in chosen.items() if value in names})


def base_of(pipeline: Pipeline, reference: str) -> str:
    """The model that `reference` begins with: itself, unless it names a stage."""
    seen: set[str] = set()
    while reference not in seen and any(stage.name == reference for stage in pipeline.stages):
        seen.add(reference)
        default = LLMTrainingParams.model_fields["model"].default
        reference = str(pipeline.stage(reference).settings.get("model") or default)
    return reference


def _foreseen(pipeline: Pipeline, stage: Stage, run: str, move: Move) -> Foreseen:
    from engine.preview import data_facts

    try:
        params = standing_in(pipeline, parse(stage.settings))
        data, model, here = data_facts(params), facts(params.model), device_of(params)
        chosen = plan(params, data, model, here)
        unasked = 0 if params.drop_bad_rows else data.unusable
        takes = estimate(chosen, data, model, here, spec_for(params.trainer))
        return Foreseen(stage, run, move, chosen, takes, unasked=unasked)
    except StudioError as error:
        return Foreseen(stage, run, move, problem=error)


def _left(whole: Foreseen, run: RunDirectory) -> Foreseen:
    """The same without the steps that the stage's run has in the checkpoint that it goes on from."""
    newest = checkpoints.look(run).newest if whole.move is Move.RESUME else None
    if newest is None or whole.estimate is None:
        return whole
    steps = whole.estimate.steps
    done = min(checkpoints.step_of(newest), steps)
    seconds = whole.estimate.seconds * (steps - done) / max(steps, 1)
    return replace(whole, done=done, estimate=replace(whole.estimate, steps=steps - done, seconds=seconds))
