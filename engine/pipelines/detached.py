"""The process that goes through a pipeline for a page, or a terminal, that does not wait: it outlives both.

Whoever asks checks everything, writes the pipeline down and takes its lock, then hands the lock on to this process. While
the process lives the lock is held, so any server sees that it is there, however often servers come and go; when it is
killed the lock is free, the run that trains goes on, and the pipeline can be taken up again.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from engine.errors import RunActive, RunNameTaken, StageError, StudioError
from engine.pipelines import drive
from engine.pipelines.course import Course
from engine.pipelines.pipeline import Pipeline
from engine.runs import launcher, queue
from engine.runs.directory import RunDirectory
from engine.runs.lock import FileLock
from engine.runs.status import State

_MODULE = "engine.pipelines.detached"
# So long a page that is open, whose standby process begins at once, is left to start each run.
_COURTESY_S = 2.0
_AT_WORK = frozenset(s.value for s in State) - {"done", "failed", "stopped", "interrupted"}


def start(pipeline: Pipeline, request: str = "") -> str:
    """Begin a pipeline and return its name at once. The same `request` gives the same pipeline, however often it is asked.

    Raises:
        ParamError: a stage's settings, model or data cannot be used; nothing was started.
        RunNameTaken: there is a pipeline of this name.
    """
    try:
        with drive.begun(pipeline, request) as (course, lock):
            _leave(course, lock)
    except (RunNameTaken, RunActive):
        if not Course(pipeline.name).asked_as(request):
            raise
    return pipeline.name


def go_on(pipeline: Pipeline) -> None:
    """Go on with a pipeline that was begun, and return at once: what is done is kept, the rest is resumed or retried.

    Raises:
        ParamError: a stage's settings, model or data cannot be used; nothing was started.
        RunNotFound: no pipeline of this name was begun.
        RunActive: another process goes through it, or a changed stage is at work.
    """
    with drive.taken_up(pipeline) as (course, lock):
        _leave(course, lock)


def stop(name: str, *, force: bool = False) -> None:
    """End a pipeline: the stage that trains finishes its step and saves (`force`: is ended at once), no other is started.

    Raises:
        RunNotFound: there is no such pipeline.
    """
    course = Course.open(name)
    course.stop_file.touch()
    for stage in course.progress().stages:
        if stage.state in _AT_WORK:
            queue.stop(RunDirectory.open(stage.run, course.root), force=force)


def _leave(course: Course, lock: FileLock) -> None:
    launcher.start_detached(_MODULE, course.name, log=course.log_file, keep=lock)


def main(argv: Sequence[str]) -> int:
    """Go through the pipeline `argv[0]`, whose lock we were given. Whatever ends us is written down for the page."""
    course = Course.open(argv[0])
    if not course.is_driven:
        print(f"Nobody holds the lock of {course.name}. Start it with: aitraining pipeline {course.name} --resume")
        return 2
    try:
        drive.go_through(course, lambda words: print(words, flush=True), _COURTESY_S)
    except StageError as error:  # the stage's run, its gate, or the request to stop tells it to everybody
        print(error, flush=True)
        return 1
    except StudioError as error:
        print(error, flush=True)
        course.ended_by(error.message, error.hint)
        return 1
    except Exception as error:
        traceback.print_exc()
        told = f"The process that goes from stage to stage ended by an error: {type(error).__name__}: {error}."
        course.ended_by(told, f"Its log tells more: {course.log_file}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
