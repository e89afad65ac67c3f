"""What the page may ask about pipelines, in one place: `api.pipelines`. Plain values and frozen dataclasses only."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine import advice
from engine.errors import RunActive
from engine.pipelines.course import Course, Progress, free_name, progress_of_all
from engine.pipelines.gate import in_words, read_gate, titles
from engine.pipelines.named import begins, chains, named, sample_data, shaped
from engine.pipelines.pipeline import Pipeline, Stage, builds_on, from_mapping, from_yaml
from engine.pipelines.told import told
from engine.registry import spec_for

if TYPE_CHECKING:
    from engine.pipelines.outlook import Foreseen

__all__ = [
    "Pipeline",
    "Progress",
    "Stage",
    "begins",
    "builds_on",
    "chains",
    "check",
    "command",
    "declared",
    "forget",
    "free_name",
    "from_mapping",
    "from_yaml",
    "go_on",
    "in_words",
    "listed",
    "model_settings",
    "named",
    "of_runs",
    "outlook",
    "pictures",
    "progress",
    "read_gate",
    "sample_data",
    "shaped",
    "start",
    "stop",
    "titles",
    "told",
]


def pictures() -> tuple[advice.Pipeline, ...]:
    """The chains that go by a name as the documentation draws them, in its order; ours after them."""
    return advice.PIPELINES


def check(pipeline: Pipeline, again: str = "") -> None:
    """Check every stage: settings, models, data, and the name. `again` names the pipeline that it goes on from.

    Raises:
        ParamError: a stage's settings, model or data cannot be used; its problems' fields are `stage.setting`.
        RunNameTaken: there is a pipeline of its name.
    """
    from engine.pipelines import drive

    drive.planned(pipeline, Course.open(again) if again else None)


def outlook(pipeline: Pipeline, again: str = "") -> list[Foreseen]:
    """What every stage will take; see engine/pipelines/outlook.py."""
    from engine.pipelines.outlook import outlook as foresee

    return foresee(pipeline, Course.open(again) if again else None)


def model_settings(trainer: str) -> list[str]:
    """The settings of a trainer that take a model."""
    from engine.params import model_settings as taken

    return list(taken(spec_for(trainer).params))


def command(pipeline: Pipeline, again: str = "") -> str:
    """The command line that does the same."""
    from engine.pipelines.written import command as write

    return write(pipeline, Course.open(again) if again else None)


def start(pipeline: Pipeline, request: str = "") -> str:
    """Begin it in a process of its own and return its name at once; see engine/pipelines/detached.py."""
    from engine.pipelines import detached

    return detached.start(pipeline, request)


def go_on(name: str, changed: Pipeline | None = None, gates: Mapping[str, Any] | None = None) -> None:
    """Go on with a pipeline in a process of its own: what is done is kept. `changed` replaces it, `gates` sets gates anew."""
    from engine.pipelines import detached

    detached.go_on((changed or declared(name)).changed(gates=gates))


def stop(name: str, *, force: bool = False) -> None:
    """End the stage that trains, and with it the pipeline."""
    from engine.pipelines import detached

    detached.stop(name, force=force)


def declared(name: str) -> Pipeline:
    """The pipeline as it was written down."""
    return Course.open(name).pipeline()


def progress(name: str) -> Progress:
    """Where it stands."""
    return Course.open(name).progress()


def listed() -> list[Progress]:
    """Where every pipeline stands, newest first."""
    return progress_of_all()


def of_runs() -> dict[str, str]:
    """Run -> the pipeline that it belongs to."""
    return {run: found.name for found in progress_of_all() for stage in found.stages for run in stage.tries}


def forget(name: str) -> None:
    """Take a pipeline off the list; its runs stay.

    Raises:
        RunActive: a process goes through it.
    """
    course = Course.open(name)
    if course.is_driven:
        raise RunActive(f"The pipeline {name!r} is at work.", hint="Stop it first.")
    shutil.rmtree(course.folder)
