"""The audit of pinned packages, against an index of the tests' own; and that it does not call silence a clean bill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["1.1"], "link": "https://x.example/1", "withdrawn": None}
RELEASES: dict[str, list[dict[str, Any]]] = {
    "/sound/2.0/json": [],
    "/torn/1.0/json": [HOLE],
    "/cleared/3.0/json": [{**HOLE, "withdrawn": "2026-01-01"}],
}


class Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = RELEASES.get(self.path)
        self.send_response(404 if found is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulnerabilities": found}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def audit(index: str, file: Path, text: str) -> subprocess.CompletedProcess[str]:
    file.write_text(text)
    argv = [sys.executable, str(ROOT / "scripts" / "audit.py"), str(file)]
    return subprocess.run(argv, env={"PYPI_JSON": index}, capture_output=True, text=True, timeout=60, check=False)


def test_a_hole_is_told_with_what_mends_it(index: str, tmp_path: Path) -> None:
    done = audit(index, tmp_path / "pins", "# pins\nsound==2.0\ntorn==1.0\ncleared==3.0\nours==9\n")
    assert done.returncode == 1
    assert "torn 1.0: PYSEC-1, CVE-1. Mended in 1.1. https://x.example/1" in done.stdout
    assert "4 pinned packages, 1 known holes." in done.stdout and "Not in the index: ours 9." in done.stdout
    assert audit(index, tmp_path / "pins", "sound==2.0\n").returncode == 0


def test_an_index_that_does_not_answer_is_no_clean_bill(tmp_path: Path) -> None:
    done = audit("http://127.0.0.1:9", tmp_path / "pins", "sound==2.0\n")
    assert done.returncode == 2 and "could not be asked" in done.stderr and "known holes" not in done.stdout


def test_an_index_that_has_no_such_answers_is_no_clean_bill(index: str, tmp_path: Path) -> None:
    done = audit(index, tmp_path / "pins", "ours==9\n")
    assert done.returncode == 2 and "knows none of these" in done.stderr and "known holes" not in done.stdout


def test_every_pin_is_read() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from audit import pins
    finally:
        sys.path.pop(0)
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert len(pins(ROOT / "constraints.txt")) == len(lines) > 60


@pytest.mark.parametrize(("pins", "passes"), [("sound==2.0", True), ("torn==1.0", False), ("ours==9", True)])
def test_the_tests_fail_for_a_known_hole_and_not_for_silence(index: str, tmp_path: Path, pins: str, passes: bool) -> None:
    file = tmp_path / "pins"
    file.write_text(pins + "\n")
    argv = ["make", "-s", "holes", f"PINS={file}", f"PYTHON={sys.executable}"]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYPI_JSON": index}, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is passes, done.stdout + done.stderr
    planned = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "scripts/audit.py" in planned
