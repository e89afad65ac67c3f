"""Every parameter has a widget, and what is put into a widget reaches the engine unchanged, for every trainer."""

from __future__ import annotations

from typing import Any, get_args, get_origin

import gradio as gr
import pytest

from engine import api
from engine.errors import ParamError
from ui import draft
from ui.fields import AUTOMATIC, Field, fields, to_parameter, to_widget
from ui.form import ELSEWHERE, GROUPS, SettingsForm
from ui.new_run import Page
from ui.new_run_data import DataStep

FIELDS = fields()
# What a setting cannot be without.
NEEDED = {"teacher_endpoint": {"teacher_model": "big"}}
CASES = [(spec.id, name) for spec in api.specs().values() for name in spec.params.model_fields if name != "trainer"]


@pytest.fixture(scope="module")
def form() -> SettingsForm:
    """The form as the page builds it."""
    with gr.Blocks():
        return Page().form


def another(field: Field) -> Any:
    """An allowed value that is not the default."""
    if field.is_tick:
        return not field.default
    if field.choices is not None:
        word = next(c for c in field.choices if c not in (AUTOMATIC, to_widget(field, field.default)))
        return to_parameter(field, word)
    if field.is_lines:
        return ["one", "two"]
    if field.is_mapping:
        return {"prompt": "Frage"}
    kinds = {get_origin(a) or a for a in (get_args(field.info.annotation) or (field.info.annotation,))}
    number = next((v for v in (3, 9, 0.25, 512) if _allowed(field, v)), None)
    if int in kinds or float in kinds:
        return float(number) if float in kinds and number is not None else number
    words = {"data_format": "qa", "target_modules": "q_proj", "teacher_endpoint": "http://127.0.0.1:8000/v1"}
    return words.get(field.name, "something")


def _allowed(field: Field, value: float) -> bool:
    trainer = next(iter(field.trainers))
    try:
        made = api.validate({"trainer": trainer, "data_path": "x", field.name: value})
    except ParamError:
        return False
    return getattr(made, field.name) == value != field.default


@pytest.mark.parametrize(("trainer", "name"), CASES)
def test_what_is_put_into_a_widget_reaches_the_engine(form: SettingsForm, trainer: str, name: str) -> None:
    assert name in form.widgets, "a parameter that nobody can set on the page"
    value = another(FIELDS[name])
    held = {**{n: to_widget(f, None if f.info.is_required() else f.default) for n, f in FIELDS.items()}}
    held |= {"trainer": trainer, "data_path": "rows.csv", **NEEDED.get(name, {}), name: to_widget(FIELDS[name], value)}
    params = form.params(tuple(held[n] for n in form.names))
    assert getattr(params, name) == value
    assert (value, name) == (getattr(api.from_yaml(api.to_yaml(params)), name), name)


def test_untouched_widgets_are_the_defaults(form: SettingsForm) -> None:
    for spec in api.specs().values():
        held = {n: to_widget(f, None if f.info.is_required() else f.default) for n, f in FIELDS.items()}
        held |= {"trainer": spec.id, "data_path": "rows.csv"}
        assert form.params(tuple(held[n] for n in form.names)) == spec.params(data_path="rows.csv")


def test_every_group_has_a_place() -> None:
    assert {f.form.group for n, f in FIELDS.items() if n not in ELSEWHERE} <= set(GROUPS)


def test_a_wrong_value_is_judged_beside_its_own_widget(form: SettingsForm) -> None:
    held = {n: to_widget(f, None if f.info.is_required() else f.default) for n, f in FIELDS.items()}
    held |= {"trainer": "sft", "data_path": "rows.csv", "lr": "7"}
    verdict = dict(zip(form.names, form.judge(*(held[n] for n in form.names)), strict=True))
    assert [n for n, v in verdict.items() if not v["is_valid"]] == ["lr"]
    assert "less than 1" in verdict["lr"]["message"]


def test_a_draft_survives_a_reload_and_an_address_begins_anew(form: SettingsForm) -> None:
    first, _ = draft.opened({}, {"trainer": "sft", "data": "sample:neighbours"}, form)
    edited = {**first, "values": {**first["values"], "epochs": "9"}}
    again, _ = draft.opened(edited, {"trainer": "sft", "data": "sample:neighbours"}, form)
    assert again["values"]["epochs"] == "9"
    assert again["id"] == first["id"]
    other, _ = draft.opened(edited, {"trainer": "default"}, form)
    assert other["values"]["epochs"] == "3"
    assert other["values"]["trainer"] == "default"


def test_a_started_draft_gets_a_new_id(form: SettingsForm) -> None:
    first, _ = draft.opened({}, {}, form)
    back, _ = draft.opened({**first, "started": "sft-1"}, {}, form)
    assert back["id"] != first["id"]


def test_a_sample_brings_what_its_training_needs(form: SettingsForm) -> None:
    """The long prompt and its teacher, from the address and from the list of samples alike."""
    opened, _ = draft.opened({}, {"trainer": "distillation", "data": "sample:town-crier"}, form)
    held = {n: opened["values"][n] for n in form.names}
    params: Any = form.params(tuple(held.values()))
    assert "Hear ye!" in params.teacher_prompt_template and "{input}" in params.teacher_prompt_template
    assert params.model == "starter-instructed"
    plain, _ = draft.opened({}, {"trainer": "distillation", "data": "rows.jsonl"}, form)
    assert (plain["values"]["teacher_prompt_template"], plain["values"]["model"]) == ("", "starter")
    with gr.Blocks():
        step = DataStep(Page())

    def chosen(sample: str, **before: str) -> dict[str, Any]:
        given = {**{n: plain["values"][n] for n in step.of_samples}, **before}
        return dict(zip(step.of_samples, step.sampled(sample, *given.values())[5:], strict=True))

    brought = {name: held[name] for name in ("model", "teacher_prompt_template")}
    assert chosen("town-crier") == brought
    other = chosen("neighbours", **brought)
    assert other == {"model": "starter", "teacher_prompt_template": ""}, "another sample begins with its own model"
    own = chosen("neighbours", model="my-run", teacher_prompt_template="Be kind.")
    assert all(isinstance(value, dict) for value in own.values()), "what the person chose stays"


def test_a_long_prompt_keeps_its_lines(form: SettingsForm) -> None:
    widget = form.widgets["teacher_prompt_template"]
    assert widget.lines > 1
    held = {n: to_widget(f, None if f.info.is_required() else f.default) for n, f in FIELDS.items()}
    held |= {"trainer": "distillation", "data_path": "x", "teacher_prompt_template": "One.\n\nTwo {x}: {input}"}
    params: Any = form.params(tuple(held[n] for n in form.names))
    assert params.teacher_prompt_template == "One.\n\nTwo {x}: {input}"
