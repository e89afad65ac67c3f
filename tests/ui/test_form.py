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
        return ["json", "no-repeat"] if field.name == "rl_rewards" else ["one", "two"]
    if field.is_mapping:
        return {"zero_optimization": {"stage": 2}} if field.name == "deepspeed" else {"prompt": "Frage"}
    kinds = {get_origin(a) or a for a in (get_args(field.info.annotation) or (field.info.annotation,))}
    number = next((v for v in (3, 9, 0.25, 512) if _allowed(field, v)), None)
    if int in kinds or float in kinds:
        return float(number) if float in kinds and number is not None else number
    words = {"data_format": "qa", "target_modules": "q_proj", "teacher_endpoint": "http://127.0.0.1:9/v1"}
    return words.get(field.name, "something")


def needed(trainer: str) -> dict[str, Any]:
    """What a trainer has nothing to do without, as its widgets hold it."""
    return {name: to_widget(FIELDS[name], value) for name, value in api.specs()[trainer].example_settings.items()}


def _allowed(field: Field, value: float) -> bool:
    trainer = next(iter(field.trainers))
    try:
        made = api.validate({**api.specs()[trainer].example_settings, "trainer": trainer, "data_path": "x", field.name: value})
    except ParamError:
        return False
    return getattr(made, field.name) == value != field.default


@pytest.mark.parametrize(("trainer", "name"), CASES)
def test_what_is_put_into_a_widget_reaches_the_engine(form: SettingsForm, trainer: str, name: str) -> None:
    assert name in form.widgets, "a parameter that nobody can set on the page"
    value = another(FIELDS[name])
    held = {**{n: to_widget(f, None if f.info.is_required() else f.default) for n, f in FIELDS.items()}}
    held |= {
        **needed(trainer),
        **NEEDED.get(name, {}),
        "trainer": trainer,
        "data_path": "rows.csv",
        name: to_widget(FIELDS[name], value),
    }
    params = form.params(tuple(held[n] for n in form.names))
    assert getattr(params, name) == value
    assert (value, name) == (getattr(api.read_settings(api.to_yaml(params))[0], name), name)


def test_untouched_widgets_are_the_defaults(form: SettingsForm) -> None:
    for spec in api.specs().values():
        held = {n: to_widget(f, None if f.info.is_required() else f.default) for n, f in FIELDS.items()}
        held |= {**needed(spec.id), "trainer": spec.id, "data_path": "rows.csv"}
        assert form.params(tuple(held[n] for n in form.names)) == spec.params(data_path="rows.csv", **spec.example_settings)


def test_start_waits_for_a_plan() -> None:
    with gr.Blocks():
        page = Page()
    assert page.start.interactive is False


def test_every_group_has_a_place() -> None:
    assert {f.form.group for n, f in FIELDS.items() if n not in ELSEWHERE} <= set(GROUPS)


def test_a_wrong_value_is_judged_beside_its_own_widget(form: SettingsForm) -> None:
    held = {n: to_widget(f, None if f.info.is_required() else f.default) for n, f in FIELDS.items()}
    held |= {"trainer": "sft", "data_path": "rows.csv", "lr": "7"}
    verdict = dict(zip(form.names, form.judge(*(held[n] for n in form.names)), strict=True))
    assert [n for n, v in verdict.items() if not v["is_valid"]] == ["lr"]
    assert "less than 1" in verdict["lr"]["message"]


NOTHING: list[Any] = [{}, {}, 0, {}]


def test_a_draft_survives_a_reload_and_an_address_begins_anew(form: SettingsForm) -> None:
    (first, seen, step, ticket), _ = draft.opened(NOTHING, {"trainer": "sft", "data": "sample:neighbours"}, form)
    assert (seen, step) == ({"auto": False}, 0)
    edited = [{**first, "values": {**first["values"], "epochs": "9"}}, {**seen, "looked": "x"}, 2, ticket]
    again, _ = draft.opened(edited, {"trainer": "sft", "data": "sample:neighbours"}, form)
    assert again == edited
    (other, looked, at, new), _ = draft.opened(edited, {"trainer": "default"}, form)
    assert other["values"]["epochs"] == "3"
    assert other["values"]["trainer"] == "default"
    assert (looked, at) == ({"auto": False}, 0)
    assert new["id"] != ticket["id"]


def test_a_file_may_choose_the_training_where_nobody_has(form: SettingsForm) -> None:
    (_, seen, _, _), _ = draft.opened(NOTHING, {"trainer": "auto"}, form)
    assert seen == {"auto": True}


