"""What a server sends and a host asks: pages compressed, files of a model by byte, statics kept for good; the health check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from engine.deploy.dockerfile import steps
from engine.runs.directory import RunDirectory
from engine.runs.status import State

ROOT = Path(__file__).resolve().parents[2]


def asked(address: str, **headers: str) -> httpx.Response:
    with httpx.Client() as client, client.stream("GET", address, headers={"Accept-Encoding": "gzip", **headers}) as answer:
        answer.extensions["raw"] = b"".join(answer.iter_raw())
        return answer


@pytest.mark.parametrize("page", ["/", "/new", "/new-pipeline", "/runs"])
def test_pages_are_a_quarter_of_their_size_on_the_line(served: str, page: str) -> None:
    small, whole = asked(served + page), asked(served + page, **{"Accept-Encoding": "identity"})
    assert small.headers["content-encoding"] == "gzip" and "content-encoding" not in whole.headers
    assert len(small.extensions["raw"]) < len(whole.extensions["raw"]) / 3


def test_our_own_files_are_compressed_and_kept_by_the_browser(served: str) -> None:
    answer = asked(f"{served}/studio/static/monitor.js?v=1")
    assert answer.headers["content-encoding"] == "gzip" and "immutable" in answer.headers["cache-control"]


def test_files_of_a_model_come_as_they_are_and_by_byte(served: str, runs_root: Path) -> None:
    run = RunDirectory.create({"trainer": "sft", "data_path": "x.csv"}, "made", runs_root)
    run.update_status(state=State.DONE)
    run.model_dir.mkdir()
    (run.model_dir / "model.safetensors").write_bytes(b"0123456789" * 500)
    (run.model_dir / "LICENSE").write_bytes(b"0123456789" * 500)  # no ending, and yet a file
    for name in ("model.safetensors", "LICENSE"):
        answer = asked(f"{served}/studio/api/runs/made/model/{name}", Range="bytes=10-19")
        assert answer.status_code == 206 and answer.extensions["raw"] == b"0123456789"
        assert "content-encoding" not in answer.headers


def test_a_mistyped_address_shows_a_browser_the_way_back_and_tells_a_program_as_before(served: str) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding": "gzip"}
    for path in ("/nope", "/run/sft-1", "/%3Cb%3E", "/" + 300 * "x"):
        answer = httpx.get(served + path, headers=browser)
        assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/html"), path
        assert "There is no such page" in answer.text and 'href="/"' in answer.text and "<b>" not in answer.text
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert httpx.get(f"{served}/nope").json() == {"detail": "Not Found"}
    assert httpx.get(f"{served}/studio/runs/nope/about", headers=browser).json()["error"]
    assert httpx.post(f"{served}/nope", headers=browser).json()
    assert httpx.get(f"{served}/runs", headers=browser).status_code == 200


def test_the_health_check_answers_where_a_server_runs_and_only_there(served: str) -> None:
    argv = [sys.executable, *next(step.argv()[1:] for step in steps(ROOT / "Dockerfile") if step.name == "HEALTHCHECK")]
    asked = {**os.environ, "PORT": str(urlsplit(served).port)}
    assert subprocess.run(argv, env=asked, check=False).returncode == 0
    done = subprocess.run(argv, env={**asked, "PORT": "9"}, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode != 0
