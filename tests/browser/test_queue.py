"""The queue on the page: order, pause, taking out; stop and discard; tabs that are out of date; many tabs that start."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from engine.params import LLMTrainingParams
from engine.runs import line, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.browser.conftest import Server

pytestmark = pytest.mark.browser


def enqueued(server: Server, *names: str) -> list[RunDirectory]:
    made = [LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name=name) for name in names]
    return [queue.enqueue(params, root=server.home) for params in made]


@pytest.fixture
def held(server: Server) -> Iterator[Server]:
    """The shared server with a paused queue; what waits is taken out before it goes on."""
    line.pause(server.home)
    yield server
    for name in queue.waiting(server.home):
        queue.cancel(RunDirectory.open(name, server.home))
    line.go_on(server.home)


def order(page: Page) -> list[str]:
    return page.locator("[data-waits]").evaluate_all("found => found.map((one) => one.dataset.waits)")


def test_the_queue_is_put_in_order_by_keyboard_and_continued(page: Page, held: Server) -> None:
    enqueued(held, "ant", "bee", "cat")
    page.goto(f"{held.url}/runs")
    box = page.get_by_role("region", name="Queue")
    expect(box).to_contain_text("Paused: nothing new is started")
    expect(page.locator("[data-waits]")).to_have_count(3)
    up = page.get_by_role("button", name="Move cat up")
    up.focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-waits]").nth(1)).to_have_attribute("data-waits", "cat")
    expect(box.get_by_role("status")).to_have_text("cat is number 2 now.")
    expect(up).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("[data-waits]").first).to_have_attribute("data-waits", "cat")
    expect(up).to_be_disabled()
    expect(page.get_by_role("button", name="Move cat down")).to_be_focused()
    page.get_by_role("button", name="Cancel ant").click()
    expect(page.locator("[data-waits]")).to_have_count(2)
    assert order(page) == queue.waiting(held.home) == ["cat", "bee"]
    assert RunDirectory.open("ant", held.home).status().state is State.STOPPED
    for name in ("cat", "bee"):
        page.get_by_role("button", name=f"Cancel {name}").click()
        expect(page.locator(f"[data-waits={name}]")).to_have_count(0)
    page.get_by_role("button", name="Continue queue").click()
    expect(page.get_by_role("button", name="Pause queue")).to_be_visible()
    assert not line.is_paused(held.home)
    page.get_by_role("button", name="Pause queue").click()
    expect(page.get_by_role("button", name="Continue queue")).to_be_visible()
    assert line.is_paused(held.home)


def test_a_waiting_run_says_that_the_queue_is_paused_and_can_be_deleted(page: Page, held: Server) -> None:
    (run,) = enqueued(held, "held-up")
    page.goto(f"{held.url}/run?id=held-up")
    expect(page.locator(".run-say")).to_contain_text("The queue is paused")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("dialog button", has_text="Cancel").click()
    assert run.waits
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("dialog .main").click()
    page.wait_for_url("**/runs")
    assert not run.path.exists()


def test_a_tab_that_is_out_of_date_stops_nobody_else(page: Page, held: Server) -> None:
    (first,) = enqueued(held, "reused")
    page.goto(f"{held.url}/run?id=reused")
    expect(page.locator("#stop")).to_be_visible()
    page.evaluate("clearTimeout(document.querySelector('.monitor').monitor.timer)")  # it hears of nothing from now on
    queue.cancel(first)
    first.path.rename(held.home / "elsewhere")
    (second,) = enqueued(held, "reused")
    page.click("#stop")
    expect(page.get_by_role("alert").first).to_contain_text("another run has its name now")
    expect(page.locator(".run-head .st-pill")).to_have_text("gone")
    expect(page.locator("#stop")).to_have_count(0)
    assert second.waits


def test_what_another_tab_has_resumed_is_not_told_as_refused(page: Page, held: Server) -> None:
    (run,) = enqueued(held, "twice-resumed")
    queue.cancel(run)
    page.goto(f"{held.url}/run?id=twice-resumed")
    expect(page.locator("#resume")).to_be_visible()
    page.evaluate("clearTimeout(document.querySelector('.monitor').monitor.timer)")
    queue.resume(run)
    page.click("#resume")
    expect(page.locator(".run-head .st-pill")).to_have_text("queued")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_uploaded_file_is_called_by_its_own_name(page: Page, held: Server) -> None:
    kept = held.home / ".uploads" / ("0" * 16) / "my rows.csv"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("question,answer\n")
    queue.enqueue(LLMTrainingParams(trainer="sft", data_path=str(kept), project_name="uploaded"), root=held.home)
    page.goto(f"{held.url}/run?id=uploaded")
    expect(page.locator(".run-facts")).to_have_text(re.compile(r"· my rows\.csv$"))
    page.goto(f"{held.url}/runs")
    expect(page.locator("[data-waits=uploaded]")).to_contain_text("my rows.csv")
    assert ".uploads" not in page.locator("[data-waits=uploaded]").inner_text()


def test_a_long_list_is_shown_in_parts_and_searched(page: Page, server: Server) -> None:
    for number in range(55):
        run = RunDirectory.create({"trainer": "sft", "model": "starter"}, f"many-{number:02}", server.home)
        run.update_status(state=State.DONE, created=number + 1.0, ended=number + 2.0)
    page.goto(f"{server.url}/runs")
    expect(page.locator("[data-run]")).to_have_count(50)
    page.get_by_role("button", name="Older").click()
    expect(page.locator("[data-run=many-00]")).to_be_visible()
    page.get_by_role("searchbox").fill("many-07 done")
    expect(page.locator("[data-run]")).to_have_count(1)
    expect(page.locator("[data-run=many-07]")).to_be_visible()
    page.get_by_role("searchbox").fill("nothing has this")
    expect(page.locator(".runs-list")).to_contain_text("No run has these words")


@pytest.mark.long  # two tabs do it at every change
@pytest.mark.slow
def test_ten_tabs_of_one_form_that_all_press_start_are_one_run(page: Page, held: Server) -> None:
    """Tabs of one profile show one draft, which is one run; a form that is begun anew from another address is another."""
    before = set(queue.waiting(held.home))
    page.goto(f"{held.url}/new?trainer=sft&data=sample:neighbours")
    expect(page.locator("#token-view .example").first).to_be_visible(timeout=90_000)
    page.get_by_role("tab", name="4 · Review and start").click()
    expect(page.locator("#start")).to_be_enabled()
    tabs = [page]
    for _ in range(9):
        tab = page.context.new_page()
        tab.goto(f"{held.url}/new")
        tabs.append(tab)
    for tab in tabs:
        expect(tab.locator("#start")).to_be_enabled(timeout=120_000)
    for tab in tabs:  # pressed in all of them before any is answered, in the first twice
        tab.evaluate(f"for (let n = 0; n < {2 if tab is page else 1}; n++) document.querySelector('#start').click()")
    for tab in tabs:
        tab.wait_for_url("**/run?id=*", timeout=120_000)
    assert len({tab.url for tab in tabs}) == 1
    assert len(set(queue.waiting(held.home)) - before) == 1
    tabs[1].goto(f"{held.url}/new")  # the draft again, on purpose: another run
    expect(tabs[1].locator("#start")).to_be_enabled()
    tabs[1].click("#start")
    tabs[1].wait_for_url("**/run?id=*")
    assert len(set(queue.waiting(held.home)) - before) == 2


def test_ten_programs_that_ask_the_same_at_once_start_one_run(held: Server) -> None:
    before = set(queue.waiting(held.home))

    def ask(headers: dict[str, str]) -> dict[str, Any]:
        body = json.dumps({"trainer": "sft", "data_path": "sample:neighbours"}).encode()
        head = {"Content-Type": "application/json", **headers}
        with urllib.request.urlopen(urllib.request.Request(f"{held.url}/studio/api/runs", body, head), timeout=60) as answer:
            return json.load(answer)

    with ThreadPoolExecutor(10) as pool:
        same = list(pool.map(ask, [{"Idempotency-Key": "ten at once"}] * 10))
    assert len({run["name"] for run in same}) == 1
    assert len(set(queue.waiting(held.home)) - before) == 1