def test_a_draft_that_was_started_gets_a_new_ticket_and_no_old_name(form: SettingsForm) -> None:
    (first, seen, step, ticket), _ = draft.opened(NOTHING, {}, form)
    named = {**first, "values": {**first["values"], "project_name": "mine"}}
    (back, _, _, new), _ = draft.opened([named, seen, step, {**ticket, "started": "mine"}], {}, form)
    assert new["id"] != ticket["id"] and "started" not in new
    assert back["values"]["project_name"] == ""


def test_what_was_started_is_not_brought_back_by_an_address_that_asks_for_something(form: SettingsForm) -> None:
    """A learning rate that was tried once must not hide in the next run; what was not started yet is only reloaded."""
    wishes = {"trainer": "sft", "data": "sample:neighbours"}
    (first, seen, _, ticket), _ = draft.opened(NOTHING, wishes, form)
    tried = {**first, "values": {**first["values"], "lr": "0.9", "project_name": "mine"}}
    (kept, _, at, same), _ = draft.opened([tried, seen, draft.REVIEW, ticket], wishes, form)
    assert (kept["values"]["lr"], at, same) == ("0.9", draft.REVIEW, ticket), "the same ticket: the same run"
    (anew, _, at, other), _ = draft.opened([tried, seen, draft.REVIEW, {**ticket, "started": "mine"}], wishes, form)
    assert (anew["values"], at) == (first["values"], 0)
    assert other["id"] != ticket["id"] and "started" not in other
    (plain, *_), _ = draft.opened([tried, seen, draft.REVIEW, {**ticket, "started": "mine"}], {}, form)
    assert plain["values"]["lr"] == "0.9", "New run, from the head of the page, goes on with the settings"


def test_a_sample_brings_what_its_training_needs(form: SettingsForm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The long prompt and its teacher, from the address and from the list of samples alike."""
    (opened, _, _, _), _ = draft.opened(NOTHING, {"trainer": "distillation", "data": "sample:town-crier"}, form)
    held = {n: opened["values"][n] for n in form.names}
    params: Any = form.params(tuple(held.values()))
    assert "Hear ye!" in params.teacher_prompt_template and "{input}" in params.teacher_prompt_template
    assert params.model == "starter-instructed"
    (plain, _, _, _), _ = draft.opened(NOTHING, {"trainer": "distillation", "data": "rows.jsonl"}, form)
    assert (plain["values"]["teacher_prompt_template"], plain["values"]["model"]) == ("", "starter")
    with gr.Blocks():
        step = DataStep(Page())

    def given(before: dict[str, Any]) -> list[Any]:
        return list({**{n: plain["values"][n] for n in step.of_samples}, **before}.values())

    def chosen(sample: str, after: str = "", **before: str) -> dict[str, Any]:
        return dict(zip(step.of_samples, step.sampled(sample, after, *given(before))[4:], strict=True))

    def set_by(filled: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in filled.items() if not isinstance(value, dict)}  # the others are left alone

    brought = {name: held[name] for name in ("model", "teacher_prompt_template")}
    assert set_by(chosen("town-crier")) == brought
    gone = {"model": "starter", "teacher_prompt_template": ""}
    crier = "sample:town-crier"
    assert set_by(chosen("neighbours", crier, **brought)) == gone
    own = {"model": "my-run", "teacher_prompt_template": "Be kind."}
    assert set_by(chosen("neighbours", crier, **own)) == {}, "what a person chose stays"
    assert set_by(chosen("neighbours", "rows.csv", **brought)) == {}, "also where a sample would have brought the same"

    monkeypatch.setattr(api, "store_upload", lambda path, name: f"/uploads/{name}")
    for answer, first in (
        (step.uploaded("/tmp/own.csv", crier, *given(brought)), 6),
        (step.named("own.csv", {"seen": crier}, *given(brought)), 5),
    ):
        assert set_by(dict(zip(step.of_samples, answer[first:], strict=True))) == gone, "an own file brings nothing"


def test_a_long_prompt_keeps_its_lines(form: SettingsForm) -> None:
    widget = form.widgets["teacher_prompt_template"]
    assert widget.lines > 1
    held = {n: to_widget(f, None if f.info.is_required() else f.default) for n, f in FIELDS.items()}
    held |= {"trainer": "distillation", "data_path": "x", "teacher_prompt_template": "One.\n\nTwo {x}: {input}"}
    params: Any = form.params(tuple(held[n] for n in form.names))
    assert params.teacher_prompt_template == "One.\n\nTwo {x}: {input}"
