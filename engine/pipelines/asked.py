"""What a person asks for, as a pipeline: a file, a mapping, or one of the chains that go by a name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.paths import expanded
from engine.pipelines.course import Course, free_name
from engine.pipelines.named import BASE, chains, named
from engine.pipelines.pipeline import Pipeline, from_mapping, from_yaml, wrong

_ENDINGS = (".yaml", ".yml")


def asked(
    what: str | os.PathLike[str] | Mapping[str, Any],
    *,
    name: str | None = None,
    model: str | None = None,
    data: Mapping[str, str] | None = None,
) -> Pipeline:
    """The pipeline that `what` (a file, a mapping of a file's shape, or a chain's name) stands for.

    `name` is what it is to be called, `data` gives stages their data, `model` is the base model of a chain.

    Raises:
        ParamError: there is no such file or chain, or it cannot be used; says what is there.
    """
    if isinstance(what, str) and what in chains():
        return named(what, name or free_name(what), data or {}, model or BASE)
    pipeline = from_mapping(what) if isinstance(what, Mapping) else from_yaml(_text(Path(what)))
    if model is not None:
        raise wrong("A pipeline file names its models itself: set the model of a stage instead (--set STAGE.model=…).")
    return pipeline.changed({stage: {"data_path": path} for stage, path in (data or {}).items()}, name=name)


def begun(
    what: str | os.PathLike[str] | Mapping[str, Any],
    *,
    name: str | None = None,
    model: str | None = None,
    data: Mapping[str, str] | None = None,
) -> tuple[Pipeline, Course]:
    """A pipeline that was begun before, and how far it is: `what` is its name, or a file or mapping that replaces it.

    Raises:
        ParamError: the file cannot be used, or what was settled when it was begun is given again.
        RunNotFound: none was begun.
    """
    if not isinstance(what, str) or what.endswith(_ENDINGS) or Path(what).is_file():
        pipeline = asked(what, name=name, model=model, data=data)
        return pipeline, Course.open(pipeline.name)
    course = Course.open(what)
    if name or model:
        raise wrong(f"The pipeline {what} keeps its name and its base model; leave --name and --model out.")
    paths = {stage: {"data_path": path} for stage, path in (data or {}).items()}
    return course.pipeline().changed(paths), course


def _text(path: Path) -> str:
    try:
        return expanded(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise wrong(f"The pipeline file {path} is not UTF-8 text.") from None
    except OSError as error:
        by_name = ", ".join(chains())
        raise wrong(f"The pipeline file {path} cannot be read: {error.strerror}. By name there are: {by_name}.") from None
