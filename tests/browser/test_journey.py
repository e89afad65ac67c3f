"""The whole way as a person goes it: from the first page to a trained model and a talk with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.browser.steps import wait_for_end

pytestmark = pytest.mark.browser


def wait_for_points(page: Page, count: int) -> None:
    loss = "document.querySelector('.monitor')?.monitor?.board.curves.loss"
    page.wait_for_function(f"{loss}?.[0].length >= {count}", timeout=60_000)


def drawn_points(page: Page, key: str) -> int:
    return page.evaluate(f"document.querySelector('.monitor').monitor?.board.curves[{json.dumps(key)}]?.[0].length ?? 0")


def test_a_sample_is_trained_in_four_clicks_and_can_be_talked_to(page: Page, server: Server) -> None:
    page.goto(server.url)
    clicks = 0

    def click(selector: str) -> None:
        nonlocal clicks
        clicks += 1
        page.click(selector)

    click("#try-sample")
    expect(page.locator("#token-view .example").first).to_be_visible()
    expect(page.locator("#token-view mark.trained").nth(1)).to_contain_text("<|im_end|>")
    expect(page.locator("#command")).to_contain_text(
        "aitraining llm --trainer sft --model starter --data-path sample:neighbours"
    )
    click("#to-review")
    expect(page.locator("#review-view")).to_contain_text("It fits on this machine")
    expect(page.locator("#start")).to_be_enabled()
    click("#start")
    page.wait_for_url("**/run?id=*")
    wait_for_points(page, 3)
    assert clicks <= 4
    assert wait_for_end(page) == "done"
    losses = page.evaluate("document.querySelector('.monitor').monitor.board.curves.eval_loss[1]")
    assert losses[-1] < losses[0] / 2, "the curve falls"
    expect(page.locator(".answer").first).to_contain_text("before")
    page.click("#talk")
    page.wait_for_url("**/playground?*")
    page.fill("#question", "Where does Mara live?")
    page.press("#question", "Enter")
    expect(page.locator(".side:nth-child(1) .turn.assistant small")).to_contain_text("tokens", timeout=60_000)
    expect(page.locator(".side:nth-child(2) .turn.assistant small")).to_contain_text("tokens", timeout=60_000)
    assert page.inner_text(".side:nth-child(2) .turn.assistant .text").strip()
    page.fill("#question", "And what does Mara do?")
    page.press("#question", "Enter")
    expect(page.locator(".side:nth-child(2) .turn")).to_have_count(4)
    expect(page.locator("#send")).to_have_text("Send", timeout=60_000)
    page.click("#give-back")
    expect(page.locator(".talk [role=status]")).to_contain_text("let go")


def test_an_uploaded_spreadsheet_answers_the_questions_and_is_trained(page: Page, server: Server, tmp_path: Path) -> None:
    """Semicolons, a BOM, capital headers, a row without an answer and markup in a cell: a file as Excel makes it."""
    sheet = tmp_path / "fragen.csv"
    with sheet.open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["Nr", "Question", "Answer"])
        for number in range(40):
            rows.writerow([number, f"What is {number} plus one?", f"It is {number + 1}."])
        rows.writerow([40, "Left open?", ""])
        rows.writerow([41, "<img src=x onerror=alert(1)>", "<script>window.hacked=1</script>"])
    page.goto(f"{server.url}/")
    page.click("#have-file")
    page.set_input_files("#upload input[type=file]", str(sheet))
    expect(page.locator("#file-view")).to_contain_text("questions and answers")
    expect(page.locator("#problems")).to_contain_text("1 row cannot be used")
    page.locator("#problems summary").click()
    expect(page.locator("#problems li").first).to_contain_text("Row 42")
    expect(page.locator("#field-trainer input:checked")).to_have_value("sft")
    expect(page.locator("#token-view .example").first).to_be_visible()
    page.click("#to-review")
    # rows are never left out without having been asked
    expect(page.locator("#review-view [role=alert]")).to_contain_text("1 row cannot be used")
    expect(page.locator("#start")).to_be_disabled()
    page.get_by_role("tab", name="1 · Data").click()
    page.click("#drop-rows")
    expect(page.locator("#drop-rows")).to_be_hidden()
    page.click("#to-review")
    expect(page.locator("#review-view")).to_contain_text("held out")
    page.dblclick("#start")
    page.wait_for_url("**/run?id=*")
    assert wait_for_end(page) == "done"
    assert page.evaluate("window.hacked") is None
    started = [r for r in page.evaluate("fetch('/studio/runs').then(r => r.json())") if r["data"].endswith("fragen.csv")]
    assert len(started) == 1, "a double click starts one run"


def test_reload_and_a_killed_server_lose_nothing(page: Page, tmp_path: Path) -> None:
    """The run goes on without the server; the page comes back by itself, with all points and none twice."""
    own = Server(tmp_path / "home" / "runs")
    own.home.parent.mkdir()
    own.start()
    try:
        page.goto(f"{own.url}/new?trainer=sft&data=sample:neighbours")
        expect(page.locator("#token-view .example").first).to_be_visible()
        page.get_by_role("tab", name="3 · Settings").click()
        page.locator("#field-epochs textarea, #field-epochs input").first.click()
        page.keyboard.press("Control+A")
        page.keyboard.type("12")
        expect(page.locator("#command")).to_contain_text("--epochs 12")
        page.reload()
        expect(page.locator("#command")).to_contain_text("--epochs 12")  # the draft survives
        expect(page.get_by_role("tab", name="3 · Settings")).to_have_attribute("aria-selected", "true")
        page.get_by_role("tab", name="4 · Review and start").click()
        expect(page.locator("#start")).to_be_enabled()
        page.click("#start")
        page.wait_for_url("**/run?id=*")
        page.wait_for_function(
            "document.querySelector('.monitor')?.monitor?.board.curves.loss?.[0].length >= 5", timeout=60_000
        )
        page.reload()
        wait_for_points(page, 5)
        own.kill()
        expect(page.locator(".run-head .st-pill")).to_have_text("reconnecting")
        before = drawn_points(page, "loss")
        own.start()
        page.wait_for_function(
            f"document.querySelector('.monitor').monitor.board.curves.loss[0].length > {before}", timeout=60_000
        )
        page.click("#stop")
        assert wait_for_end(page) == "stopped"
        steps = page.evaluate("document.querySelector('.monitor').monitor.board.curves.loss[0]")
        assert steps == sorted(set(steps)), "every point once, in order"
        expect(page.locator("#resume")).to_be_visible()
    finally:
        own.stop()
