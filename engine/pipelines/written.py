"""The command line that equals a pipeline: what the page shows, and what `aitraining pipeline` accepts."""

from __future__ import annotations

import json
import shlex
from typing import Any

from engine.pipelines.course import Course, free_name
from engine.pipelines.named import BASE, chains, named
from engine.pipelines.pipeline import Pipeline

_BEGIN = ("aitraining", "pipeline")


def command(pipeline: Pipeline, course: Course | None = None) -> str:
    """The command that trains `pipeline`, or, with `course`, goes on with it as it is now.

    A chain of the user's own is named by a file, `NAME.yaml`, that is to be saved first.
    """
    words = _again(pipeline, course) if course else _by_name(pipeline)
    return shlex.join(words or [*_BEGIN, f"{pipeline.name}.yaml", *(["--resume"] if course else [])])


def _by_name(pipeline: Pipeline) -> list[str] | None:
    """As one of the chains that go by a name; None when it is none."""
    made = tuple((stage.name, stage.trainer) for stage in pipeline.stages)
    chain = next((c for c, trainers in chains().items() if made == tuple((t, t) for t in trainers)), None)
    data = {stage.name: stage.settings.get("data_path") for stage in pipeline.stages}
    if chain is None or not all(data.values()):
        return None
    model = str(pipeline.stages[0].settings.get("model") or BASE)
    given = {stage: str(path) for stage, path in data.items()}
    changes = _changes(named(chain, pipeline.name, given, model), pipeline)
    if changes is None:
        return None
    words = [*_BEGIN, chain, *(word for stage, path in given.items() for word in ("--data", f"{stage}={path}"))]
    words += ["--model", model] if model != BASE else []
    return words + (["--name", pipeline.name] if pipeline.name != free_name(chain) else []) + changes


def _again(pipeline: Pipeline, course: Course) -> list[str] | None:
    changes = _changes(course.pipeline(), pipeline)
    return None if changes is None else [*_BEGIN, pipeline.name, "--resume", *changes]


def _changes(before: Pipeline, after: Pipeline) -> list[str] | None:
    """The flags that make one pipeline of another; None where flags cannot."""
    if [stage.name for stage in before.stages] != [stage.name for stage in after.stages]:
        return None
    words: list[str] = []
    for old, new in zip(before.stages, after.stages, strict=True):
        if old.settings.keys() - new.settings.keys() or old.trainer != new.trainer:
            return None
        for name, value in new.settings.items():
            if name not in old.settings or old.settings[name] != value:
                words += ["--set", f"{new.name}.{name}={_text(value)}"]
        if old.gate != new.gate:
            words += ["--gate", f"{new.name}={new.gate or ''}"]
    return words


def _text(value: Any) -> str:
    if isinstance(value, (bool, dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
