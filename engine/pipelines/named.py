"""The pipelines that go by a name: the documentation's chains (engine/advice.py) as stages that refer to each other.

Nothing about a chain is said here. A stage begins with the model of the last stage before it that writes text, and a
setting that takes a judge gets the last stage before it that makes one; both follow from what the trainers declare.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from engine.advice import PIPELINES
from engine.errors import FieldProblem, ParamError
from engine.params import LLMTrainingParams, model_settings
from engine.pipelines.pipeline import Pipeline, from_mapping
from engine.registry import spec_for
from engine.samples import PREFIX, samples

BASE = str(LLMTrainingParams.model_fields["model"].default)


def chains() -> dict[str, tuple[str, ...]]:
    """The trainers of every pipeline that goes by a name, in order; a stage is called as its trainer."""
    return {p.id: tuple(stage.trainer for stage in p.stages if stage.trainer) for p in PIPELINES}


def named(chain: str, name: str, data: Mapping[str, str], model: str = BASE) -> Pipeline:
    """The pipeline `chain` of the base model `model`, called `name`; `data` gives each stage its data.

    Raises:
        ParamError: a stage has no data, or there is no such stage.
    """
    trainers = chains()[chain]
    unknown = [stage for stage in data if stage not in trainers]
    missing = [stage for stage in trainers if stage not in data]
    if unknown or missing:
        said = [f"The pipeline {chain} has no stage {stage!r}." for stage in unknown]
        said += [f"The stage {stage} ({spec_for(stage).title}) has no data." for stage in missing]
        example = f"\nGive each stage data, for example the bundled samples:\n  {example_command(chain)}"
        raise ParamError([FieldProblem("data_path", words) for words in said], hint=example)
    return from_mapping({"pipeline": name, "stages": shaped(trainers, data, model)})


def shaped(trainers: Sequence[str], data: Mapping[str, str], model: str = BASE) -> dict[str, dict[str, Any]]:
    """Stages of these trainers in a row, each called as its trainer; those that `data` leaves out have none yet."""
    stages: dict[str, dict[str, Any]] = {}
    writer, scorer = model, ""
    for trainer in trainers:
        stages[trainer] = {"trainer": trainer, "data_path": data.get(trainer), **begins(trainer, writer, scorer)}
        writer, scorer = (trainer, scorer) if spec_for(trainer).makes == "text" else (writer, trainer)
    return stages


def begins(trainer: str, writer: str, scorer: str) -> dict[str, str]:
    """The settings of a stage that take models, given the last model that writes and the last that scores ("": none)."""
    widgets = model_settings(spec_for(trainer).params)
    return {"model": writer, **{field: scorer for field, widget in widgets.items() if widget == "judge" and scorer}}


def sample_data(chain: str) -> dict[str, str]:
    """A bundled sample for every stage of the pipeline `chain`."""
    found = {sample.trainer: PREFIX + sample.id for sample in reversed(samples())}
    return {trainer: found[trainer] for trainer in chains()[chain]}


def example_command(chain: str) -> str:
    """A command that trains the pipeline `chain` on bundled samples."""
    words = [word for stage, path in sample_data(chain).items() for word in ("--data", f"{stage}={path}")]
    return shlex.join(["aitraining", "pipeline", chain, *words])
