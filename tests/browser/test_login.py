"""Signing in, in real browsers: two people beside each other on one server, and the page that asks for a password."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.browser.steps import typed
from tests.login.provider_server import CLIENT, SECRET, AccountServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PASSWORD = "seven herrings"
RUN = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours", "max_steps": 1, "project_name": "first"}
ROWS = "".join(json.dumps({"prompt": f"Secret of Ada {n}?", "completion": f"Answer {n}."}) + "\n" for n in range(20))


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The studio as on a Space with sign-in, and the accounts of two people."""
    with AccountServer({"id-of-ada": "Ada", "id-of-ben": "ben"}) as accounts:
        made = Server(
            tmp_path_factory.mktemp("space") / "runs",
            SPACE_ID="ada/studio",
            OAUTH_CLIENT_ID=CLIENT,
            OAUTH_CLIENT_SECRET=SECRET,
            OPENID_PROVIDER_URL=accounts.url,
            AITRAINING_STANDBY="0",
            OMP_NUM_THREADS="1",
        )
        accounts.back = f"{made.url}/login/callback"
        made.start()
        yield made
        made.stop()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The studio for all that reach this machine, with a password."""
    made = Server(
        tmp_path_factory.mktemp("locked") / "runs",
        AITRAINING_HOST="0.0.0.0",
        AITRAINING_PASSWORD=PASSWORD,
        AITRAINING_STANDBY="0",
    )
    made.start()
    yield made
    made.stop()


def person(chromium: Any, server: Server, name: str) -> Page:
    """This person's own browser, signed in by hand."""
    context = chromium.new_context(base_url=server.url)
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto("/runs")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_role("link", name="Sign in with Hugging Face").click()
    page.get_by_role("link", name=f"Sign in as {name}").click()
    expect(page).to_have_url(f"{server.url}/runs")
    expect(page.locator("[data-who]")).to_have_text(name)
    return page


def asked(page: Page, method: str, path: str, **body: Any) -> Any:
    """What the server answers to this page's own script."""
    return page.evaluate(
        """async ([method, path, body]) => {
          const sent = { method, headers: { "X-Studio": "1", "Content-Type": "application/json" } };
          if (method !== "GET") sent.body = JSON.stringify(body);
          const answer = await fetch(path, sent);
          return { status: answer.status, text: await answer.text() };
        }""",
        [method, path, body],
    )


def uploaded(page: Page) -> str:
    """Drop a file on the page New run, and wait until it is looked at; returns where it lies."""
    page.goto("/new?trainer=sft")
    page.locator("#upload input[type=file], input[type=file]").first.set_input_files(
        {"name": "secret.jsonl", "mimeType": "application/json", "buffer": ROWS.encode()}
    )
    expect(page.locator("#file-view")).to_contain_text("20")
    return page.locator("#field-data_path textarea, #field-data_path input").first.input_value()


def trained(page: Page, data: str) -> None:
    """Train on a file for a step, as the run `first`."""
    assert asked(page, "POST", "/studio/api/runs", **{**RUN, "data_path": data})["status"] == 201
    deadline = time.monotonic() + 180
    while (state := json.loads(asked(page, "GET", "/studio/api/runs/first")["text"]))["state"] != "done":
        assert state["state"] != "failed" and time.monotonic() < deadline, state
        time.sleep(0.5)


def answers_about(page: Page, name: str) -> list[tuple[int, str]]:
    """What everything says that is about a run of this name."""
    shown = [("GET", f"/studio/runs/{name}/{what}") for what in ("about", "live", "findings", "export.zip", "settings.yaml")]
    done = [("POST", f"/studio/runs/{name}/{what}") for what in ("stop", "resume", "rename", "delete")]
    for_programs = [("GET", f"/studio/api/runs/{name}{more}") for more in ("", "/events", "/model/model.safetensors")]
    every = [*shown, *done, *for_programs, ("DELETE", f"/studio/api/runs/{name}")]
    answers = [asked(page, method, address, force=True, to="mine") for method, address in every]
    return [(one["status"], one["text"].replace(name, "NAME")) for one in answers]


