"""What `from engine import …` promises: these names and no other, each with a docstring, types, ranges and errors."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import engine
from engine import errors
from engine.field_words import choices_of, range_of
from engine.registry import specs

NAMES = [
    *("LLMTrainingParams", "Run", "StudioError", "SweepRuns", "TrainedModel", "TrainedPipeline"),
    *("run_pipeline", "run_sweep", "start", "start_sweep", "train"),
]
FUNCTIONS = [engine.start, engine.train, engine.run_pipeline, engine.run_sweep, engine.start_sweep]
METHODS = [
    member
    for cls in (engine.Run, engine.SweepRuns, engine.TrainedModel, engine.TrainedPipeline)
    for name, member in vars(cls).items()
    if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
]


def test_the_public_names_are_these() -> None:
    assert sorted(engine.__all__) == NAMES
    for name in NAMES:
        assert (getattr(engine, name).__doc__ or "").strip(), name


@pytest.mark.parametrize(
    "member", [*FUNCTIONS, *METHODS], ids=lambda m: getattr(m, "__qualname__", None) or m.fget.__qualname__
)
def test_a_function_says_types_and_what_it_does(member: Any) -> None:
    function = member.fget if isinstance(member, property) else member
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for name, parameter in signature.parameters.items():
        assert name == "self" or parameter.annotation is not inspect.Parameter.empty, name
    doc = inspect.getdoc(function) or ""
    assert doc or isinstance(member, property), function
    named = re.findall(r"^ +(\w+Error|Run\w+): ", doc.partition("Raises:")[2], re.MULTILINE)
    assert all(issubclass(getattr(errors, name), errors.StudioError) for name in named)


@pytest.mark.parametrize("function", [*FUNCTIONS, engine.Run, engine.Run.wait, engine.SweepRuns.wait, engine.LLMTrainingParams])
def test_what_can_fail_names_its_errors(function: Any) -> None:
    raised = (inspect.getdoc(function) or "").partition("Raises:")[2]
    assert re.search(r"^ *\w+: \w", raised, re.MULTILINE), function


@pytest.mark.parametrize("cls", [engine.LLMTrainingParams, *(spec.params for spec in specs().values())])
def test_help_on_settings_tells_type_range_default_and_sense_of_each(cls: Any) -> None:
    lines = {line.split(" (")[0].strip(): line for line in (cls.__doc__ or "").splitlines() if " (" in line}
    for name, field in cls.model_fields.items():
        line = lines[name]
        assert str(field.description) in line
        assert range_of(field) in line and all(choice in line for choice in choices_of(field))
        assert "must be given" in line if field.is_required() else "default" in line
    assert list(inspect.signature(cls).parameters) == list(cls.model_fields)
    assert "Form(" not in str(inspect.signature(cls)), "a signature for people"


@pytest.mark.parametrize("spec", specs().values(), ids=lambda spec: spec.id)
def test_settings_are_typed_for_their_trainer(spec: Any) -> None:
    made = engine.LLMTrainingParams(trainer=spec.id, data_path="x.csv", **spec.example_settings)
    assert type(made) is spec.params and made.trainer == spec.id
    with pytest.raises(engine.StudioError, match="must be"):
        engine.LLMTrainingParams(trainer=spec.id, data_path="x.csv", lr=3, **spec.example_settings)
