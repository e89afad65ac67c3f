"""Searching the Hub while somebody types: what is asked, what is shown, who sees what, and a Hub that does not answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from huggingface_hub import get_session

from engine.errors import ModelOffline
from engine.hub import search as searching
from engine.hub.search import search
from tests.hub_server import Hub


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    searching.forget()
    yield
    searching.forget()


def test_models_that_can_be_trained_are_found_with_what_decides_between_them(many: Hub) -> None:
    found = search("models", " Town ")
    assert [one["id"] for one in found] == ["big/town", "closed/town"]
    assert found[0] == {
        "id": "big/town",
        "parameters": 3_000_001_000,
        "bytes": 6_000_004_000,
        "rows": "",
        "licence": "mit",
        "downloads": 900,
        "gated": False,
        "private": False,
    }
    assert found[1]["gated"] and len(search("models", "village")) == 10
    assert many.downloaded == []
    (data,) = search("datasets", "talk")
    assert (data["rows"], data["bytes"], data["licence"]) == ("1K<n<10K", 1234, "cc0-1.0")


def test_the_same_is_asked_once_and_a_letter_is_no_question(many: Hub) -> None:
    search("models", "town")
    search("models", "TOWN ")
    assert len(many.searched) == 1
    assert search("models", "t") == [] == search("models", "t" * 200) and len(many.searched) == 1


def test_who_is_logged_in_sees_what_is_theirs_and_strangers_of_the_page_do_not(
    many: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_member")
    assert "me/town-of-mine" in [one["id"] for one in search("models", "town")]
    many.tokens.clear()
    assert "me/town-of-mine" not in [one["id"] for one in search("models", "town", own=False)]
    assert many.tokens == set()


def test_a_hub_that_does_not_answer_is_said_in_time_and_left_alone_for_a_while(
    many: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    search("models", "village")  # loads what is loaded once, and may take longer than is waited below
    monkeypatch.setattr(searching, "WAIT_S", 0.2)
    many.wait_s = 6.0
    began = time.monotonic()
    with pytest.raises(ModelOffline, match="cannot be searched") as told:
        search("models", "town")
    assert time.monotonic() - began < 4 and "on this machine" in told.value.hint
    with pytest.raises(ModelOffline):
        search("models", "towns")
    assert ["towns"] not in [one["search"] for one in many.searched]


def test_a_hub_that_refuses_is_said_at_once_and_nobody_goes_on_asking(
    many: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shared = get_session()
    many.close()
    began = time.monotonic()
    with pytest.raises(ModelOffline, match="cannot be searched"):
        search("models", "town")
    assert time.monotonic() - began < 4 and "Retrying" not in caplog.text
    assert get_session() is shared and not shared.is_closed  # what a download in this process may be using


def test_a_connection_that_was_closed_meanwhile_is_made_again(many: Hub) -> None:
    many.hangs_up = 1
    assert len(search("models", "village")) == 10
    many.hangs_up = 2
    with pytest.raises(ModelOffline):
        search("models", "town")
    assert len(many.searched) == 4


def test_a_network_that_answers_in_the_hubs_place_is_no_hub(many: Hub) -> None:
    many.speaks_html = True
    with pytest.raises(ModelOffline, match="cannot be searched"):
        search("models", "town")
