"""A real server is sent files, settings, names and offsets over HTTP; every answer is one that was meant."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

from engine.runs.directory import RunDirectory
from engine.runs.lock import FileLock
from engine.runs.status import State
from tests.fuzz.page import HANGS_S, NewRun


class Busy:
    """The device is taken while this is held, so that what is started only waits."""

    def __init__(self, root: Path) -> None:
        run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, "busy", root)
        self.lock: FileLock = run.lock()
        assert self.lock.acquire()
        run.update_status(state=State.TRAINING, launched=time.time(), started=time.time())
        (root / ".active").mkdir(exist_ok=True)
        (root / ".active" / "busy").touch()


class Feeder:
    """Sends inputs to one server and judges its answers."""

    def __init__(self, port: int, random: Random) -> None:
        self.port, self.random = port, random
        self.page = NewRun(f"http://127.0.0.1:{port}")
        self.slowest = 0.0

    def file(self, name: str, content: bytes) -> None:
        """Upload a file, and look at it on the page."""
        code, answer = self.ask("PUT", f"/studio/api/data/{quote(name)}", content)
        assert code == 201, answer
        began = time.monotonic()
        self.page.look(data_path=answer["data_path"], trainer=self.random.choice(["sft", "dpo", "default", "kto"]))
        self.slowest = max(self.slowest, time.monotonic() - began)

    def settings(self, values: Any) -> None:
        """Start a run with them; one that was taken is taken out again."""
        code, answer = self.ask("POST", "/studio/api/runs", json.dumps(values).encode(), json_type=True)
        assert code in (201, 400, 404, 409, 413, 422), (code, answer)
        if code == 201:
            for method, path in (("POST", "/stop"), ("DELETE", "")):
                told = self.ask(method, f"/studio/api/runs/{quote(answer['name'])}{path}", b"{}", json_type=True)
                assert told[0] == 200, told

    def body(self, text: bytes) -> None:
        """A body that may be anything."""
        code, answer = self.ask("POST", "/studio/api/runs", text, json_type=True)
        assert code in (400, 413, 422), (code, answer)

    def names(self, name: str, offset: str) -> None:
        """Runs of any name, from any offset."""
        known = self.random.choice([quote(name, safe=""), "busy"])
        for path in ("", "/events", "/model", "/model/x"):
            code, answer = self.ask("GET", f"/studio/api/runs/{known}{path}?after={quote(offset)}")
            assert code in (200, 307, 404, 409), (code, answer)
        code, answer = self.ask("GET", f"/studio/runs/{known}/live?events={quote(offset)}&log={quote(offset)}")
        assert code in (200, 307, 404, 409), (code, answer)

    def ask(self, method: str, path: str, body: bytes | None = None, *, json_type: bool = False) -> tuple[int, Any]:
        """One request and its answer, which no traceback is in."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANGS_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if json_type else {})
            reply = connection.getresponse()
            text = reply.read().decode("utf-8", "replace")
        finally:
            connection.close()
        self.slowest = max(self.slowest, time.monotonic() - began)
        assert "Traceback" not in text and reply.status != 500, (method, path, text[:500])
        return reply.status, json.loads(text) if text[:1] in ("{", "[") else text
