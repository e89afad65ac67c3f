"""For people without a mouse and for those who listen: axe finds nothing serious, and the whole way goes by keyboard."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from engine import api
from engine.params import LLMTrainingParams
from engine.runs import line, queue
from engine.runs.directory import RunDirectory
from tests.browser.conftest import Server
from tests.browser.steps import wait_for_end
from tests.browser.test_pages import finished
from tests.browser.test_pipelines import begun
from tests.browser.test_sweeps import cut_off
from ui.shell import PAGES

pytestmark = pytest.mark.browser
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What is on a page depends on its address: forms of trainers, a run that is there, one that is not.
ADDRESSES = [
    *(page.path for page in PAGES),
    "/?labeled=yes&pairs=no",
    "/new?trainer=dpo&data=sample:manners",
    "/new?trainer=ppo&data=sample:doorstep",
    "/run?id=looked-at",
    "/run?id=looked-at-waiting",
    "/pipeline?id=looked-at-chain",
    "/sweep?id=looked-at-values",
    "/playground?run=looked-at",
]
# Colours depend on the theme, sizes on the width: two looks at each page show both.
LOOKS = {"desktop, light": (1280, "light"), "phone, dark": (390, "dark")}
KEYS = 150  # so many presses of Tab are enough to come anywhere on a page


def serious(page: Page) -> list[str]:
    """What axe calls serious or critical, each with the first element that it found."""
    still = (
        "document.getAnimations().every(one => one.playState !== 'running' || one.effect.getComputedTiming().iterations > 9)"
    )
    page.wait_for_function(still)  # a button that is just being enabled is pale for a moment
    found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response["violations"]
    return [f"{v['id']}: {[n['html'][:300] for n in v['nodes']]}" for v in found if v["impact"] in ("serious", "critical")]


def furnish(server: Server) -> None:
    """One of each kind of thing that pages are about: a run that went on and has a model, a pipeline, a sweep."""
    if (server.home / "looked-at").exists():
        return
    run = finished(server, "looked-at")
    for folder in (run.model_dir, run.adapter_dir, run.checkpoints_dir / "checkpoint-60"):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    run.log_event("resumed", step=60)
    begun(server, "looked-at-chain")
    cut_off(server, "looked-at-values")


@pytest.fixture
def furnished(server: Server) -> Iterator[Server]:
    """The shared server with something on every page, and a run that waits in a queue that is paused."""
    line.pause(server.home)
    furnish(server)
    # the newest, so that it is on the list's first page however many runs other tests have left
    RunDirectory(server.home / "looked-at").update_status(created=time.time())
    params = LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name="looked-at-waiting")
    waiting = queue.enqueue(params, root=server.home)
    yield server
    queue.cancel(waiting)
    shutil.rmtree(waiting.path)
    line.go_on(server.home)


def settle(page: Page) -> None:
    """Wait until nothing is asked of the server any more and Gradio's spinners are gone."""
    expect(page.locator(".st-header")).to_be_visible()
    page.wait_for_load_state("networkidle")
    if page.locator("div#upload").count():  # a box for files is drawn as an empty one before it takes any
        expect(page.locator("#upload input[type=file]")).to_be_attached()


