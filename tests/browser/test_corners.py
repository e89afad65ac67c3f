"""What people do that the journey does not: type and click away, stop an answer, press Enter, come under another name."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from engine.runs.status import State, Status
from tests.browser.conftest import Server
from tests.browser.steps import typed
from tests.browser.test_new_run import opened
from tests.browser.test_pages import finished

pytestmark = pytest.mark.browser
OURS = {"X-Studio": "1"}


def question(text: str, tokens: int) -> dict[str, object]:
    talk = [[{"role": "user", "content": text}]]
    return {"id": "q", "models": ["starter"], "messages": talk, "settings": {"max_tokens": tokens, "temperature": 1, "seed": 1}}


def test_an_answer_that_nobody_reads_any_more_holds_nobody_up(server: Server) -> None:
    with httpx.Client(base_url=server.url, headers=OURS, timeout=60) as client:
        with client.stream("POST", "/studio/chat", json=question("Tell me all about the harbour.", 400)) as answer:
            for line in answer.iter_lines():
                if json.loads(line)["type"] == "text":
                    break  # the tab is closed in the middle of a word
        told = client.post("/studio/chat", json=question("Where does Mara live?", 8), timeout=15).text
    kinds = [json.loads(line)["type"] for line in told.splitlines()]
    assert kinds[-1] == "done"
    assert "error" not in kinds


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"id": 1, "models": "starter", "messages": [], "settings": {}}', b'{"id": 1, "models": [{}]}'],
    ids=["nothing", "a list", "empty", "a name and no list", "half"],
)
def test_what_is_no_question_is_refused_in_words(server: Server, body: bytes) -> None:
    answer = httpx.post(f"{server.url}/studio/chat", content=body, headers=OURS)
    assert answer.status_code == 400
    assert "not a question" in answer.json()["error"]


def test_another_host_name_is_not_answered(server: Server) -> None:
    for path in ("/", "/studio/runs", "/gradio_api/info"):
        answer = httpx.get(f"{server.url}{path}", headers={"Host": f"evil.example:{server.port}"})
        assert answer.status_code == 403
        assert "answers to 127.0.0.1 only" in answer.text
    assert httpx.get(f"{server.url}/studio/runs", headers={"Host": f"localhost:{server.port}"}).status_code == 200
    assert httpx.get(f"{server.url}/studio/runs", headers={"Host": "[::1]"}).status_code == 200


def test_a_path_counts_without_enter_and_an_empty_one_shows_nothing(page: Page, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "typed.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Ask {n}?", "completion": f"Say {n}."}) + "\n" for n in range(25)))
    page.goto(f"{server.url}/new?trainer=sft")
    expect(page.locator("#file-view")).to_contain_text("No data yet")
    typed(page, "field-data_path", str(file))
    page.get_by_role("tab", name="4 · Review and start").click()
    expect(page.locator("#command")).to_contain_text(str(file))
    expect(page.locator("#review-view")).to_contain_text("Optimizer steps")
    page.get_by_role("tab", name="1 · Data").click()
    expect(page.locator("#file-view")).to_contain_text("typed.jsonl")
    typed(page, "field-data_path", " ")
    page.keyboard.press("Tab")
    expect(page.locator("#file-view")).to_contain_text("No data yet")


def test_the_review_says_what_is_wrong_and_start_waits(page: Page, server: Server) -> None:
    opened(page, server, "4 · Review and start")
    expect(page.locator("#start")).to_be_enabled()
    page.get_by_role("tab", name="3 · Settings").click()
    typed(page, "field-epochs", "many")
    page.get_by_role("button", name="Next: review").click()
    expect(page.locator("#review-view [role=alert]")).to_contain_text("Passes over the data must be a number")
    expect(page.locator("#start")).to_be_disabled()
    page.get_by_role("tab", name="3 · Settings").click()
    typed(page, "field-epochs", "2")
    page.get_by_role("tab", name="4 · Review and start").click()
    expect(page.locator("#start")).to_be_enabled()


def test_the_review_says_that_rows_cannot_be_used_before_start_does(page: Page, server: Server, tmp_path: Path) -> None:
    rows = tmp_path / "pairs.csv"
    rows.write_text("question,answer\n" + "".join(f"Gate {n}?,At {n}.\n" for n in range(20)) + "Gate 21?,\n")
    page.goto(f"{server.url}/new?trainer=sft")
    page.set_input_files("#upload input[type=file]", str(rows))
    expect(page.locator("#problems")).to_contain_text("1 row cannot be used")
    page.get_by_role("button", name="All the rest as recommended: review").click()
    expect(page.locator("#review-view [role=alert]")).to_contain_text("Press “Leave this row out”")
    expect(page.locator("#start")).to_be_disabled()
    page.get_by_role("tab", name="1 · Data").click()
    page.get_by_role("button", name="Leave this row out").click()
    page.get_by_role("tab", name="4 · Review and start").click()
    expect(page.locator("#start")).to_be_enabled()
    expect(page.locator("#review-view [role=alert]")).to_have_count(0)


def test_halves_of_characters_are_shown_as_question_marks(page: Page, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "halves.jsonl"
    file.write_text("".join(f'{{"prompt": "Ask \\ud83d {n}?", "completion": "Say."}}\n' for n in range(25)))
    page.goto(f"{server.url}/new?trainer=sft")
    page.set_input_files("#upload input[type=file]", str(file))
    expect(page.locator("#file-view")).to_contain_text("halves.jsonl")
    expect(page.locator("#file-view")).to_contain_text("cannot be used")


def test_enter_renames_and_escape_does_not(page: Page, server: Server) -> None:
    finished(server, "by-keyboard")
    page.goto(f"{server.url}/runs")
    page.get_by_role("button", name="Rename by-keyboard").click()
    page.locator("dialog input").fill("never")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.get_by_role("button", name="Rename by-keyboard").click()
    page.locator("dialog input").fill("by-enter")
    page.keyboard.press("Enter")
    expect(page.locator('[data-run="by-enter"]')).to_be_visible()
    assert not (server.home / "never").exists()
    finished(server, "taken")
    page.get_by_role("button", name="Rename by-enter").click()
    page.locator("dialog input").fill("taken")
    page.keyboard.press("Enter")
    expect(page.locator("dialog [role=alert]")).to_contain_text("taken")
    expect(page.locator("dialog input")).to_have_value("taken")
    page.locator("dialog input").fill("free-again")
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator('[data-run="free-again"]')).to_be_visible()


def test_the_list_keeps_the_keyboard_where_it_is(page: Page, server: Server) -> None:
    finished(server, "list-one")
    run = finished(server, "list-two")
    page.goto(f"{server.url}/runs")
    page.get_by_role("button", name="Rename list-one").focus()
    run.update_status(best_value=0.125)
    expect(page.locator('[data-run="list-two"]')).to_contain_text("0.125")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == "Rename list-one"


def test_a_run_with_numbers_that_are_none_is_listed_and_watched(page: Page, server: Server) -> None:
    run = finished(server, "not-a-number")
    run.update_status(metrics={"loss": float("nan"), "grad_norm": float("inf")}, best_value=float("nan"), best_step=3)
    page.goto(f"{server.url}/runs")
    expect(page.locator('[data-run="not-a-number"]')).to_be_visible()
    page.goto(f"{server.url}/run?id=not-a-number")
    expect(page.locator(".run-head .st-pill")).to_have_text("done")


def test_a_damaged_model_of_a_run_does_not_keep_the_form_shut(page: Page, server: Server) -> None:
    for name, text in (("emptied", None), ("cut-short", '{"architectures": ["Lla'), ("written-over", "[]")):
        model = finished(server, name).model_dir
        model.mkdir()
        if text is not None:
            (model / "config.json").write_text(text)
    page.goto(f"{server.url}/new?trainer=sft")
    expect(page.locator("#upload input[type=file]")).to_be_attached()
    page.get_by_role("tab", name="2 · Model").click()
    page.locator("#field-model input").click()
    expect(page.locator("#field-model [role=option]").first).to_be_visible()
    offered = page.locator("#field-model [role=option]").all_inner_texts()
    assert not [words for words in offered if words.startswith(("emptied", "cut-short", "written-over"))]
    page.keyboard.press("Escape")


def test_why_something_was_refused_stays_on_the_screen(page: Page, server: Server) -> None:
    run = finished(server, "refused")
    page.goto(f"{server.url}/run?id=refused")
    expect(page.locator(".run-head .st-pill")).to_have_text("done")
    page.evaluate("document.querySelector('.monitor').monitor.act('resume')")
    expect(page.locator("[role=alert]")).to_contain_text("is done")
    page.evaluate("document.querySelector('.monitor').monitor.soon()")
    run.log_event("warning", message="a later word", hint="")
    page.evaluate("document.querySelector('.monitor').monitor.soon()")
    expect(page.locator(".monitor")).to_contain_text("a later word")
    expect(page.locator("[role=alert]")).to_contain_text("is done")


def test_a_run_that_was_deleted_elsewhere_offers_nothing_more(page: Page, server: Server) -> None:
    run = finished(server, "deleted-elsewhere")
    run.write_status(Status(State.TRAINING, step=3, total_steps=9, created=1.0, started=time.time()))
    worker = run.lock()
    assert worker.acquire()
    page.goto(f"{server.url}/run?id=deleted-elsewhere")
    expect(page.locator("#stop")).to_be_visible()
    shutil.rmtree(run.path)
    worker.release()
    expect(page.locator(".run-head .st-pill")).to_have_text("not found")
    expect(page.locator(".run-head button")).to_have_count(0)
    expect(page.locator(".kpis dt")).to_have_count(0)
    expect(page.locator(".run-say")).to_have_text("")
    expect(page.locator(".monitor .bar")).to_be_hidden()
    expect(page.locator(".chart-tools")).to_be_visible()
    page.goto(f"{server.url}/run?id=never-was")
    expect(page.locator(".run-head .st-pill")).to_have_text("not found")
    expect(page.locator(".chart-tools")).to_be_hidden()
    expect(page.get_by_role("link", name="All runs")).to_be_visible()


def test_no_resume_is_offered_once_the_checkpoints_are_removed(page: Page, server: Server) -> None:
    run = finished(server, "nothing-to-go-on-from")
    run.write_status(Status(State.STOPPED, created=1.0, started=2.0, ended=60.0, checkpoints_removed=True))
    page.goto(f"{server.url}/run?id=nothing-to-go-on-from")
    expect(page.locator("#again")).to_be_visible()
    expect(page.locator("#resume")).to_have_count(0)


def test_the_files_of_a_finished_model_can_be_downloaded(page: Page, server: Server) -> None:
    run = finished(server, "to-take-home")
    run.model_dir.mkdir()
    (run.model_dir / "model.safetensors").write_bytes(b"m" * 5000)
    page.goto(f"{server.url}/run?id=to-take-home")
    page.click("#download")
    with page.expect_download() as download:
        page.get_by_role("link", name="model.safetensors").click()
    assert download.value.path().read_bytes() == b"m" * 5000
    with page.expect_download() as whole:
        page.click("#download-all")
    assert whole.value.suggested_filename == "to-take-home.zip"
    with ZipFile(whole.value.path()) as archive:
        assert archive.read("to-take-home/model.safetensors") == b"m" * 5000


def test_the_light_switch_is_not_there_before_it_is_heard(page: Page, server: Server) -> None:
    waiting: list[Route] = []
    page.route("**/shell.js*", lambda route: waiting.append(route))  # a slow line: it stays away until we let it through
    page.goto(f"{server.url}/runs?__theme=dark", wait_until="commit")  # it may be loaded only once the script is
    expect(page.locator(".st-header")).to_be_visible()
    expect(page.locator("[data-theme-toggle]")).to_be_hidden()
    waiting[0].continue_()
    page.click("[data-theme-toggle]")
    expect(page.locator("body.dark")).to_have_count(0)


def test_the_light_switch_wins_over_the_address(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/runs?__theme=dark")
    expect(page.locator("body.dark")).to_have_count(1)
    page.click("[data-theme-toggle]")
    expect(page.locator("body.dark")).to_have_count(0)
    page.reload()
    expect(page.locator(".st-header")).to_be_visible()
    expect(page.locator("body.dark")).to_have_count(0)


def test_a_server_that_is_gone_is_said_in_the_list(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/runs")
    expect(page.locator(".runs-list")).to_be_visible()
    page.route("**/studio/overview*", lambda route: route.abort())
    expect(page.locator(".runs-list [role=alert]")).to_contain_text("does not answer")
    page.unroute("**/studio/overview*")
    expect(page.locator(".runs-list [role=alert]")).to_have_count(0)


def test_what_could_not_be_done_because_the_studio_is_away_is_said_until_it_is_back(page: Page, server: Server) -> None:
    run = finished(server, "stays-for-now")
    page.goto(f"{server.url}/runs")
    expect(page.get_by_role("button", name="Delete stays-for-now")).to_be_visible()
    page.route("**/studio/**", lambda route: route.abort())
    page.get_by_role("button", name="Delete stays-for-now").click()
    page.locator("dialog .main").click()
    said = page.get_by_text("The studio does not answer, so nothing was done. Try again in a moment.")
    expect(said).to_be_visible()
    expect(page.get_by_text("Failed to fetch")).to_have_count(0)
    page.unroute("**/studio/**")
    expect(said).to_have_count(0)
    assert run.path.is_dir()


def test_a_question_to_a_studio_that_is_away_goes_back_into_its_box(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/playground")
    page.locator("#question").wait_for()
    page.route("**/studio/chat", lambda route: route.abort())
    page.fill("#question", "When does the bakery open?")
    page.press("#question", "Enter")
    expect(page.locator(".talk > [role=status]")).to_contain_text("The studio does not answer, so nothing was done.")
    expect(page.locator("#question")).to_have_value("When does the bakery open?")


def test_a_request_without_a_host_name_is_not_answered(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
        raw.sendall(b"GET /studio/runs HTTP/1.0\r\n\r\n")  # no Host header at all
        assert b"403" in raw.recv(200).split(b"\r\n")[0]
