"""Canaries: a token in the environment, another in a stored login, a teacher's key. Whatever is done with the studio, no
process writes them, answers with them, or shows them among its arguments; the headers of the Hub and the teacher have them.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.conftest import Server
from tests.hub_server import Hub
from tests.train.toys import qa

ROOT = Path(__file__).resolve().parents[2]
TOKEN, LOGIN, KEY = "hf_CanaryInTheEnvironment77", "hf_CanaryOfTheLogin88", "sk-canary-of-the-teacher-99"
CANARIES = (TOKEN, LOGIN, KEY)
PAGES = ("/", "/new?trainer=sft&data=sample:neighbours", "/runs", "/run?id=one", "/playground", "/new-pipeline", "/config")


# ---- finding them ------------------------------------------------------------------------------------------------------


def holds(data: bytes) -> bool:
    """Whether a canary is in these bytes: plain, in base64 or in hexadecimal, packed or not."""
    if data[:2] == b"PK" and zipfile.is_zipfile(io.BytesIO(data)):
        packed = zipfile.ZipFile(io.BytesIO(data))
        return any(holds(packed.read(name)) for name in packed.namelist())
    if data[:2] == b"\x1f\x8b":
        data += gzip.decompress(data)
    words = [canary.encode() for canary in CANARIES]
    hidden = [word for one in words for word in (one, base64.b64encode(one).rstrip(b"=")[:-1], one.hex().encode())]
    return any(word in data for word in hidden)


def leaks_in(folder: Path, allowed: Iterable[Path] = ()) -> list[str]:
    """The files under `folder` that hold a canary, in their content or in their name."""
    found = []
    for path in folder.rglob("*"):
        named = holds(path.name.encode()) or (path.is_symlink() and holds(os.readlink(path).encode()))
        if named or (path.is_file() and path not in set(allowed) and holds(path.read_bytes())):
            found.append(str(path.relative_to(folder)))
    return found


class Onlooker:
    """Looks at every process of this machine, again and again: its arguments, and for the studio's their environment."""

    def __init__(self) -> None:
        self.arguments: set[str] = set()
        self.given: set[str] = set()  # what the studio's processes with a canary in their environment do
        self.over = threading.Event()

    def look(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes()
                if holds(words):
                    self.arguments.add(words.replace(b"\0", b" ").decode(errors="replace")[:80])
                if b"engine.worker" in words and holds((process / "environ").read_bytes()):
                    self.given.add(words.split(b"engine.worker")[1].replace(b"\0", b" ").decode().split(" {")[0].strip())
            except (OSError, PermissionError):
                continue

    @contextmanager
    def watching(self) -> Iterator[None]:
        def watch() -> None:
            while not self.over.wait(0.25):
                self.look()

        thread = threading.Thread(target=watch)
        thread.start()
        yield
        self.over.set()
        thread.join()


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    """What a careless line would do: log the environment, in any of the usual dresses, or hand a token on as an argument."""
    assert leaks_in(tmp_path) == []
    environment = {**os.environ, "HF_TOKEN": TOKEN, "AITRAINING_TEACHER_KEY": KEY}
    for name, data in {
        "worker.log": f"starting with {environment}".encode(),
        "events.jsonl": json.dumps({"env": environment}).encode(),
        "packed.gz": gzip.compress(LOGIN.encode()),
        "basic.txt": base64.b64encode(TOKEN.encode()),
        "dump.bin": b"\xff\0" + KEY.encode() + b"\0",
    }.items():
        (tmp_path / name).write_bytes(data)
        assert leaks_in(tmp_path) == [name]
        assert leaks_in(tmp_path, [tmp_path / name]) == []
        (tmp_path / name).unlink()
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as packed:
        packed.writestr("train.py", f"token = {TOKEN!r}")
    assert leaks_in(tmp_path) == ["export.zip"]
    asking = subprocess.Popen([sys.executable, "-c", "input()", f"--token={TOKEN}"], stdin=subprocess.PIPE)
    argv = [sys.executable, "-c", "input()", "engine.worker", "chat"]
    worker = subprocess.Popen(argv, stdin=subprocess.PIPE, env=environment)
    looker = Onlooker()
    deadline = time.monotonic() + 20
    while not (looker.arguments and looker.given) and time.monotonic() < deadline:
        looker.look()
    for process in (asking, worker):
        process.communicate(b"\n", timeout=30)
    assert looker.arguments and looker.given == {"chat"}


# ---- a whole life --------------------------------------------------------------------------------------------------------


@pytest.fixture
def teacher() -> Iterator[tuple[str, set[str]]]:
    """A server with an OpenAI-compatible API, and the keys that it has seen."""
    keys: set[str] = set()

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            keys.add(self.headers.get("Authorization", "").removeprefix("Bearer "))
            body = json.dumps({"choices": [{"message": {"content": "At six."}, "finish_reason": "stop"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", keys
    server.shutdown()
    server.server_close()


class Visitor:
    """Asks the studio, and keeps every byte of every answer."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=300)
        self.heard: list[tuple[str, bytes]] = []

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        answer = self.client.request(method, path, headers={"X-Studio": "1", "Idempotency-Key": path + str(given)}, **given)
        self.heard.append((path, answer.content + str(answer.headers).encode()))
        assert answer.status_code < 500, answer.text
        return answer

    def wait(self, name: str, until: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        deadline = time.monotonic() + 400
        while not until(status := self.ask("GET", f"/studio/runs/{name}/live").json()["status"]):
            assert time.monotonic() < deadline, status
            time.sleep(0.5)
        return status


@pytest.mark.slow
@pytest.mark.long
def test_no_secret_is_written_answered_or_shown(
    on_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: tuple[str, set[str]]
) -> None:
    place = tmp_path / "machine"
    home, temp, login = place / "home", place / "tmp", place / "hf" / "token"
    for folder in (home, temp, login.parent):
        folder.mkdir(parents=True)
    login.write_text(LOGIN)
    on_hub.gated, on_hub.members = {"club/tiny"}, {TOKEN, LOGIN}
    for name, value in {"HOME": home, "TMPDIR": temp, "HF_HOME": login.parent, "AITRAINING_HOME": place / "runs"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with_keys = {**os.environ, "HF_TOKEN": TOKEN, "AITRAINING_TEACHER_KEY": KEY}
    looker, said = Onlooker(), []
    server = Server(place / "runs")
    with looker.watching():
        for name, value in with_keys.items():
            monkeypatch.setenv(name, value)
        server.start(offline=False)
        try:
            visitor = Visitor(server.url)
            _live(visitor, teacher[0])
        finally:
            server.stop()
        for words in (["push", "one", "--hub-model-id", "again"], ["runs", "--json"], ["export", "one", "--yaml"]):
            said.append(_command(words, {**os.environ, "HF_TOKEN": ""}))
        plan = ["llm", "--dry-run", "--trainer", "sft", "--model", "club/tiny", "--data-path", "sample:neighbours"]
        said.append(_command(plan, with_keys))
    assert on_hub.tokens == {TOKEN, LOGIN} and teacher[1] == {KEY}, "all of them were used"
    assert "me/one" in on_hub.models and "me/again" in on_hub.models
    sent = [name for kind in on_hub.models.values() for name, data in kind.items() if holds(data)]
    assert (sent, [path for path, data in visitor.heard if holds(data)], [one for one in said if holds(one)]) == ([], [], [])
    assert leaks_in(place, allowed=[login]) == []
    assert looker.arguments == set()
    assert looker.given <= {"train"}, "only a training that needs it is given it"


def _live(visitor: Visitor, teacher: str) -> None:
    """A person's whole stay: data by HTTP, a run from the Hub, a distillation, every page, a talk, an upload."""
    rows = "".join(json.dumps(row) + "\n" for row in qa(30))
    data = visitor.ask("PUT", "/studio/api/data/qa.jsonl", content=rows).json()["data_path"]
    short = {"data_path": data, "max_steps": 2, "sample_tokens": 4, "device": "cpu", "precision": "fp32"}
    visitor.ask("POST", "/studio/api/runs", json={**short, "trainer": "sft", "model": "club/tiny", "project_name": "one"})
    taught = {"trainer": "distillation", "model": "starter", "teacher_endpoint": teacher, "teacher_model": "big"}
    asked = {**short, **taught, "teacher_prompt_template": "Be brief.\n\n{input}", "max_samples": 12, "project_name": "two"}
    visitor.ask("POST", "/studio/api/runs", json=asked)
    for name in ("one", "two"):
        status = visitor.wait(name, lambda status: status["ended_state"])
        assert status["state"] == "done", status
    for page in PAGES:
        visitor.ask("GET", page)
    for name in ("one", "two"):
        for part in ("about", "findings", "export.zip", "settings.yaml"):
            visitor.ask("GET", f"/studio/runs/{name}/{part}")
        for part in ("", "/events", "/model", "/model/README.md"):
            visitor.ask("GET", f"/studio/api/runs/{name}{part}")
    for path in ("runs", "models", "api/trainers", "api/trainers/sft", "api/runs", "hub/models?q=tiny", "hub/datasets?q=tiny"):
        visitor.ask("GET", f"/studio/{path}")
    talk = [[{"role": "user", "content": "When?"}]] * 2
    question = {"id": "1", "models": ["one", "club/tiny"], "messages": talk, "settings": {"max_tokens": 4}}
    answers = [json.loads(line) for line in visitor.ask("POST", "/studio/chat", json=question).text.splitlines()]
    assert {one["type"] for one in answers} >= {"end", "done"} and not [one for one in answers if one["type"] == "error"]
    visitor.ask("POST", "/studio/runs/one/upload", json={"to": "one"})
    sent = visitor.wait("one", lambda status: status["upload"]["state"] != "sending")["upload"]
    assert sent["state"] == "done", sent
    visitor.ask("POST", "/studio/chat/close")


def _command(words: list[str], environment: dict[str, str]) -> bytes:
    argv = [sys.executable, "-m", "engine.cli", *words]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout + done.stderr
