"""Several trainings in a row as a person goes through them: from the first page to the last stage, gates, failures, errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine.pipelines.course import Course
from engine.pipelines.pipeline import from_mapping
from engine.runs import line
from tests.browser.conftest import Server
from tests.browser.steps import TRAINED_S, typed

pytestmark = pytest.mark.browser


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def choose(page: Page, box: str, words: str) -> None:
    page.locator(f"#{box} input").click()
    page.locator(f"#{box} [role=option]", has_text=words).first.click()


def stage_shown(page: Page, place: int) -> None:
    expect(page.locator(f'#chain [data-place="{place}"]')).to_have_attribute("aria-current", "step")


def state(page: Page, words: str) -> None:
    expect(page.locator(".run-head .st-pill")).to_have_text(words, timeout=TRAINED_S)


@contextmanager
def paused(server: Server) -> Iterator[None]:
    """No run starts: what is changed meanwhile is surely changed before the next one's turn."""
    line.pause(server.home)
    try:
        yield
    finally:
        line.go_on(server.home)


def short(page: Page, stage: str) -> None:
    """Two steps are enough to see a chain."""
    tab(page, "3 · Settings")
    page.locator("#show-all input").check()
    typed(page, "field-max_steps", "2")
    expect(page.locator("#command")).to_contain_text(f"{stage}.max_steps=2")


def set_up_first(page: Page) -> None:
    boxes = page.locator("#chain [data-place]")
    expect(boxes).to_have_count(2)
    expect(boxes.nth(0)).to_contain_text("needs data")
    choose(page, "sample", "Questions about the neighbours")
    expect(page.locator("#token-view .example").first).to_be_visible()
    expect(boxes.nth(0)).to_contain_text("sample:neighbours")
    typed(page, "pipeline-name", "town")
    tab(page, "3 · Settings")
    page.locator("#show-all input").check()
    typed(page, "field-max_steps", "2")
    choose(page, "gate-metric", "Loss")
    choose(page, "gate-sign", "less than")
    typed(page, "gate-bound", "twenty")
    expect(page.locator("#gate div.validation-error")).to_contain_text("'twenty' is no number. Write one such as 0.8.")
    typed(page, "gate-bound", "20")
    expect(boxes.nth(0)).to_contain_text("Goes on if: Loss less than 20")


def set_up_second(page: Page) -> None:
    page.click("#after-settings")
    stage_shown(page, 1)
    choose(page, "sample", "Good manners")
    expect(page.locator("#token-view .part.against").first).to_be_visible()
    tab(page, "2 · Model")
    expect(page.locator("#field-model input")).to_have_value("the model of stage sft")
    short(page, "dpo")
    page.reload()
    stage_shown(page, 1)
    tab(page, "3 · Settings")  # which step was open is written down a little later than what was typed
    expect(page.locator("#field-max_steps textarea, #field-max_steps input").first).to_have_value("2")
    command = "aitraining pipeline preference --data sft=sample:neighbours --data dpo=sample:manners --name town"
    expect(page.locator("#command")).to_contain_text(command)


