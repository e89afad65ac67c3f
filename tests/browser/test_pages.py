"""The other pages: the tree keeps its answers, runs can be renamed and deleted, phones and dark rooms, keyboards."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory
from engine.runs.status import State, Status
from tests.browser.conftest import Server

pytestmark = pytest.mark.browser


def finished(server: Server, name: str, points: int = 300) -> RunDirectory:
    """A run's directory as a worker leaves it, written by hand."""
    params = LLMTrainingParams(trainer="sft", data_path="sample:neighbours").model_dump(mode="json")
    run = RunDirectory.create(params, name, server.home)
    with run.events_file.open("w") as file:
        for step in range(1, points + 1):
            values = {"loss": 5 / step + 0.1, "learning_rate": 1e-4, "grad_norm": 1.0, "token_accuracy": step / points}
            file.write(json.dumps({"t": 1000.0 + step, "type": "metric", "step": step, "values": values}) + "\n")
    run.write_status(Status(State.DONE, step=points, total_steps=points, created=1.0, started=2.0, ended=60.0))
    return run


def test_the_tree_keeps_its_answers(page: Page, server: Server) -> None:
    page.goto(server.url)
    page.click('.tree-answer[data-path="labeled=yes"]')
    page.click('.tree-answer[data-path="labeled=yes&pairs=no"]')
    expect(page.locator(".advice:visible")).to_have_count(1)
    expect(page.locator(".advice:visible h2")).to_have_text("Use SFT")
    page.reload()
    expect(page.locator(".advice:visible h2")).to_have_text("Use SFT")
    page.click('.tree-answer[data-path="labeled=no"]')
    expect(page.locator(".advice:visible")).to_have_count(0)
    page.go_back()
    expect(page.locator(".advice:visible h2")).to_have_text("Use SFT")
    page.click('.case[data-path="use=safety"]')
    expect(page.locator(".advice:visible h2")).to_have_text("DPO or PPO with safety rewards")
    page.locator(".advice:visible .st-button.main").click()
    page.wait_for_url("**/new?trainer=*")


def test_an_answer_before_the_script_has_arrived_counts(page: Page, server: Server) -> None:
    held: list[Route] = []
    page.route("**/tree.js*", lambda route: held.append(route), times=1)  # the first page never gets it
    page.goto(server.url, wait_until="commit")
    page.click('.tree-answer[data-path="labeled=yes&pairs=no"]')
    assert held
    expect(page.locator(".advice:visible h2")).to_have_text("Use SFT")


def test_runs_are_renamed_and_deleted_only_after_asking(page: Page, server: Server) -> None:
    run = finished(server, "old-name")
    page.goto(f"{server.url}/runs")
    page.get_by_label("Rename old-name").click()
    page.get_by_label("Rename old-name", exact=True).last.fill("../escape")
    page.get_by_role("button", name="Rename", exact=True).last.click()
    expect(page.locator("dialog [role=alert]")).to_contain_text("cannot be a run's name")
    page.locator("dialog input").fill("new-name")
    page.locator("dialog .main").click()
    expect(page.locator('[data-run="new-name"]')).to_be_visible()
    assert not run.path.exists()
    page.get_by_role("button", name="Delete new-name").click()
    page.locator("dialog button", has_text="Cancel").click()
    assert (server.home / "new-name").is_dir()
    page.get_by_role("button", name="Delete new-name").click()
    page.locator("dialog .main").click()
    expect(page.locator('[data-run="new-name"]')).to_have_count(0)
    assert not (server.home / "new-name").exists()


def test_the_best_of_a_run_that_got_worse_is_the_same_on_its_page_and_in_the_list(page: Page, server: Server) -> None:
    """What counts is the model that is saved; that the start was better is said beside it."""
    run = finished(server, "got-worse", points=20)
    for step, value in ((0, 5.491), (10, 56.03), (20, 88.1)):
        run.log_event("metric", step=step, values={"eval_loss": value})
    run.log_event("best", step=0, value=5.491)
    run.update_status(best_step=0, best_value=5.491, kept_step=10, kept_value=56.03)
    page.goto(f"{server.url}/run?id=got-worse")
    expect(page.locator(".kpis div", has_text="Best").locator("dd")).to_have_text("56.03 at 10; before 5.491")
    assert page.evaluate("document.querySelector('.run-head').parentElement.monitor.board.best") == {"step": 10, "value": 56.03}
    page.goto(f"{server.url}/runs")
    expect(page.locator('[data-run="got-worse"] [data-label="Best"]')).to_contain_text("56.03")


def test_a_resumed_run_is_one_curve_with_a_mark(page: Page, server: Server) -> None:
    """Killed, seen as interrupted with its last step, resumed: each step once, and where it went on is said and drawn."""
    run = finished(server, "went-on", points=80)
    run.update_status(state=State.TRAINING, step=80, total_steps=100, launched=1.0, ended=None, resumable=True)
    page.goto(f"{server.url}/run?id=went-on")
    expect(page.locator(".st-pill")).to_have_text("interrupted")
    expect(page.locator(".run-say")).to_contain_text("at step 80 of 100")
    expect(page.locator("#resume")).to_be_visible()
    expect(page.locator(".run-resumed")).to_be_hidden()
    run.log_event("resumed", step=60)
    for step in range(61, 101):
        run.log_event("metric", step=step, values={"loss": 5 / step})
    run.update_status(state=State.DONE, step=100, ended=60.0)
    page.reload()
    expect(page.locator(".run-resumed")).to_have_text("Resumed at step 60: the dotted line.")
    steps = page.evaluate("document.querySelector('.run-head').parentElement.monitor.board.curves.loss[0]")
    assert steps == list(range(1, 101))
    # the line is drawn: without it the plot is another picture
    picture = "[...document.querySelectorAll('.chart canvas')][0].toDataURL()"
    marked = page.evaluate(picture)
    page.evaluate(
        "(board => { board.resumed = []; board.repaint(); })(document.querySelector('.run-head').parentElement.monitor.board)"
    )
    page.wait_for_function(f"marked => {picture} !== marked", arg=marked)


