"""What a person asks for, as a pipeline: a file, a mapping, or one of the chains that go by a name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.pipelines.course import free_name
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


def begun(what: str | os.PathLike[str] | Mapping[str, Any]) -> str | None:
    """The name of a pipeline that was begun before, where `what` is to be taken for one; None for a file or mapping."""
    if isinstance(what, Mapping) or not isinstance(what, str) or what.endswith(_ENDINGS) or Path(what).is_file():
        return None
    return what


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise wrong(f"The pipeline file {path} is not UTF-8 text.") from None
    except OSError as error:
        by_name = ", ".join(chains())
        raise wrong(f"The pipeline file {path} cannot be read: {error.strerror}. By name there are: {by_name}.") from None