def reviewed(page: Page) -> None:
    """Back to the first stage by keyboard, then the review of all of them."""
    page.locator("#chain [data-place]").nth(0).focus()
    page.keyboard.press("Enter")
    stage_shown(page, 0)
    expect(page.locator("#gate-bound textarea, #gate-bound input").first).to_have_value("20")
    tab(page, "4 · Review and start")
    rows = page.locator(".stages-table tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("270 to train on, 30 held out")
    expect(rows.nth(2)).to_contain_text("All 2 stages")
    expect(page.locator("#start")).to_be_enabled()


def test_from_the_first_page_to_the_last_stage(page: Page, server: Server) -> None:
    """A recommendation offers all its stages; each gets its data and settings; one Start; everything survives a reload."""
    page.goto(f"{server.url}/?use=chat")
    expect(page.locator(".advice:visible .st-button", has_text="Only this step")).to_be_visible()
    page.locator(".advice:visible .st-button", has_text="Train all stages in a row").click()
    page.wait_for_url("**/new-pipeline?chain=preference")
    set_up_first(page)
    set_up_second(page)
    reviewed(page)
    page.dblclick("#start")
    page.wait_for_url("**/pipeline?id=town")

    expect(page.locator('.chain [data-stage="sft"] .st-pill')).not_to_have_text("waiting")
    page.reload()
    state(page, "working")
    expect(page.locator("#stop")).to_be_visible()
    state(page, "done")
    expect(page.locator('.chain [data-stage="sft"] .stage-gate[data-met=true]')).to_contain_text("asked: Loss less than 20")
    expect(page.locator(".run-say")).to_have_text("Every stage is done.")
    page.click('.chain [data-stage="dpo"] a')
    page.wait_for_url("**/run?id=town-dpo")
    expect(page.locator(".run-chain a[aria-current=page]")).to_contain_text("2 · dpo")
    page.click('.run-chain [data-stage="sft"] a')
    page.wait_for_url("**/run?id=town-sft")
    page.goto(f"{server.url}/runs")
    expect(page.locator('[data-pipeline="town"]')).to_contain_text("dpo: done")
    expect(page.locator('[data-run="town-dpo"]')).to_contain_text("in pipeline town")
    assert Course("town", server.home).progress().stages[0].tries == ("town-sft",), "a double click is one pipeline"


def written(page: Page, server: Server, sums: Path) -> None:
    """A chain of one's own, put in as YAML."""
    chain = from_mapping(
        {
            "pipeline": "gated",
            "stages": {
                "talk": {"trainer": "sft", "data_path": "sample:neighbours", "max_steps": 2, "gate": "eval_loss < 0.01"},
                "count": {"trainer": "sft", "model": "talk", "data_path": str(sums), "max_steps": 2},
            },
        }
    )
    page.goto(f"{server.url}/new-pipeline?chain=basic")
    page.click("#yaml button")
    expect(page.locator("#yaml-text")).to_contain_text("pipeline: basic")
    page.locator("#yaml-own .cm-content").fill(chain.to_yaml())
    page.click("#read-yaml")
    expect(page.locator("#chain [data-place]")).to_have_count(2)
    tab(page, "4 · Review and start")
    expect(page.locator(".stages-table tbody tr")).to_have_count(3)


def test_a_gate_stops_it_and_a_failed_stage_is_retried_alone(page: Page, server: Server, tmp_path: Path) -> None:
    """A chain of one's own, from YAML: the gate is not met, is changed, the next stage fails, and is tried once more."""
    sums = tmp_path / "sums.csv"
    rows = "question,answer\n" + "".join(f"What is {n} plus one?,It is {n + 1}.\n" for n in range(30))
    sums.write_text(rows)
    written(page, server, sums)
    page.click("#start")
    page.wait_for_url("**/pipeline?id=gated")
    state(page, "gate not met")
    expect(page.locator(".run-say")).to_contain_text("Stage talk reached a held-out “Loss” of")
    expect(page.locator(".run-say")).to_contain_text("less than 0.01 was asked")
    expect(page.locator('.chain [data-stage="count"] .st-pill')).to_have_text("waiting")

    page.click("#change")
    page.wait_for_url("**/new-pipeline?resume=gated&stage=talk")
    expect(page.locator("#pipeline-name textarea, #pipeline-name input").first).to_be_disabled()
    tab(page, "3 · Settings")
    typed(page, "gate-bound", "20")
    expect(page.locator("#command")).to_contain_text("aitraining pipeline gated --resume --gate 'talk=eval_loss < 20.0'")
    tab(page, "4 · Review and start")
    expect(page.locator(".stages-table tbody tr").nth(0)).to_contain_text("done before, is kept")
    expect(page.locator("#start")).to_be_enabled()
    first = (server.home / "gated-talk" / "status.json").read_text()
    with paused(server):
        page.click("#start")
        page.wait_for_url("**/pipeline?id=gated")
        expect(page.locator('.chain [data-stage="count"] .st-pill')).to_have_text("queued")
        sums.unlink()  # checked a moment ago, gone when its turn comes
    state(page, "failed")
    expect(page.locator(".run-say")).to_contain_text("Stage count (2 of 2) failed.")
    sums.write_text(rows)
    expect(page.locator("#resume")).to_have_text("Retry count")
    page.click("#resume")
    state(page, "done")
    expect(page.get_by_role("link", name="gated-count", exact=True)).to_be_visible()
    stages = Course("gated", server.home).progress().stages
    assert [stage.tries for stage in stages] == [("gated-talk",), ("gated-count", "gated-count-2")]
    assert (server.home / "gated-talk" / "status.json").read_text() == first, "what was done is as it was"


def test_what_is_wrong_is_said_beside_its_box(page: Page, server: Server) -> None:
    begun(server, "taken")
    page.goto(f"{server.url}/new-pipeline?chain=rlhf&samples=1")
    expect(page.locator("#token-view .example").first).to_be_visible()
    typed(page, "pipeline-name", "taken")
    expect(page.locator("#chain-tools div.validation-error")).to_contain_text("There is a pipeline called 'taken' already.")
    typed(page, "pipeline-name", "no spaces")
    expect(page.locator("#chain-tools div.validation-error")).to_contain_text("'no spaces' cannot be a pipeline's name")
    typed(page, "pipeline-name", "cheerful")
    expect(page.locator("#command")).to_contain_text("--name cheerful")
    page.click('#chain [data-place="1"]')
    stage_shown(page, 1)
    choose(page, "sample", "Questions about the neighbours")
    wrong = page.locator('#chain li[data-state="wrong"]')
    expect(wrong).to_have_count(1)
    expect(page.locator("#file-view [role=alert]")).to_be_visible()
    tab(page, "4 · Review and start")
    expect(page.locator("#review-view")).to_contain_text("Before it can start")
    expect(page.locator("#start")).to_be_disabled()
    tab(page, "1 · Data")
    choose(page, "sample", "Good cheer")
    expect(wrong).to_have_count(0)
    page.click('#chain [data-place="2"]')
    stage_shown(page, 2)
    tab(page, "3 · Settings")
    expect(page.locator("#field-rl_reward_model_path input")).to_have_value("the model of stage reward")

    page.click("#remove-stage")
    expect(page.locator("#chain [data-place]")).to_have_count(2)
    choose(page, "add-stage", "Odds Ratio")
    expect(page.locator("#chain [data-place]")).to_have_count(3)
    stage_shown(page, 2)
    tab(page, "2 · Model")
    expect(page.locator("#field-model input")).to_have_value("the model of stage sft")
    expect(page.locator('#chain [data-place="2"]')).to_contain_text("needs data")


@pytest.mark.long  # tests/pipelines/test_detached.py kills one at every change
def test_a_killed_driver_is_shown_as_such_with_a_way_on(page: Page, server: Server) -> None:
    course = begun(server, "orphan")
    page.goto(f"{server.url}/pipeline?id=orphan")
    state(page, "interrupted")
    expect(page.locator(".run-say")).to_contain_text("The process that goes from stage to stage ended before stage one")
    expect(page.locator("#resume")).to_have_text("Resume")
    with course.driven():
        course.stop_file.touch()
        state(page, "working")
        expect(page.locator("#force")).to_have_text("End at once")
    page.click("#forget")
    page.locator("dialog .main").click()
    page.wait_for_url("**/runs")
    assert not course.folder.exists()
    page.goto(f"{server.url}/pipeline?id=orphan")
    expect(page.locator("[role=alert]")).to_contain_text("There is no pipeline called 'orphan' here.")


def begun(server: Server, name: str) -> Course:
    """A pipeline as it is when whoever went through it was killed at once."""
    course = Course(name, server.home)
    course.folder.mkdir(parents=True, exist_ok=True)
    course.create(from_mapping({"pipeline": name, "stages": {"one": {"trainer": "sft", "data_path": "sample:neighbours"}}}))
    return course
