"""A pipeline as the page holds it is the engine's pipeline, whichever way it came in and whatever is added or taken out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from engine import api
from engine.errors import ParamError
from engine.pipelines.course import Course
from ui import pipeline_draft
from ui.form import SettingsForm
from ui.new_pipeline import Page
from ui.new_pipeline_handlers import PipelineHandlers
from ui.pipeline_review import chain_html

CHAIN = api.pipelines.from_mapping(
    {
        "pipeline": "town",
        "stages": {
            "answers": {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours", "peft": True, "lr": 2e-5},
            "judge": {
                "trainer": "reward",
                "model": "answers",
                "data_path": "sample:good-cheer",
                "column_mapping": {"prompt": "<i>"},
                "gate": "eval_rewards/accuracies >= 0.8",
            },
            "cheerful": {
                "trainer": "ppo",
                "model": "answers",
                "data_path": "sample:doorstep",
                "rl_reward_model_path": "judge",
                "rl_rewards": ["length: 4-10 words"],
            },
        },
    }
)


@pytest.fixture(scope="module")
def page() -> Page:
    with gr.Blocks():
        return Page()


@pytest.fixture(scope="module")
def form(page: Page) -> SettingsForm:
    return page.form


def draft_of(pipeline: api.pipelines.Pipeline, form: SettingsForm) -> pipeline_draft.Draft:
    return {"name": pipeline.name, "again": "", "stages": pipeline_draft.stages_of(pipeline, form)}


def test_what_comes_in_goes_out(form: SettingsForm, runs_root: Path) -> None:
    again = pipeline_draft.pipeline_of(draft_of(CHAIN, form), form)
    assert again == CHAIN
    assert api.pipelines.from_yaml(again.to_yaml()) == CHAIN


def test_a_stage_is_added_on_the_models_before_it_and_taken_out_again(form: SettingsForm, runs_root: Path) -> None:
    draft = draft_of(CHAIN, form)
    more = pipeline_draft.added(pipeline_draft.added(draft, "grpo", form), "sft", form)
    assert [stage["name"] for stage in more["stages"]] == ["answers", "judge", "cheerful", "grpo", "sft"]
    assert more["stages"][3]["values"]["model"] == "cheerful"
    assert more["stages"][3]["values"]["rl_reward_model_path"] == "judge"
    assert more["stages"][4]["values"]["model"] == "grpo"
    less = pipeline_draft.without(pipeline_draft.without(draft, 1, form), 0, form)
    (left,) = less["stages"]
    assert (left["values"]["model"], left["values"]["rl_reward_model_path"]) == ("starter", "")


def test_models_that_are_yet_to_be_made_stand_for_what_they_begin_with(form: SettingsForm, runs_root: Path) -> None:
    params = api.validate(CHAIN.stage("cheerful").settings)
    seen = pipeline_draft.standing_in(draft_of(CHAIN, form), params, form)
    assert (seen.model, getattr(seen, "rl_reward_model_path")) == ("starter", "starter")  # noqa: B009


@pytest.mark.parametrize(("bound", "said"), [("", "Say which number"), ("many", "'many' is no number")])
def test_a_gate_wants_a_number(form: SettingsForm, runs_root: Path, bound: str, said: str) -> None:
    draft = draft_of(CHAIN, form)
    draft["stages"][0]["gate"] = ["eval_loss", "<", bound]
    with pytest.raises(ParamError, match=said) as error:
        pipeline_draft.pipeline_of(draft, form)
    assert [problem.field for problem in error.value.problems] == ["answers.gate"]


@pytest.mark.parametrize("field", ["data_path", "valid_path", "model"])
def test_a_served_page_reads_no_stages_files(
    form: SettingsForm, runs_root: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    assert pipeline_draft.pipeline_of(draft_of(CHAIN, form), form) == CHAIN, "stages' names, samples and runs are no files"
    with pytest.raises(ParamError, match="served to others"):
        pipeline_draft.pipeline_of(draft_of(CHAIN.changed({"judge": {field: "/etc/passwd"}}), form), form)


def test_no_page_runs_a_python_file_of_some_later_stage(form: SettingsForm, runs_root: Path) -> None:
    draft = draft_of(CHAIN.changed({"cheerful": {"rl_rewards": ["python: /tmp/x.py"]}}), form)
    with pytest.raises(ParamError, match="runs no Python file"):
        pipeline_draft.pipeline_of(draft, form)


def test_a_reload_keeps_the_boxes_and_a_late_answer_brings_no_stage_back(form: SettingsForm, runs_root: Path) -> None:
    draft = {**draft_of(CHAIN, form), "asked": "{}"}
    values = {**draft["stages"][1]["values"], "epochs": "7"}
    shown = {"stage": "judge", "values": values, "gate": ["eval_loss", "<", "1"], "name": "city", "everything": True}
    (kept, _, _, ticket, place, everything), _ = pipeline_draft.opened([draft, {}, 2, {"id": "x"}, 1, shown], {}, form)
    assert (kept["name"], kept["stages"][1]["values"]["epochs"], place, everything) == ("city", "7", 1, True)
    assert ticket == {"id": "x"}
    less = pipeline_draft.without(draft, 1, form)
    (kept, *_), _ = pipeline_draft.opened([less, {}, 2, {"id": "x"}, 1, shown], {}, form)
    assert [stage["name"] for stage in kept["stages"]] == ["answers", "cheerful"]


def test_what_was_started_is_not_brought_back_by_an_address_that_asks_for_something(
    form: SettingsForm, runs_root: Path
) -> None:
    wishes = {"chain": "preference", "samples": "1"}
    (first, seen, _, ticket, *_), _ = pipeline_draft.opened([{}, {}, 0, {}, 0, {}], wishes, form)
    values = {**first["stages"][0]["values"], "lr": "0.9"}
    shown = {"stage": first["stages"][0]["name"], "values": values, "gate": pipeline_draft.NO_GATE, "name": first["name"]}
    (kept, _, at, same, *_), _ = pipeline_draft.opened([first, seen, 3, ticket, 0, shown], wishes, form)
    assert (kept["stages"][0]["values"]["lr"], at, same) == ("0.9", 3, ticket), "the same ticket: the same pipeline"
    (anew, _, at, other, *_), _ = pipeline_draft.opened([first, seen, 3, {**ticket, "started": "x"}, 0, shown], wishes, form)
    assert (anew["stages"], at) == (first["stages"], 0)
    assert other["id"] != ticket["id"] and "started" not in other


def test_an_address_says_what_to_begin_with(form: SettingsForm, runs_root: Path) -> None:
    nothing = [{}, {}, 0, {}, 0, {}]
    for chain, trainers in api.pipelines.chains().items():
        (draft, *_), note = pipeline_draft.opened(nothing, {"chain": chain, "samples": "1"}, form)
        assert note == ""
        assert tuple(stage["name"] for stage in draft["stages"]) == trainers
        made = pipeline_draft.pipeline_of(draft, form)
        api.pipelines.check(made)  # it can be started as it is
        wanted = api.pipelines.named(chain, f"{chain}-1", api.pipelines.sample_data(chain))
        assert [made.references(stage) for stage in made.stages] == [wanted.references(stage) for stage in wanted.stages]
    Course("town").folder.mkdir(parents=True)
    Course("town").create(CHAIN)
    (draft, _, _, _, place, _), _ = pipeline_draft.opened(nothing, {"resume": "town", "stage": "judge"}, form)
    assert (draft["name"], draft["again"], place) == ("town", "town", 1)
    (draft, *_), _ = pipeline_draft.opened(nothing, {"from": "town"}, form)
    assert (draft["name"], draft["again"]) == ("town-1", "")
    assert "There is no pipeline" in pipeline_draft.opened(nothing, {"resume": "village"}, form)[1]


def test_nothing_that_was_typed_is_markup(form: SettingsForm, runs_root: Path) -> None:
    draft = draft_of(CHAIN, form)
    draft["stages"][0]["values"] |= {"model": "<img src=x>", "data_path": "<script>"}
    draft["stages"][0]["gate"] = ["eval_loss", "<", "<b>"]
    shown = chain_html(draft, 0, {"answers": ["<i>wrong</i>"]})
    assert not any(tag in shown for tag in ("<img", "<script", "<i>", "<b>"))
    assert "scored by judge" in shown


def test_a_later_stages_unusable_row_is_refused_by_the_stages_name_and_not_by_the_network(
    page: Page, runs_root: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    good = [{"prompt": f"How is day {n}?", "chosen": "Splendid, thank you.", "rejected": "Sigh."} for n in range(30)]
    rows = [*good, {"prompt": "And you?", "chosen": "Well.", "rejected": "Well."}]
    pairs.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    sft = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours", "drop_bad_rows": True}
    dpo = {"trainer": "dpo", "model": "sft", "data_path": str(pairs), "drop_bad_rows": False}
    handlers = PipelineHandlers(page)

    def given(dpo: dict[str, Any]) -> list[Any]:
        chain = api.pipelines.from_mapping({"pipeline": "town", "stages": {"sft": sft, "dpo": dpo}})
        draft = draft_of(chain, page.form)
        values = draft["stages"][1]["values"]
        return [draft, 1, "town", *pipeline_draft.NO_GATE, *(values[name] for name in page.form.names)]

    review, _, _, start, *_, chain = handlers.review(*given(dpo))
    assert "<strong>dpo</strong>: 1 row cannot be used" in review
    assert "Leave this row out" in chain
    assert start["interactive"] is False
    with pytest.raises(gr.Error, match="Stage dpo: 1 row cannot be used") as error:
        handlers.start({"id": "x"}, *given(dpo))
    assert error.value.title == "The pipeline was not started"
    review, _, _, start, *_ = handlers.review(*given({**dpo, "drop_bad_rows": True}))
    assert "It fits on this machine" in review
    assert start["interactive"] is True


def test_the_last_stage_is_not_asked_for_a_gate(page: Page, runs_root: Path) -> None:
    handlers = PipelineHandlers(page)
    draft = draft_of(CHAIN, page.form)

    def shown(place: int) -> bool:
        told = handlers._shown(draft, place, {}, 0)
        return told[handlers._turned.index(page.gate_box)]["visible"]

    assert [shown(place) for place in range(3)] == [True, True, False]
    draft["stages"][2]["gate"] = ["eval_reward", ">=", "0.5"]
    assert shown(2), "one that is there can be taken away"
