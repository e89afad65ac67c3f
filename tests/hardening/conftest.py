"""The studio as it is served to others, asked over HTTP by somebody who wishes it no good. Nothing is trained."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.runs import queue

RUN = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours"}


@pytest.fixture
def studio(served: str, runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Runs that are started wait: nobody dispatches the queue."""
    monkeypatch.setattr(queue, "dispatch", lambda root: [])
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    with httpx.Client(base_url=served, timeout=30, headers={"X-Studio": "1"}) as client:
        yield client


@pytest.fixture
def inner() -> Iterator[tuple[str, list[str]]]:
    """A server for this machine alone, as a cloud's own at 169.254.169.254: its address, and what it was asked."""
    asked: list[str] = []

    class Notes(BaseHTTPRequestHandler):
        def _note(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(200)
            self.end_headers()

        do_GET = do_POST = do_HEAD = _note

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Notes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