def test_two_people_beside_each_other(chromium: Any, space: Server) -> None:
    ada, ben = person(chromium, space, "Ada"), person(chromium, space, "ben")
    closed: list[str] = []
    for page in (ada, ben):
        page.on("response", lambda r: closed.append(f"{r.status} {r.url}") if r.status in (401, 403, 404) else None)
    path = uploaded(ada)
    assert "/.people/ada/.uploads/" in path
    trained(ada, path)
    ada.goto("/runs")
    expect(ada.get_by_role("link", name="first")).to_be_visible()
    ada.goto("/run?id=first")
    expect(ada.locator(".run-head .st-pill")).to_have_text("done")
    ada.goto("/playground")
    expect(ada.locator("select").first).to_contain_text("first")
    assert closed == [], "all that the pages of who has signed in ask for is answered"

    ben.goto("/runs")
    expect(ben.get_by_text("No runs yet.")).to_be_visible()
    ben.goto("/playground")
    expect(ben.locator("select").first).to_contain_text("Starter")
    expect(ben.locator("select").first).not_to_contain_text("first")
    ben.goto("/run?id=first")
    expect(ben.get_by_text("There is no run called 'first'.").first).to_be_visible()
    told = answers_about(ben, "first")
    assert {status for status, _ in told} == {404}
    assert told == answers_about(ben, "no-such-run"), "it answers as if there was none"
    ben.goto("/new?trainer=sft")
    typed(ben, "field-data_path", path)
    ben.keyboard.press("Tab")
    expect(ben.locator("#file-view")).to_contain_text("reads uploaded files")
    expect(ben.locator("body")).not_to_contain_text("Secret of Ada")
    assert json.loads(asked(ada, "GET", "/studio/api/runs/first")["text"])["state"] == "done", "whatever he tried"

    ada.get_by_role("button", name="Sign out").click()
    expect(ada.get_by_role("heading", name="Sign in")).to_be_visible()
    assert [name for name in ada.evaluate("Object.keys(localStorage)") if name.startswith("studio-")] == []
    ada.goto("/run?id=first")
    expect(ada.get_by_role("heading", name="Sign in")).to_be_visible()
    for page in (ada, ben):
        page.context.close()


def test_what_is_anothers_is_neither_talked_to_nor_trained_on(chromium: Any, space: Server) -> None:
    """After the test above: Ada's run `first` is there."""
    ben, hers = person(chromium, space, "ben"), space.home / ".people" / "ada"
    (data,) = (hers / ".uploads").glob("*/secret.jsonl")
    model = str(hers / "first" / "model")
    assert Path(model, "model.safetensors").is_file()
    for named in ("first", model, f"{space.home}/.people/ben/../ada/first"):
        talk = {"id": 1, "models": [named], "messages": [[{"role": "user", "content": "Hello?"}]], "settings": {}}
        said = [json.loads(line) for line in asked(ben, "POST", "/studio/chat", **talk)["text"].splitlines()]
        assert [one["type"] for one in said if one["type"] not in ("wait", "done")] == ["error"], said
    for wish in ({"data_path": str(data)}, {"valid_path": str(data)}, {"model": model}, {"model": f"{hers}/first"}):
        refused = asked(ben, "POST", "/studio/api/runs", **{**RUN, **wish})
        assert refused["status"] == 422 and "served to others" in refused["text"], wish
    assert asked(ben, "GET", f"/gradio_api/file={data}")["status"] == 404
    assert asked(ben, "POST", "/studio/api/runs", **RUN)["status"] == 201, "nor does a name tell that she has it"
    assert asked(ben, "POST", "/studio/runs/first/stop", force=True)["status"] == 200
    ben.context.close()


def test_a_password_by_keyboard_and_on_a_phone(chromium: Any, locked: Server) -> None:
    context = chromium.new_context(base_url=locked.url, viewport={"width": 390, "height": 800}, color_scheme="dark")
    page = context.new_page()
    page.goto("/runs")
    expect(page.get_by_label("Password")).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.type("six herrings")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This is not the password.")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{locked.url}/runs")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    expect(page.get_by_text("No runs yet.")).to_be_visible()
    expect(page.get_by_role("button", name="Free space")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.clear_cookies()  # as when the time is over: the page that is open leads to the way in, and back
    expect(page).to_have_url(re.compile("/login\\?next="), timeout=30_000)
    page.goto(f"/login?next=%2Frun%3Fid%3Dx#key={PASSWORD.replace(' ', '%20')}")
    expect(page).to_have_url(f"{locked.url}/run?id=x")
    context.close()


def test_a_question_after_signing_out_elsewhere_leads_to_the_way_in_and_back(chromium: Any, locked: Server) -> None:
    context = chromium.new_context(base_url=locked.url)
    page = context.new_page()
    page.goto("/login?next=%2Fplayground")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.locator("#question").wait_for()
    context.clear_cookies()
    page.fill("#question", "When does the bakery open?")
    page.press("#question", "Enter")
    expect(page).to_have_url(re.compile("/login\\?next=%2Fplayground"))
    context.close()


def test_a_password_stands_in_no_log_and_no_link(locked: Server) -> None:
    log = locked.log()
    assert "AITraining Studio is at" in log and PASSWORD not in log and "#key=" not in log
