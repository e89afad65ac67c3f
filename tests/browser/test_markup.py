"""Script in all that a stranger or a model can write: names, logs, answers, settings, addresses. It is shown, never run."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from engine.params import LLMTrainingParams
from engine.runs.status import State
from tests.browser.conftest import Server
from tests.browser.test_pages import finished
from ui.shell import PAGES

pytestmark = pytest.mark.browser

NASTY = "'\"><img src=x onerror=window.hacked=1><script>window.hacked=2</script><svg onload=window.hacked=3>{{7*7}}</style>"
LINK = "[here](javascript:window.hacked=4)"
PLANTED = {"window.hacked": "script ran", "document.querySelectorAll('img[src=x]').length": "an element was made"}


def hostile(server: Server) -> str:
    """A run in which every text is an attack; its files are written by hand, as a hostile worker could."""
    run = finished(server, "hostile", points=30)
    settings = LLMTrainingParams(trainer="sft", data_path="sample:neighbours", hub_model_id=None).model_dump(mode="json")
    run.params_file.write_text(json.dumps({**settings, "sample_prompts": [NASTY], "data_path": NASTY, "model": NASTY}))
    run.log_event("phase", phase=NASTY, state="training")
    run.log_event("warning", message=NASTY + LINK, hint=NASTY)
    run.log_event("sample", step=10, prompt=NASTY, answer=NASTY + LINK)
    run.log_event("metric", step=31, values={"loss": 1.0, NASTY: 2.0, f"reward/{NASTY}": 1.0})
    run.log_event("uploaded", address=f"javascript:window.hacked=5//{NASTY}")
    run.log_event("saved", step=31, path=NASTY)
    run.log_file.write_text(f"{NASTY}\n\x1b[31m{NASTY}\x1b]8;;javascript:window.hacked=6\x07{LINK}\n")
    run.update_status(state=State.FAILED, reason=NASTY + LINK, phase=NASTY)
    return run.name


def clean(page: Page, where: str) -> None:
    page.wait_for_timeout(700)  # for an image that fails, and for what is fetched after the page
    for probe, said in PLANTED.items():
        assert not page.evaluate(probe), f"{where}: {said}"
    assert page.locator("a[href^='javascript:']").count() == 0, where


def test_a_run_full_of_script_is_text_on_every_page(page: Page, server: Server) -> None:
    name = hostile(server)
    for address in (f"/run?id={name}", "/runs", f"/playground?run={name}", f"/new?again={name}", f"/new?run={name}"):
        page.goto(server.url + address)
        if address.startswith("/run?"):
            expect(page.locator(".run-head")).to_contain_text("failed")
            page.locator("details summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
            expect(page.locator("body")).to_contain_text("onerror=window.hacked=1")
        clean(page, address)


def test_an_address_full_of_script_is_text(page: Page, server: Server) -> None:
    for path in [place.path for place in PAGES]:
        query = "&".join(f"{key}={quote(NASTY)}" for key in ("id", "run", "trainer", "data", "model", "use", "__theme", "next"))
        page.goto(f"{server.url}{path}?{query}#{quote(NASTY)}")
        clean(page, path)


def test_a_file_whose_name_is_script_is_text(page: Page, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "'><img src=x onerror=window.hacked=1>.csv"
    file.write_text(f'prompt,completion,"{NASTY.replace(chr(34), chr(34) * 2)}"\n' + "When?,At six.,x\n" * 20)
    page.goto(f"{server.url}/new?trainer=sft")
    page.set_input_files("#upload input[type=file]", str(file))
    expect(page.locator("#token-view mark.trained").first).to_be_visible()
    clean(page, "an upload")
