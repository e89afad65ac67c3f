"""Pipelines from Python: `run_pipeline` waits until every stage is done and returns their models."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.python_api import TrainedModel
from engine.runs.directory import RunDirectory


@dataclass(frozen=True)
class TrainedPipeline(os.PathLike[str]):
    """A finished pipeline: `models` by stage, in order; `os.fspath()` and `str()` give the last stage's model's folder."""

    name: str
    models: dict[str, TrainedModel]

    @property
    def model(self) -> TrainedModel:
        """What the last stage made."""
        return list(self.models.values())[-1]

    def __fspath__(self) -> str:
        return str(self.model)

    def __str__(self) -> str:
        return str(self.model)


def run_pipeline(
    what: str | os.PathLike[str] | Mapping[str, Any],
    *,
    name: str | None = None,
    model: str | None = None,
    data: Mapping[str, str] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    gates: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> TrainedPipeline:
    """Train stage after stage, show progress on standard error, and wait. See docs/pipelines.md.

    `what` is a pipeline file, a mapping of its shape, or a name such as "rlhf" (which needs `data` for each stage and
    begins with `model`). `data`, `settings` and `gates` are given by stage and go over what the file says. With `resume`,
    `what` may also be the name of a pipeline that was begun before: stages that are done are kept.

    Raises:
        ParamError: some stage's settings, model or data cannot be used; nothing was started.
        StageError: a stage failed, was stopped, or did not reach what its gate asks.
        RunError: there is such a pipeline already, or (with `resume`) there is none.
    """
    from engine.pipelines import drive
    from engine.pipelines.asked import asked, begun

    def tell(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    read = begun(what, name=name, model=model, data=data)[0] if resume else asked(what, name=name, model=model, data=data)
    pipeline = read.changed(settings, gates)
    course = drive.resume(pipeline, tell) if resume else drive.begin(pipeline, tell)
    runs = {stage.stage: RunDirectory(course.root / stage.run) for stage in course.progress().stages}
    models = {stage: TrainedModel(run.name, run.model_dir, dict(run.status().metrics)) for stage, run in runs.items()}
    return TrainedPipeline(course.name, models)