@pytest.mark.parametrize("look", ["desktop, light", pytest.param("phone, dark", marks=pytest.mark.long)])
def test_axe_finds_nothing_serious(page: Page, furnished: Server, look: str) -> None:
    server = furnished
    width, theme = LOOKS[look]
    page.set_viewport_size({"width": width, "height": 900})
    found = {}
    for address in ADDRESSES:
        page.goto(f"{server.url}{address}{'&' if '?' in address else '?'}__theme={theme}")
        settle(page)
        found[address] = serious(page)
    page.goto(f"{server.url}/new?trainer=sft&data=sample:neighbours&__theme={theme}")
    settle(page)
    for step in ("2 · Model", "3 · Settings", "4 · Review and start"):
        page.get_by_role("tab", name=step).click()
        page.wait_for_load_state("networkidle")
        if step.startswith("2"):
            page.locator(".hub-find:visible input").fill("harbour")
            page.wait_for_load_state("networkidle")
        if step.startswith("4"):
            page.locator("#several > button").click()
            page.locator("#several-lines textarea").fill("lr = 1e-5, 1e-4")
            expect(page.locator("#several-says")).to_contain_text("2 runs")
            expect(page.locator("#several-start")).to_be_enabled()
        if step.startswith("3"):
            page.locator("#show-all input").check()
            page.locator("#yaml > button").click()
            expect(page.locator("#yaml-text")).to_be_visible()
        found[step] = serious(page)
    page.goto(f"{server.url}/runs?__theme={theme}")
    page.get_by_role("button", name="Delete looked-at", exact=True).click()
    found["a question"] = serious(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Free space").click()
    found["free space"] = serious(page)
    page.goto(f"{server.url}/run?id=looked-at&__theme={theme}")
    page.click("#upload")
    found["upload"] = serious(page)
    wrong = {where: what for where, what in found.items() if what}
    assert not wrong, json.dumps(wrong, indent=1)


def test_axe_would_find_something(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/runs")
    settle(page)
    page.evaluate("document.querySelector('.st-header').insertAdjacentHTML('beforeend', '<button></button>')")
    assert any(line.startswith("button-name") for line in serious(page))


def go_to(page: Page, target: Locator) -> None:
    """Press Tab until `target` has the keyboard, as one who has no mouse; fails when it never gets it."""
    target.wait_for()
    for _ in range(KEYS):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} is not reached with Tab")


def press(page: Page, target: Locator, key: str = "Enter") -> None:
    go_to(page, target)
    page.keyboard.press(key)


def test_the_whole_way_goes_without_a_mouse(page: Page, server: Server) -> None:
    """From the first page through the tree, the four steps, a run and its stop, to a talk with the model."""
    page.goto(server.url)
    press(page, page.locator('.tree-answer[data-path="labeled=yes"]'))
    press(page, page.locator('.tree-answer[data-path="labeled=yes&pairs=no"]'))
    press(page, page.locator(".advice:visible .st-button.main").first)
    page.wait_for_url("**/new?trainer=sft*")
    settle(page)
    go_to(page, page.locator("#sample input"))
    page.keyboard.press("Control+A")
    page.keyboard.type(next(sample.title for sample in api.samples() if sample.id == "neighbours"))
    page.keyboard.press("Enter")
    expect(page.locator("#token-view .example").first).to_be_visible()
    press(page, page.locator("#to-model"))
    press(page, page.locator("#to-settings"))
    go_to(page, page.locator("#field-epochs input, #field-epochs textarea").first)
    page.keyboard.press("Control+A")
    page.keyboard.type("12")
    expect(page.locator("#command")).to_contain_text("--epochs 12")
    press(page, page.locator("#after-settings"))
    expect(page.locator("#start")).to_be_enabled()
    press(page, page.locator("#start"))
    page.wait_for_url("**/run?id=*")
    expect(page.locator(".run-head .st-pill")).to_have_text("training", timeout=90_000)
    press(page, page.locator("#stop"))
    assert wait_for_end(page) == "stopped"
    name = page.url.split("id=")[1]
    press(page, page.get_by_role("link", name="Runs", exact=True))
    press(page, page.get_by_role("button", name=f"Delete {name}"))
    press(page, page.locator("dialog .main"))
    expect(page.locator(f'[data-run="{name}"]')).to_have_count(0)
    press(page, page.get_by_role("link", name="Playground"))
    press(page, page.locator("#question"))
    page.keyboard.type("Where does Mara live?")
    page.keyboard.press("Enter")
    expect(page.locator(".turn.assistant small").first).to_contain_text("tokens", timeout=60_000)
