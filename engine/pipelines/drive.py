"""Goes through a pipeline stage by stage: starts each run, waits for it, holds it against its gate.

Whoever calls this may be killed at any moment: the run that trains goes on, and `resume` goes on from what the runs say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.admission import admit
from engine.errors import StageError
from engine.pipelines.course import Course
from engine.pipelines.gate import judge
from engine.pipelines.pipeline import Pipeline
from engine.pipelines.steps import Move, Step, check, steps
from engine.runs import queue
from engine.runs.directory import RunDirectory
from engine.runs.lock import FileLock
from engine.runs.status import State
from engine.watch import watch

Tell = Callable[[str], None]


def planned(pipeline: Pipeline, course: Course | None = None) -> list[Step]:
    """What would be done for every stage, all of it checked; nothing is written. `course`: what it goes on from.

    Raises:
        ParamError: a stage's settings, model or data cannot be used.
        RunNameTaken: it goes on from nothing, and there is a pipeline of its name.
    """
    place = course or Course(pipeline.name)
    if course is None:
        place.must_be_new()
    made = steps(pipeline, course.attempts() if course else {}, place.root)
    check(pipeline, made)
    return made


def begin(pipeline: Pipeline, tell: Tell) -> Course:
    """Check every stage, write the pipeline down, and train it to its end.

    Raises:
        ParamError: a stage's settings, model or data cannot be used; nothing was started.
        RunNameTaken: there is a pipeline of this name.
        StageError: a stage failed, was stopped, or did not reach what its gate asks.
    """
    with begun(pipeline) as (course, _):
        go_through(course, tell)
    return course


def resume(pipeline: Pipeline, tell: Tell) -> Course:
    """Go on with a pipeline that was begun: stages that are done are kept, an interrupted one is resumed, a failed one is
    retried. A stage whose settings have changed, and those that build on it, are trained anew; their old runs stay.

    Raises:
        ParamError: a stage's settings, model or data cannot be used; nothing was started.
        RunNotFound: no pipeline of this name was begun.
        RunActive: another process goes through it, or a changed stage is at work.
        StageError: a stage failed, was stopped, or did not reach what its gate asks.
    """
    with taken_up(pipeline) as (course, _):
        go_through(course, tell)
    return course


@contextmanager
def begun(pipeline: Pipeline, request: str = "") -> Iterator[tuple[Course, FileLock]]:
    """A new pipeline, checked and written down, and the lock of whoever goes through it. Raises as `begin`."""
    planned(pipeline)
    course = Course(pipeline.name)
    with course.driven() as lock:
        course.create(pipeline, request)
        yield course, lock


@contextmanager
def taken_up(pipeline: Pipeline) -> Iterator[tuple[Course, FileLock]]:
    """A pipeline that was begun, with what changed written down, and the lock. Raises as `resume`."""
    course = Course.open(pipeline.name)
    with course.driven() as lock:
        planned(pipeline, course)
        course.change(pipeline)
        queue.recover(course.root)  # a run that was queued while the machine went down would be waited for in vain
        yield course, lock


def go_through(course: Course, tell: Tell, courtesy_s: float = 0.0) -> None:
    """Train what is left of a pipeline whose lock is held. For `courtesy_s` an open page may start each run instead of us.

    Raises:
        StageError: a stage failed, was stopped, or did not reach what its gate asks.
    """
    count = len(course.pipeline().stages)
    for place in range(count):
        # planned anew each time: the runs of the stages before it have their names now
        step = steps(course.pipeline(), course.attempts(), course.root)[place]
        if step.move is not Move.KEEP:
            _must_go_on(course, step)
        tell(f"Stage {step.stage.name} ({place + 1} of {count}): {_words(step)}")
        run = _moved(course, step)
        status = run.status() if step.move is Move.KEEP else watch(run.name, courtesy_s, root=course.root)
        _must_be_done(course, step, run, status)
        if step.stage.gate:
            _must_be_good(course, step, run, tell)


def _words(step: Step) -> str:
    if step.move is Move.KEEP:
        return f"done before, kept (run {step.run})"
    return f"{step.move.value} run {step.run}"


def _moved(course: Course, step: Step) -> RunDirectory:
    """The stage's run, in the queue if it is not done; whoever watches it starts it."""
    if step.move is Move.START:
        # the request makes it one run even if we die before it is written down as the stage's
        tried = len(course.attempts().get(step.stage.name, []))
        settings = step.params.model_copy(update={"project_name": None}).model_dump_json()
        digest = hashlib.sha256(settings.encode()).hexdigest()[:16]
        request = f"pipeline {course.name} {course.created()!r} {step.stage.name} {tried} {digest}"
        run = queue.enqueue(step.params, request_id=request, root=course.root, admit=admit)
        course.add_run(step.stage.name, run.name)
    else:
        run = RunDirectory.open(step.run, course.root)
        if step.move is Move.RESUME:
            queue.resume(run)
    if step.move is not Move.KEEP and course.stop_file.exists():
        queue.stop(run)  # whoever asked found no run to stop: there was none a moment ago
    return run


def _must_go_on(course: Course, step: Step) -> None:
    if course.stop_file.exists():
        again = f"Go on: aitraining pipeline {course.name} --resume"
        told = f"The pipeline was stopped, as asked, before its stage {step.stage.name}."
        raise StageError(told, stage=step.stage.name, run="", hint=again, cause="stopped")


def _must_be_done(course: Course, step: Step, run: RunDirectory, status: Any) -> None:
    if status.state is State.DONE:
        return
    told = f"Stage {step.stage.name} ({run.name}): {status.state.value}. {status.reason}".strip()
    again = f"Then: aitraining pipeline {course.name} --resume (stages that are done are kept)"
    cause = status.cause or status.state.value
    raise StageError(told, stage=step.stage.name, run=run.name, hint=f"{status.hint} {again}".strip(), cause=cause)


def _must_be_good(course: Course, step: Step, run: RunDirectory, tell: Tell) -> None:
    assert step.stage.gate is not None
    verdict = judge(step.stage.gate, run)
    if verdict.met:
        tell(verdict.sentence(step.stage.name))
        return
    better = f"epochs={2 * step.params.epochs:g}" if verdict.value is not None else "valid_fraction=0.1"
    hint = (
        f"No later stage was started. Change the stage's settings or its gate, for example: aitraining pipeline "
        f"{course.name} --resume --set {step.stage.name}.{better}"
    )
    raise StageError(verdict.sentence(step.stage.name), stage=step.stage.name, run=run.name, hint=hint, cause="gate")
