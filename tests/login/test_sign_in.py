"""Signing in with an account, the whole dance against a server that speaks as huggingface.co does."""

from __future__ import annotations

import shutil
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.login.conftest import Studio


def test_nobody_is_shown_the_way_in_and_comes_back_to_the_page_that_was_asked_for(studio: Studio) -> None:
    browser = studio.visitor()
    asked = browser.get("/run?id=sft-1")
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/run%3Fid%3Dsft-1")
    shown = browser.get(asked.headers["location"])
    assert shown.status_code == 200 and "Sign in with Hugging Face" in shown.text
    away = browser.get("/login/start?next=/run%3Fid%3Dsft-1").headers["location"]
    assert away.startswith(f"{studio.accounts.url}/oauth/authorize?")
    back = httpx.get(f"{away}&as=id-of-ada").headers["location"]
    there = browser.get(back)
    assert (there.status_code, there.headers["location"]) == (303, "/run?id=sft-1")
    assert browser.get("/studio/who").json() == {"name": "Ada", "admin": False}
    assert browser.get("/login").status_code == 303, "who is in is not asked again"
    assert studio.signed_in("id-of-grace").get("/studio/who").json() == {"name": "grace", "admin": True}


def test_the_cookie_is_for_the_server_alone_and_holds_no_token(studio: Studio) -> None:
    browser = studio.visitor()
    away = browser.get("/login/start").headers["location"]
    answer = browser.get(httpx.get(f"{away}&as=id-of-ben").headers["location"])
    (cookie,) = [text for text in answer.headers.get_list("set-cookie") if "session=" in text]
    for wanted in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=86400"):
        assert wanted.lower() in cookie.lower(), cookie
    assert not any(token in str(answer.headers) for token in studio.accounts.tokens)
    https = browser.get("/login/start", headers={"X-Forwarded-Proto": "https"})
    assert https.status_code == 303, "the provider would refuse the address; the cookie is what is looked at"
    assert "__Host-studio-question" in https.headers["set-cookie"] and "Secure" in https.headers["set-cookie"]


def begun(studio: Studio, subject: str = "id-of-ada") -> tuple[httpx.Client, str]:
    browser = studio.visitor()
    away = browser.get("/login/start").headers["location"]
    return browser, httpx.get(f"{away}&as={subject}").headers["location"]


def test_an_answer_counts_in_the_browser_that_asked_and_once(studio: Studio) -> None:
    browser, back = begun(studio)
    stranger = studio.visitor()
    stranger.get("/login/start")
    refused = stranger.get(back)
    assert refused.status_code == 401 and "not begun in this browser" in refused.text
    assert studio.visitor().get(back).status_code == 401, "without any question"
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 401, "the question was answered"
    other, again = begun(studio)
    code = parse_qs(urlsplit(back).query)["code"][0]
    state = parse_qs(urlsplit(again).query)["state"][0]
    used = other.get(f"/login/callback?code={code}&state={state}")
    assert used.status_code == 401 and "did not accept" in used.text, "the provider takes a code once"
    assert other.get("/studio/who").status_code == 401


def test_a_code_that_was_stolen_is_worth_nothing_without_the_verifier(studio: Studio) -> None:
    _, hers = begun(studio, "id-of-ada")
    thief, his = begun(studio, "id-of-ben")
    code, state = parse_qs(urlsplit(hers).query)["code"][0], parse_qs(urlsplit(his).query)["state"][0]
    assert thief.get(f"/login/callback?code={code}&state={state}").status_code == 401
    assert "token" in studio.accounts.refused


def test_who_says_no_at_the_provider_is_told_so(studio: Studio) -> None:
    _, back = begun(studio, "nobody")
    browser = studio.visitor()
    away = browser.get("/login/start").headers["location"]
    told = browser.get(httpx.get(f"{away}&as=nobody").headers["location"])
    assert told.status_code == 401 and "was not allowed to say who you are" in told.text and back


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "/login", "javascript:x", ""])
def test_signing_in_leads_to_no_other_site(studio: Studio, wanted: str) -> None:
    browser = studio.visitor()
    away = browser.get("/login/start", params={"next": wanted}).headers["location"]
    there = browser.get(httpx.get(f"{away}&as=id-of-ada").headers["location"])
    assert there.headers["location"] == "/"


def test_signing_out_ends_it_for_a_copied_cookie_too(studio: Studio) -> None:
    browser, thief = studio.signed_in("id-of-ada"), studio.visitor()
    thief.cookies = httpx.Cookies(browser.cookies)
    assert thief.get("/studio/who").status_code == 200
    assert browser.post("/logout", headers={"Origin": "https://evil.example"}).status_code == 403, "no other site does it"
    assert browser.post("/logout").headers["location"] == "/login?out=1"
    assert [one.get("/studio/who").status_code for one in (browser, thief)] == [401, 401]


def test_a_cookie_that_was_changed_is_nobodys(studio: Studio) -> None:
    browser = studio.signed_in("id-of-ada")
    ((name, text),) = browser.cookies.items()
    body, _, mark = text.partition(".")
    for forged in (f"{body}x.{mark}", f"{body}.{mark[:-2]}AA", body, ".", "é.é", ""):
        stranger = studio.visitor()
        answer = stranger.get("/studio/who", headers={"Cookie": f"{name}={forged}".encode()})
        assert answer.status_code == 401, forged


def test_a_name_that_another_person_had_before_does_not_open_their_folder(studio: Studio) -> None:
    ben = studio.signed_in("id-of-ben")
    kept = ben.put("/studio/api/data/mine.txt", content="something of ben's\n").json()["data_path"]
    studio.accounts.people["another-id"] = "ben"
    try:
        other = studio.signed_in("another-id")
        path = other.put("/studio/api/data/mine.txt", content="something of the other's\n").json()["data_path"]
    finally:
        del studio.accounts.people["another-id"]
    assert "/.people/ben/" in kept and "/.people/ben-2/" in path
    renamed = studio.accounts.people
    renamed["id-of-ben"] = "benjamin"
    try:
        again = studio.signed_in("id-of-ben").put("/studio/api/data/mine.txt", content="something of ben's\n")
    finally:
        renamed["id-of-ben"] = "ben"
    assert again.json()["data_path"] == kept, "whoever changes their name keeps what is theirs"


def test_a_session_does_not_outlive_the_deletion_of_ones_folder(studio: Studio) -> None:
    """Whoever has the name, and so the folder, after that is somebody else."""
    studio.accounts.people.update({"first-dora": "dora", "second-dora": "dora"})
    try:
        first = studio.signed_in("first-dora")
        assert first.get("/studio/who").json()["name"] == "dora"
        shutil.rmtree(studio.root / ".people" / "dora")
        assert first.get("/studio/who").status_code == 401
        second = studio.signed_in("second-dora")
        kept = second.put("/studio/api/data/mine.txt", content="hers\n").json()["data_path"]
        assert "/.people/dora/" in kept
        assert [one.get("/studio/who").status_code for one in (first, second)] == [401, 200]
    finally:
        del studio.accounts.people["first-dora"], studio.accounts.people["second-dora"]
