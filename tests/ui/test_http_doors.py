"""What stands before every address: other sites' pages and names that are none are turned away, and errors are told alike."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from engine import api

EVIL = "http://evil.example"


@pytest.fixture
def page(served: str, runs_root: Path) -> Iterator[httpx.Client]:
    """The page of this machine alone: no gate, no password."""
    with httpx.Client(base_url=served, timeout=30) as client:
        yield client


@pytest.fixture
def program(served: str, runs_root: Path) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{served}/studio/api", timeout=30) as client:
        yield client


@pytest.mark.parametrize("origin", [EVIL, "null", "http://[::1"])
def test_a_foreign_site_sends_nothing_to_the_page_of_this_machine(
    page: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: str
) -> None:
    """Gradio's own addresses as well: a browser sends a form with a file to any address."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "incoming"))
    for address in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/call/x", "/nothing"):
        answer = page.post(address, files={"files": ("rows.csv", b"a,b\n")}, headers={"Origin": origin})
        assert answer.status_code == 403, address
    assert not (tmp_path / "incoming").exists()
    own = {"Origin": str(page.base_url).rstrip("/")}
    assert page.post("/gradio_api/upload", files={"files": ("rows.csv", b"a,b\n")}, headers=own).status_code == 200
    assert page.get("/", headers={"Origin": origin}).status_code == 200, "looking at it is up to the browser"


def test_the_page_of_this_machine_is_shown_in_no_frame_of_another_site(
    page: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in ("/", "/runs", "/studio/runs", "/gradio_api/info"):
        headers = page.get(address).headers
        assert (headers["x-frame-options"], "frame-ancestors 'self'" in headers["content-security-policy"]) == (
            "SAMEORIGIN",
            True,
        )
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")  # where people sign in, and in a Space, which the Hub frames
    assert "x-frame-options" not in page.get("/").headers


@pytest.mark.parametrize("host", ["[::1", "[", "localhost:port", "a:b:c", "localhost:99999"])
def test_a_host_that_is_none_is_refused(page: httpx.Client, host: str) -> None:
    for address in ("/", "/studio/runs", "/studio/api/runs"):
        assert page.get(address, headers={"Host": host}).status_code == 400, address


def test_every_error_of_the_api_is_told_alike(program: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/integration.md says: also one that the router, the gate or a defect answers."""

    def broken() -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(api, "runs", broken)
    asked = {
        404: program.get("/no/such/address"),
        405: program.put("/runs", json={}),
        403: program.get("/trainers", headers={"Host": "evil.example"}),
        400: program.get("/trainers", headers={"Host": "[::1"}),
        500: program.get("/runs"),
    }
    for status, answer in asked.items():
        assert answer.status_code == status
        told = answer.json()
        assert set(told) == {"error", "hint", "settings"} and told["error"].endswith("."), told
    assert "does not take PUT" in asked[405].json()["error"] and "allow" in asked[405].headers
    assert "division" not in asked[500].text
    assert program.get("/runs/nobody").json()["error"].startswith("There is no run")


def test_a_request_that_breaks_off_is_no_defect(served: str) -> None:
    """The connection is closed in the middle of an upload."""
    where = urlsplit(served)
    with socket.create_connection((where.hostname or "", where.port or 0)) as line:
        line.sendall(b"PUT /studio/api/data/x.csv HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
    assert httpx.get(f"{served}/studio/api/trainers").status_code == 200