def test_a_run_can_be_taken_along(page: Page, server: Server) -> None:
    run = finished(server, "taken-along")
    (run.path / "data").mkdir()
    (run.path / "data" / "train.jsonl").write_text('{"prompt": "When?", "completion": "At six."}\n')
    run.data_file.write_text(json.dumps({"train_rows": 1, "valid_rows": 0}))
    page.goto(f"{server.url}/run?id=taken-along")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Program (zip)").click()
    names = zipfile.ZipFile(download.value.path()).namelist()
    assert sorted(names) == [f"taken-along/{name}" for name in ("data/train.jsonl", "settings.yaml", "train.py")]
    with page.expect_download() as download:
        page.get_by_role("link", name="Settings (YAML)").click()
    assert "trainer: sft" in download.value.path().read_text()
    page.get_by_role("button", name="Close").click()
    expect(page.locator("dialog")).to_have_count(0)
    run.params_file.write_text('{"trainer": "sft", "of": "another version"}')
    page.get_by_role("button", name="Export").click()
    expect(page.locator("[role=alert]")).to_contain_text("of")


def test_zoom_survives_new_points_and_a_long_run_stays_small(page: Page, server: Server) -> None:
    run = finished(server, "long-run", points=100_000)
    page.goto(f"{server.url}/run?id=long-run")
    page.wait_for_function("document.querySelector('.monitor')?.monitor?.board.curves.loss?.[0].length > 1000")
    kept = page.evaluate("document.querySelector('.monitor').monitor.board.curves.loss[0].length")
    assert kept <= 8100, "thinned for the screen"
    chart = page.locator(".chart:not([hidden]) .u-over").first
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 220, box["y"] + 60, steps=5)
    page.mouse.up()
    zoomed = (
        "(() => { const s = document.querySelector('.monitor').monitor.board.charts[0].u.scales.x; return [s.min, s.max]; })()"
    )
    page.wait_for_function(f"{zoomed}[1] < 60000")
    before = page.evaluate(zoomed)
    run.log_event("metric", step=100_001, values={"loss": 0.09})
    page.evaluate("document.querySelector('.monitor').monitor.soon()")
    page.wait_for_function("document.querySelector('.monitor').monitor.board.curves.loss[0].at(-1) === 100001")
    assert page.evaluate(zoomed) == before
    took = page.evaluate(
        "(() => { const t = performance.now(); document.querySelector('.monitor').monitor.board.draw();"
        " return performance.now() - t; })()"
    )
    assert took < 200, f"redrawing took {took:.0f} ms"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/new?trainer=sft&data=sample:neighbours", "/runs", "/playground", "/run?id=phone-run"])
def test_a_phone_shows_every_page_without_sideways_scrolling(chromium, server: Server, path: str, dark: bool) -> None:
    if not (server.home / "phone-run").exists():
        finished(server, "phone-run")
    context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    page.goto(f"{server.url}{path}")
    expect(page.locator("h1")).to_be_visible()
    page.wait_for_timeout(1500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


@pytest.mark.parametrize(("path", "opens"), [("/run?id=phone-dialog", "Upload to the Hub"), ("/runs", "Free space")])
def test_a_phone_shows_a_dialog_whole(page: Page, server: Server, path: str, opens: str) -> None:
    if not (server.home / "phone-dialog").exists():
        run = finished(server, "phone-dialog")
        for folder in (run.model_dir, run.adapter_dir, run.checkpoints_dir / "checkpoint-60"):
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(b"weights")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{server.url}{path}")
    page.get_by_role("button", name=opens).click()
    frame = page.locator("dialog").bounding_box()
    assert frame is not None
    assert frame["x"] >= 8 and frame["x"] + frame["width"] <= 382, "there is room beside it"
    for part in page.locator("dialog").locator("input, select, button").all():
        box = part.bounding_box()
        assert box is not None
        assert box["x"] >= frame["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"], part


def test_arrow_keys_move_in_a_radio_group(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/new?trainer=sft&data=sample:neighbours")
    expect(page.locator("#token-view .example").first).to_be_visible()
    page.locator("#field-trainer input[value=sft]").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#field-trainer input[value=default]")).to_be_checked()
    expect(page.locator("#command")).to_contain_text("--trainer default")


def test_an_unknown_run_says_so(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/run?id=nobody")
    expect(page.locator("[role=alert]")).to_contain_text("There is no run called")


def test_a_foreign_page_cannot_act(page: Page, server: Server) -> None:
    finished(server, "mine")
    page.goto(server.url)
    plain = page.request.post(f"{server.url}/studio/runs/mine/delete")
    foreign = page.request.post(
        f"{server.url}/studio/runs/mine/delete", headers={"X-Studio": "1", "Origin": "https://evil.example"}
    )
    assert (plain.status, foreign.status) == (403, 403)
    for path in ("/studio/static/..%2F..%2Fpyproject.toml", "/studio/static/index.json", "/gradio_api/file=/etc/passwd"):
        assert page.request.get(f"{server.url}{path}").status in (403, 404)
    assert Path(server.home / "mine").is_dir()
