"""How people sign in: which way there is, the password, guessing, how long it lasts. With an account: tests/login."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from engine import people
from ui import routes, shell
from ui.login import guesses, way_in
from ui.login.gate import Gate
from ui.login.sessions import Sessions
from ui.login.way import CLOSED, PASSWORD, PEOPLE, Way, chosen

SPACE = {"SPACE_ID": "ada/studio", "AITRAINING_HOST": "0.0.0.0"}
OAUTH = {"OAUTH_CLIENT_ID": "c", "OAUTH_CLIENT_SECRET": "s3cret", "OPENID_PROVIDER_URL": "https://huggingface.co"}
WORD = "correct horse"


# ---- which way ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({}, None),
        ({"AITRAINING_HOST": "localhost"}, None),
        ({"AITRAINING_PASSWORD": WORD}, PASSWORD),  # a proxy before it may let others in
        ({"AITRAINING_HOST": "0.0.0.0"}, PASSWORD),
        ({"AITRAINING_HOST": "192.168.1.5"}, PASSWORD),
        ({"AITRAINING_HOST": "0.0.0.0", "AITRAINING_PASSWORD": WORD}, PASSWORD),
        (SPACE, CLOSED),
        ({"SPACE_ID": "ada/studio"}, CLOSED),
        ({**SPACE, "OAUTH_CLIENT_ID": "c"}, CLOSED),
        ({**SPACE, "AITRAINING_PASSWORD": WORD}, PASSWORD),
        ({**SPACE, **OAUTH}, PEOPLE),
        ({**SPACE, **OAUTH, "AITRAINING_PASSWORD": WORD}, PEOPLE),
        (OAUTH, None),
    ],
)
def test_the_way_in_follows_from_where_it_is_served(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], kind: str | None
) -> None:
    monkeypatch.setenv("AITRAINING_HOST", env.get("AITRAINING_HOST", "127.0.0.1"))
    found = chosen(dict(env))
    assert (found.kind if found else None) == kind


def test_secrets_are_taken_out_of_what_other_processes_are_given_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    env = {**SPACE, **OAUTH, "AITRAINING_PASSWORD": WORD}
    found = chosen(env)
    assert found is not None and found.secret == "s3cret"
    assert "s3cret" not in f"{env} {found!r}" and WORD not in f"{env} {found!r}"


def test_the_owners_token_reads_nothing_for_strangers_unless_they_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    token = {"HF_TOKEN": "hf_x", "HUGGING_FACE_HUB_TOKEN": "hf_x"}
    strangers, said, own = {**SPACE, **OAUTH, **token}, {**SPACE, **OAUTH, **token, "AITRAINING_SHARED_TOKEN": "1"}, {**token}
    for env in (strangers, said, own):
        chosen(env)
    assert not token.keys() & strangers.keys() and token.keys() <= said.keys() and token.keys() <= own.keys()


def test_a_password_that_nobody_chose_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    first, second = chosen({}), chosen({})
    assert first is not None and second is not None and first.made_up
    assert first.secret != second.secret and len(first.secret) >= 32


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"AITRAINING_PASSWORD": "my key"}, "at least 8 characters"),
        ({"AITRAINING_SESSION_HOURS": "a day", "AITRAINING_PASSWORD": WORD}, "a number of hours"),
        ({"AITRAINING_SESSION_HOURS": "nan", "AITRAINING_PASSWORD": WORD}, "a number of hours"),
    ],
)
def test_what_cannot_be_used_is_said_at_the_start(env: dict[str, str], said: str) -> None:
    with pytest.raises(SystemExit, match=said) as told:
        chosen(env)
    assert "my key" not in str(told.value)


# ---- the password ------------------------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(way_in, "Guesses", lambda: guesses.Guesses(made))
    monkeypatch.setattr(guesses, "_DELAY_S", 0.2)
    return made


def studio(way: Way) -> Starlette:
    """The gate, the way in, and one address behind them."""

    def mine(request: Request) -> JSONResponse:
        return JSONResponse({"who": people.who().id})

    made = way_in.WayIn(way)
    inside = [Route("/runs", mine), Route("/studio/mine", mine, methods=["GET", "POST"]), Route("/elsewhere", mine)]
    return Starlette(
        routes=[*made.routes(), *routes.routes()[:1], *inside], middleware=[Middleware(Gate, way_in=made, pages=["/", "/runs"])]
    )


@pytest.fixture
def browser(runs_root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("AITRAINING_LOGINS", "password")
    monkeypatch.delenv("AITRAINING_PERSON", raising=False)
    with TestClient(studio(Way(PASSWORD, WORD)), follow_redirects=False) as client:
        yield client


def test_a_password_lets_in_and_back_to_where_one_was_going(browser: TestClient) -> None:
    turned = browser.get("/runs?x=1")
    assert (turned.status_code, turned.headers["location"]) == (303, "/login?next=/runs%3Fx%3D1")
    assert browser.get("/studio/mine").status_code == 401
    page = browser.get(turned.headers["location"])
    assert 'autocomplete="current-password"' in page.text and 'value="/runs?x=1"' in page.text
    wrong = browser.post("/login", data={"password": "wrong horse", "next": "/runs?x=1"})
    assert wrong.status_code == 401 and "This is not the password." in wrong.text and "wrong horse" not in wrong.text
    right = browser.post("/login", data={"password": WORD, "next": "/runs?x=1"})
    assert (right.status_code, right.headers["location"]) == (303, "/runs?x=1")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and WORD not in cookie
    assert browser.get("/studio/mine").json() == {"who": ""}, "the person at this machine"
    assert browser.get("/elsewhere").status_code == 404, "what the gate does not know is closed to everybody"
    assert browser.get("/studio/mine").headers["cache-control"] == "no-store"
    assert browser.post("/logout").status_code == 303
    assert browser.get("/studio/mine").status_code == 401


def test_another_sites_page_does_nothing_in_ones_name(browser: TestClient) -> None:
    browser.post("/login", data={"password": WORD})
    assert browser.post("/studio/mine").status_code == 200
    assert browser.post("/studio/mine", headers={"Origin": "http://testserver"}).status_code == 200
    for origin in ("https://evil.example", "null", "http://testserver.evil.example", "http://testserver:81"):
        assert browser.post("/studio/mine", headers={"Origin": origin}).status_code == 403, origin
        assert browser.post("/login", data={"password": WORD}, headers={"Origin": origin}).status_code == 403


def test_guessing_gets_slower_and_says_so(browser: TestClient, clock: Clock) -> None:
    for _ in range(5):
        assert "This is not the password." in browser.post("/login", data={"password": "guess"}).text
    told = browser.post("/login", data={"password": WORD})
    assert told.status_code == 401 and "Wait 30 seconds, then try again." in told.text, "nor is the right one looked at"
    bearer = browser.get("/studio/mine", headers={"Authorization": f"Bearer {WORD}"})
    assert bearer.status_code == 401 and "Wait" in bearer.json()["error"], "nor by another door"
    clock.now += 31
    browser.post("/login", data={"password": "guess"})
    assert "Wait 60 seconds" in browser.post("/login", data={"password": "guess"}).text
    clock.now += 61
    assert browser.post("/login", data={"password": WORD}).status_code == 303


def test_guesses_from_many_addresses_are_slow_together_and_lock_nobody_out(clock: Clock) -> None:
    tried = guesses.Guesses(clock)
    for number in range(60):
        tried.wrong(f"10.0.0.{number}")
    assert tried.wait_s("10.0.0.1") == tried.wait_s("192.168.0.7") == 0 and tried.delay_s() > 0
    clock.now += 700
    assert tried.delay_s() == 0
    for _ in range(5000):
        tried.wrong("10.0.0.1")
    assert tried.wait_s("10.0.0.1") == 900
    for number in range(20_000):
        tried.wrong(f"address {number}")
    assert len(tried._tallies) <= 10_000


def test_a_program_sends_the_password_along(browser: TestClient) -> None:
    assert browser.get("/studio/mine", headers={"Authorization": f"Bearer {WORD}"}).json() == {"who": ""}
    for given in (f"Bearer {WORD}x", f"Basic {WORD}", "Bearer", WORD):
        assert browser.get("/studio/mine", headers={"Authorization": given}).status_code == 401, given


def test_a_long_form_is_not_read(browser: TestClient) -> None:
    assert browser.post("/login", data={"password": "x" * 20_000}).status_code == 413


# ---- how long ----------------------------------------------------------------------------------------------------------


def test_a_session_ends_by_itself_and_with_another_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Sessions(tmp_path, "one", hours=8)
    text = kept.begin("ada", "Ada")
    known = Sessions(tmp_path, "one", hours=8).of(text)
    assert known is not None and (known.id, known.name) == ("ada", "Ada"), "a restart signs nobody out"
    assert Sessions(tmp_path, "two", hours=8).of(text) is None, "another password does"
    assert kept.opened("question", text) is None, "what was signed for one purpose is good for no other"
    kept.end(known)
    assert Sessions(tmp_path, "one", hours=8).of(text) is None, "who has signed out stays out over a restart"
    again = kept.begin("ada", "Ada")
    later = time.time() + 8 * 3600 + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert kept.of(again) is None
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0, "for this machine's user alone"


# ---- a Space without sign-in ---------------------------------------------------------------------------------------------


def test_a_torn_line_of_an_ended_session_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a full disk leaves it; while it is full, who signs out is out all the same."""
    kept = Sessions(tmp_path, "one", hours=8)
    first, second = kept.begin("ada", "Ada"), kept.begin("ben", "Ben")
    (tmp_path / "ended").write_bytes(b"0123 17\n0123 x\n0123 \xff 5\n01234")
    kept = Sessions(tmp_path, "one", hours=8)
    for text in (first, second):
        session = kept.of(text)
        assert session is not None
        kept.end(session)
    after = Sessions(tmp_path, "one", hours=8)
    assert after.of(first) is None and after.of(second) is None
    (tmp_path / "ended").unlink()
    (tmp_path / "ended").symlink_to("/dev/full")
    third = kept.begin("ada", "Ada")
    session = kept.of(third)
    assert session is not None
    kept.end(session)
    assert kept.of(third) is None and "No space left" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_said_at_the_start(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page for others needs a place for the key of its logins."""
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    monkeypatch.setenv("AITRAINING_LOGINS", "")
    runs_root.mkdir()
    (runs_root / ".login").touch()
    with pytest.raises(SystemExit, match=r"Nobody could sign in: .*\.login.* cannot be written: .*AITRAINING_HOME"):
        shell._way_in()


def test_a_space_without_sign_in_says_what_to_do_and_lets_nobody_in(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITRAINING_LOGINS", CLOSED)
    with TestClient(studio(Way(CLOSED, space="ada/studio")), follow_redirects=False) as client:
        told = client.get("/login").text
        assert "hf_oauth: true" in told and "AITRAINING_PASSWORD" in told
        assert re.findall(r'href="(https://[^"]+)"', told) == [
            "https://huggingface.co/spaces/ada/studio/edit/main/README.md",
            "https://huggingface.co/spaces/ada/studio/settings",
            "https://huggingface.co/spaces/ada/studio?duplicate=true",
        ]
        assert client.get("/runs").status_code == 303
        for password in ("", "x"):
            assert client.post("/login", data={"password": password}).status_code == 404
            assert client.get("/studio/mine", headers={"Authorization": f"Bearer {password}"}).status_code == 401
        mine = Sessions(runs_root / ".login", f"{CLOSED} ", 24).begin("", "")
        assert client.get("/studio/mine", headers={"Cookie": f"studio-80-session={mine}"}).status_code == 401
        assert client.get("/login/start").status_code == 404 == client.get("/login/callback?code=x&state=y").status_code
