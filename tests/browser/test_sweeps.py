"""Several values as a person tries them: from the form to the finished table, and what its page offers."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, expect

from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory
from engine.runs.status import State, Status
from engine.sweeps.group import Group
from engine.sweeps.sampling import combinations
from engine.sweeps.sweep import built
from tests.browser.conftest import Server
from tests.browser.steps import TRAINED_S, typed

pytestmark = pytest.mark.browser


def add(page: Page, setting: str, proposed: str, values: str) -> None:
    page.locator("#several-setting input").click()
    page.locator("#several-setting [role=option]", has_text=setting).first.click()
    box = page.locator("#several-values textarea, #several-values input").first
    expect(box).to_have_value(proposed)
    typed(page, "several-values", values)
    page.click("#several-add")
    expect(box).to_have_value("")


def set_up(page: Page, server: Server) -> None:
    """The form's settings, for two steps and few rows."""
    page.goto(f"{server.url}/new?trainer=sft&data=sample:neighbours")
    expect(page.locator("#token-view .example").first).to_be_visible()
    page.get_by_role("tab", name="3 · Settings").click()
    page.locator("#show-all input").check()
    for name, value in (("max_steps", "2"), ("max_samples", "24"), ("sample_tokens", "0"), ("project_name", "rates")):
        typed(page, f"field-{name}", value)
    expect(page.locator("#command")).to_contain_text("--project-name rates")
    page.get_by_role("tab", name="4 · Review and start").click()


def vary(page: Page) -> None:
    """Boxes write lines, lines can be written over, and what is wrong is said."""
    page.locator("#several > button").click()
    add(page, "Scheduler", "cosine, linear, constant", "cosine")
    add(page, "Passes over the data", "1.5, 3, 6", "3")
    lines = page.locator("#several-lines textarea")
    expect(lines).to_have_value("scheduler = cosine\nepochs = 3")
    lines.fill("lr = 1e-5, 7")
    expect(page.locator("#several-says [role=alert]")).to_contain_text(
        "Learning rate must be more than 0 and less than 1, got 7"
    )
    expect(page.locator("#several-start")).to_be_disabled()
    lines.fill("lr = 1e-5, 3e-3")
    expect(page.locator("#several-says")).to_contain_text("2 runs, about")
    expect(page.locator("#several-says")).to_contain_text("aitraining sweep --trainer sft")


def test_from_the_form_to_the_finished_table(page: Page, server: Server) -> None:
    set_up(page, server)
    vary(page)
    page.reload()  # what was typed is in the browser
    expect(page.locator("#command")).to_contain_text("--project-name rates")
    page.get_by_role("tab", name="4 · Review and start").click()
    expect(page.locator("#several-start")).to_have_text("Start 2 runs")
    expect(page.locator("#several-start")).to_be_enabled()
    page.dblclick("#several-start")
    page.wait_for_url("**/sweep?id=rates")

    expect(page.locator(".run-head .st-pill")).to_have_text("done", timeout=TRAINED_S)
    begun = [name for name in Group.names(server.home) if name.startswith("rates")]
    assert begun == ["rates"], "a double click is one sweep"
    rows = page.locator(".sweep-table tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("best")
    losses = [RunDirectory.open(f"rates-{n}", server.home).status().best_value for n in (1, 2)]
    assert None not in losses
    better = 1 + losses.index(min(losses))  # type: ignore[type-var]
    expect(rows.nth(0)).to_have_attribute("data-run", f"rates-{better}")
    told = page.locator(".sweep-plot svg").get_attribute("aria-label") or ""
    assert f"Best: rates-{better}: Learning rate" in told, "the picture in words"
    page.click("#use-best")
    page.wait_for_url(f"**/new?from=rates-{better}")
    expect(page.locator("#command")).to_contain_text(f"--lr {[1e-5, 0.003][better - 1]:g}")
    page.goto(f"{server.url}/run?id=rates-{better}")
    page.get_by_role("link", name="rates", exact=True).click()
    page.wait_for_url("**/sweep?id=rates")
    page.goto(f"{server.url}/runs")
    expect(page.locator('[data-sweep="rates"]')).to_contain_text("2 of 2 runs")
    expect(page.locator('[data-run="rates-1"]')).to_contain_text("in sweep rates")


def cut_off(server: Server, name: str) -> Group:
    """A sweep of four: one run failed, one is done, one was stopped, one was killed."""
    sweep = built(
        {"trainer": "sft", "data_path": "sample:neighbours"},
        {"lr": [1e-5, 1e-4], "scheduler": ["cosine", "linear"]},
        name=name,
    )
    group = Group(name, server.home)
    group.folder.mkdir(parents=True)
    group.create(sweep, combinations(sweep))
    now = time.time()  # of the first page of the list, however many runs other tests have made
    ends = [
        Status(State.FAILED, created=now, started=2.0, ended=3.0, reason="The loss became infinite."),
        Status(State.DONE, created=now, started=2.0, ended=3.0, best_step=4, best_value=1.5),
        Status(State.STOPPED, created=now, launched=2.0, started=2.0, ended=3.0, best_step=4, best_value=2.5),
        Status(State.INTERRUPTED, created=now, launched=2.0, started=2.0),
    ]
    for place, status in enumerate(ends):
        params = LLMTrainingParams(trainer="sft", data_path="sample:neighbours").model_dump(mode="json")
        RunDirectory.create(params, f"{name}-{place + 1}", server.home).write_status(status)
        group.note(place, f"{name}-{place + 1}", queued=True)
    return group


def test_a_sweep_that_was_cut_off_is_shown_on_a_phone_and_forgotten(page: Page, server: Server) -> None:
    group = cut_off(server, "cut")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{server.url}/runs")
    expect(page.locator('[data-run="cut-2"]')).to_contain_text("in sweep cut")
    page.goto(f"{server.url}/sweep?id=cut")
    rows = page.locator(".sweep-table tbody tr")
    expect(rows).to_have_count(4)
    assert [row.get_attribute("data-run") for row in rows.all()] == ["cut-2", "cut-3", "cut-1", "cut-4"]
    expect(rows.nth(2)).to_contain_text("The loss became infinite.")
    expect(page.locator(".sweep-plot polyline.first")).to_have_attribute("data-run", "cut-2")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing is found by scrolling sideways"
    assert (rows.nth(1).get_by_role("link", name="Compare").get_attribute("href") or "").endswith("?a=cut-2&b=cut-3")
    expect(page.locator("#resume")).to_be_visible()
    page.click("#forget")
    page.locator("dialog .main").click()
    page.wait_for_url("**/runs")
    assert not group.folder.exists()
    page.goto(f"{server.url}/sweep?id=cut")
    expect(page.locator("[role=alert]")).to_contain_text("There is no sweep called 'cut' here.")
