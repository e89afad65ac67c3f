"""The Hub behind the page's own addresses: searching, and uploading with the address in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from engine.hub import search as searching
from engine.runs.directory import RunDirectory
from tests.hub_server import Hub

STUDIO = {"X-Studio": "1"}


def test_the_pages_addresses_answer(many: Hub, served: str, runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searching.forget()
    found = httpx.get(f"{served}/studio/hub/models?q=town", timeout=30).json()
    assert found["q"] == "town" and [one["id"] for one in found["found"]] == ["big/town", "closed/town"]
    assert httpx.get(f"{served}/studio/hub/datasets?q=talk", timeout=30).json()["found"][0]["id"] == "club/town-talk"
    many.close()
    searching.forget()
    monkeypatch.setattr(searching, "WAIT_S", 0.2)
    answer = httpx.get(f"{served}/studio/hub/models?q=harbour", timeout=30)
    assert answer.status_code == 409 and "cannot be reached" in answer.json()["error"] and "Traceback" not in answer.text
    searching.forget()


def test_the_page_sends_a_model_and_gets_its_address(
    hub: Hub, finished: RunDirectory, served: str, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    asked = f"{served}/studio/runs/talker"
    refused = httpx.post(f"{asked}/upload", json={}, headers=STUDIO, timeout=30)
    assert refused.status_code == 409 and "Nobody is logged in" in refused.json()["error"]
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    wrong = httpx.post(f"{asked}/upload", json={"to": "no such/name!"}, headers=STUDIO, timeout=30)
    assert wrong.status_code == 409 and "cannot be the name" in wrong.json()["error"]
    assert httpx.post(f"{asked}/upload", json={}, timeout=30).status_code == 403
    assert httpx.post(f"{asked}/upload", json={"to": "mine"}, headers=STUDIO, timeout=30).status_code == 200

    def state() -> dict[str, object]:
        return httpx.get(f"{asked}/live", timeout=30).json()["status"]["upload"]

    wait_until(lambda: state()["state"] != "sending", 60)
    found = state()
    assert (found["state"], found["address"]) == ("done", f"{hub.address}/me/mine"), found
    assert found["done"] == found["total"] and hub.private["me/mine"]
    assert hub.models["me/mine"]["model.safetensors"] == b"m" * 50_000
    assert b"hf_mine" not in b"".join(path.read_bytes() for path in finished.path.rglob("*") if path.is_file())
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    strangers = httpx.post(f"{asked}/upload", json={"to": "theirs"}, headers=STUDIO, timeout=30)
    assert strangers.status_code == 409 and "under its owner's name" in strangers.json()["error"]
