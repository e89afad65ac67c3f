"""What other sites' pages, impatient programs and references to other servers get: nothing."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine import api, data
from engine.errors import DataError, StudioError
from tests.hardening.conftest import RUN
from tests.login.doors import Door, doors
from ui import shell
from ui.reach import upload_limit

CHANGES = [door for door in doors(shell.own_routes()) if door.method not in ("GET", "HEAD")]
FOREIGN = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "X-Studio": ""}]


def asked(studio: httpx.Client, door: Door, **sent: object) -> httpx.Response:
    path = door.path({"": "no-such-thing", "action": "stop"})
    return studio.request(door.method, path, **sent)  # type: ignore[arg-type]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_whatever_changes_something_is_not_done_for_another_site(
    studio: httpx.Client, runs_root: Path, headers: dict[str, str]
) -> None:
    """Every such address of the app, a new one too. What a form on a foreign page can send: text, a form, an upload."""
    assert len(CHANGES) >= 15
    forms: list[dict[str, object]] = [
        {"content": json.dumps(RUN), "headers": {**headers, "Content-Type": "text/plain"}},
        {"data": RUN, "headers": headers},
        {"files": {"file": ("rows.csv", b"question,answer\na,b\n")}, "headers": headers},
    ]
    for door in CHANGES:
        for form in forms:
            answer = asked(studio, door, **form)
            assert answer.status_code in (403, 415), f"{door.method} {door.template} {form}: {answer.status_code}"
    assert not list(runs_root.rglob("rows.csv")) and studio.get("/studio/api/runs").json() == []


def test_no_answer_is_shared_with_other_sites(studio: httpx.Client) -> None:
    """Without these headers a browser gives what is answered to no page of another site."""
    for door in doors(shell.own_routes()):
        for method in ("OPTIONS", door.method):
            answer = studio.request(method, door.path({"": "x"}), headers={"Origin": "https://evil.example"})
            assert "access-control-allow-origin" not in answer.headers, f"{method} {door.template}"


@pytest.mark.parametrize("door", [door for door in CHANGES if "/data/" not in door.template], ids=lambda door: door.template)
def test_an_endless_or_deep_body_is_turned_away_at_once(studio: httpx.Client, door: Door) -> None:
    for body in (b"[" * 200_000 + b"]" * 200_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b" " * 9_000_000 + b"{}"):
        began = time.monotonic()
        answer = asked(studio, door, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500 and "Traceback" not in answer.text, (
            f"{door.method} {door.template}: {answer.status_code}"
        )
        assert time.monotonic() - began < 5


def test_an_upload_is_as_long_as_it_may_be(studio: httpx.Client, runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that does not say how long it will be. Of what is too long nothing is kept."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(runs_root))
    monkeypatch.setenv("AITRAINING_UPLOAD_MB", "1")
    runs_root.mkdir(exist_ok=True)

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"a,b\n" * 10_000

    for content in (b"a,b\n" * 300_000, endless()):
        answer = studio.put("/studio/api/data/rows.csv", content=content)
        assert answer.status_code == 413 and "1,000,000 bytes" in answer.json()["error"]
    assert studio.put("/studio/api/data/rows.csv", content=b"a,b\n" * 200_000).status_code == 201
    assert [file.stat().st_size for file in runs_root.rglob("*") if file.is_file()] == [800_000]


def test_the_page_takes_no_longer_file_than_that(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio's way of sending, with the limit that the page is built with."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(runs_root / ".incoming"))
    monkeypatch.setenv("AITRAINING_UPLOAD_MB", "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app, options = shell.build()
    app.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, **options)
    try:
        send = f"http://127.0.0.1:{port}/gradio_api/upload"
        long = httpx.post(send, files={"files": ("rows.csv", b"a,b\n" * 300_000)}, timeout=30)
        assert long.status_code == 413
        assert httpx.post(send, files={"files": ("rows.csv", b"a,b\n" * 200_000)}, timeout=30).status_code == 200
    finally:
        app.close(verbose=False)
    assert {file.stat().st_size for file in (runs_root / ".incoming").rglob("*") if file.is_file()} == {800_000}


@pytest.mark.parametrize("said", ["0", "-3", "many", "1.5"])
def test_a_limit_that_is_none_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("AITRAINING_UPLOAD_MB", said)
    with pytest.raises(StudioError, match="AITRAINING_UPLOAD_MB"):
        upload_limit()


INNER = ["data_path", "valid_path", "model", "model_ref", "rl_reward_model_path", "teacher_model", "teacher_endpoint"]
TRAINER = {
    "model_ref": "dpo",
    "rl_reward_model_path": "ppo",
    "teacher_model": "distillation",
    "teacher_endpoint": "distillation",
}


@pytest.mark.parametrize("name", INNER)
def test_the_server_asks_no_other_server_that_a_visitor_names(
    studio: httpx.Client, inner: tuple[str, list[str]], name: str
) -> None:
    """As a run, as a pipeline's stage, and as one value of a sweep; and to be looked at on the page."""
    address, heard = inner
    for url in (f"{address}/latest/meta-data", address.replace("http://", "http:/"), f"{address}/v1/rows.csv"):
        run = {**RUN, "trainer": TRAINER.get(name, "sft"), name: url}
        answer = studio.post("/studio/api/runs", json=run)
        assert answer.status_code == 422 and name in answer.json()["settings"], f"{name}: {answer.text}"
        swept = {"sweep": "s", "settings": {k: v for k, v in run.items() if k != name}, "try": {name: [url]}}
        assert studio.post("/studio/api/sweeps", json=swept).status_code == 422
        if name == "data_path":
            with pytest.raises(DataError, match="no file"):
                data.inspect(url)
    assert heard == []


def test_settings_that_name_servers_are_known(studio: httpx.Client) -> None:
    """Whoever adds a setting that is an address or a reference to a model or to data adds it to the list above."""
    names = {name for spec in api.specs().values() for name in spec.params.model_fields}
    referring = {name for name in names if re.search(r"(_path|_endpoint|_url|_host|_server|_ref)$|^model$|_model$", name)}
    assert referring == set(INNER)


def test_no_machine_is_rented_for_a_visitor(studio: httpx.Client) -> None:
    """As a run, and as what a sweep's runs share or try."""
    rented = {"compute": "hf-jobs", "job_hardware": "a10g-small", "job_owner": "acme"}
    swept = {"sweep": "s", "settings": RUN}
    for address, body in (
        ("/studio/api/runs", {**RUN, **rented}),
        ("/studio/api/sweeps", {**swept, "settings": {**RUN, **rented}, "try": {"lr": [0.1, 0.01]}}),
        ("/studio/api/sweeps", {**swept, "try": {"compute": ["hf-jobs", "local"]}}),
    ):
        answer = studio.post(address, json=body)
        assert answer.status_code == 422 and "compute" in answer.json()["settings"], answer.text
