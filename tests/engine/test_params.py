"""Settings: one declaration, checked with sentences that name setting, range, flag and the nearest right one."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from engine.errors import ParamError
from engine.params import LLMTrainingParams, form_of
from engine.registry import parse, spec_for, specs
from engine.spec import Form


def wrong(**values: object) -> str:
    with pytest.raises(ParamError) as caught:
        LLMTrainingParams(**{"data_path": "x.csv", "trainer": "sft", **values})
    return caught.value.message


def test_the_base_class_stands_for_every_trainer() -> None:
    for spec in specs().values():
        made = LLMTrainingParams(trainer=spec.id, data_path="x.csv", **spec.example_settings)
        assert type(made) is spec.params
        assert parse(made.model_dump()) == made


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lr": 3}, ["lr must be more than 0 and less than 1", "got 3", "--lr"]),
        ({"lora_r": 0}, ["lora_r must be at least 1 and at most 1024", "--lora-r"]),
        ({"epochs": "many"}, ["epochs must be a number", "'many'"]),
        ({"batchsize": 4}, ["no setting 'batchsize'", "--batch-size"]),
        ({"trainer": "sfd"}, ["no trainer 'sfd'", "'sft'"]),
        ({"trainer": "default", "packing": True}, ["packing belongs to the trainer sft"]),
        ({"scheduler": "banana"}, ["scheduler must be", "'cosine'"]),
        ({"project_name": "../up"}, ["project_name '../up' does not fit"]),
        ({"peft": "perhaps"}, ["peft must be true or false", "--no-peft"]),
    ],
)
def test_a_wrong_setting_is_told_in_full(values: dict[str, object], words: list[str]) -> None:
    message = wrong(**values)
    for word in words:
        assert word in message


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ParamError) as caught:
        LLMTrainingParams(trainer="sft", lr=3, epochs=0)
    assert {p.field for p in caught.value.problems} == {"lr", "epochs", "data_path"}


def test_settings_cannot_be_changed_afterwards() -> None:
    made = LLMTrainingParams(trainer="sft", data_path="x.csv")
    with pytest.raises(ValueError, match="frozen"):
        made.epochs = 2  # type: ignore[misc]


@pytest.mark.parametrize("trainer", specs())
def test_every_field_says_what_it_is(trainer: str) -> None:
    cls = spec_for(trainer).params
    assert issubclass(cls, BaseModel)
    for name, field in cls.model_fields.items():
        assert isinstance(form_of(cls, name), Form)
        assert (field.description and field.description[0].isupper()) or field.description[0].isdigit()
        assert field.description.endswith("."), name
        for other in form_of(cls, name).when:
            assert other in cls.model_fields
        if form_of(cls, name).auto:
            assert field.default is None, f"{name}: a field that is chosen automatically has None as its default"
