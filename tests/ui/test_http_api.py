"""The HTTP API of a real server: what it takes, what it gives, and whom it does not answer. A whole training over it is
shown by docs/integration.md, whose blocks are run in tests/docs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import pytest

from engine import api
from engine.runs import launcher, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State

RUN = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours"}


@pytest.fixture
def studio(served: str, runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Runs that are started wait in the queue: nobody dispatches it."""
    monkeypatch.setattr(queue, "dispatch", lambda root: [])
    with httpx.Client(base_url=f"{served}/studio/api", timeout=30) as client:
        yield client


def started(studio: httpx.Client, **values: Any) -> dict[str, Any]:
    return studio.post("/runs", json={**RUN, **values}).raise_for_status().json()


def finished(name: str) -> RunDirectory:
    run = RunDirectory.open(name)
    run.log_event("metric", step=1, values={"loss": 2.5})
    run.log_event("metric", step=2, values={"loss": 1.5})
    (run.model_dir / "adapter").mkdir(parents=True)
    (run.model_dir / "config.json").write_text("{}")
    (run.model_dir / "adapter" / "weights.safetensors").write_bytes(b"0123456789")
    (run.path / "secret").write_text("not of the model")
    run.update_status(state=State.DONE, step=2, total_steps=2, metrics={"loss": 1.5})
    return run


def test_a_run_is_queued_listed_stopped_and_deleted(studio: httpx.Client) -> None:
    made = studio.post("/runs", json=RUN)
    assert made.status_code == 201
    name = made.json()["name"]
    assert (made.json()["state"], made.json()["ended"], made.json()["model_path"]) == ("queued", False, None)
    assert [run["name"] for run in studio.get("/runs").json()] == [name]
    assert studio.delete(f"/runs/{name}").status_code == 409, "a run that waits is not deleted"
    assert studio.post(f"/runs/{name}/stop", json={}).json()["state"] == "stopped"
    assert studio.post(f"/runs/{name}/resume", json={}).json()["state"] == "queued", "it never began, so it begins"
    assert studio.post(f"/runs/{name}/stop", json={}).json()["state"] == "stopped"
    assert studio.delete(f"/runs/{name}").status_code == 200
    assert studio.get(f"/runs/{name}").status_code == 404
    assert studio.get("/runs").json() == []


def test_the_queue_is_asked_put_in_order_and_paused(studio: httpx.Client) -> None:
    one, two, three = (started(studio, project_name=name) for name in ("one", "two", "three"))
    now = studio.get("/queue").json()
    others = {"others_working": 0, "others_waiting": 0}
    assert now == {"paused": False, "places": 1, "working": [], "waiting": ["one", "two", "three"], **others}
    assert studio.post("/runs/three/move", json={"to": "first"}).json()["waiting"] == ["three", "one", "two"]
    assert studio.post("/runs/three/move", json={"to": 2}).json()["waiting"] == ["one", "three", "two"]
    assert studio.post("/runs/three/move", json={"to": "sideways"}).status_code == 409
    assert studio.post("/runs/three/move", json={}).status_code == 400
    assert studio.post("/queue", json={"paused": True}).json()["paused"] is True
    assert studio.post("/queue", json={"paused": "yes"}).status_code == 400
    assert studio.get("/queue").json()["paused"] is True
    assert studio.post("/queue", json={"paused": False}).json()["paused"] is False
    assert studio.post("/runs/two/cancel", json={}).json()["state"] == "stopped"
    assert studio.post("/runs/two/cancel", json={}).status_code == 409
    assert studio.post("/runs/one/stop", json={"discard": True, "created": one["created"]}).json() == {
        "name": "one",
        "deleted": True,
    }
    again = started(studio, project_name="one")
    for wish in ("stop", "cancel", "move"):
        refused = studio.post(f"/runs/one/{wish}", json={"created": one["created"], "to": "up"})
        assert refused.status_code == 409 and "another run has its name now" in refused.json()["error"]
    assert studio.delete("/runs/two", params={"created": one["created"]}).status_code == 409
    assert studio.delete("/runs/two", params={"created": two["created"]}).status_code == 200
    assert studio.get("/queue").json()["waiting"] == ["three", "one"]
    assert again["created"] != one["created"] and three["created"]


def test_room_is_told_and_made(studio: httpx.Client) -> None:
    name, waiting = started(studio)["name"], started(studio)["name"]
    run = finished(name)
    (run.checkpoints_dir / "checkpoint-2").mkdir(parents=True)
    (run.checkpoints_dir / "checkpoint-2" / "optimizer.pt").write_bytes(b"x" * 100_000)
    told = {one["name"]: one for one in studio.get("/space").json()["runs"]}
    assert told[name]["removable"] and told[name]["checkpoints"] >= 100_000 and not told[waiting]["removable"]
    assert studio.get(f"/runs/{name}").json()["disk"]["checkpoints"] == told[name]["checkpoints"]
    made = studio.post("/prune", json={"runs": [name, waiting, 7]}).json()
    assert made["freed"] == told[name]["checkpoints"]
    assert [(one["name"], bool(one["error"])) for one in made["runs"]] == [(name, False), (waiting, True)]
    assert (run.model_dir / "config.json").is_file() and not run.checkpoints_dir.exists()
    needs = started(studio, trainer="dpo", model=name, data_path="sample:manners")["name"]
    refused = studio.delete(f"/runs/{name}")
    assert refused.status_code == 409 and needs in refused.json()["error"]


def test_the_same_key_starts_one_run(studio: httpx.Client) -> None:
    first, second, other = (
        studio.post("/runs", json=RUN, headers={"Idempotency-Key": key}).json()["name"] for key in ("a", "a", "b")
    )
    assert first == second != other
    assert started(studio)["name"] not in (first, other), "without a key each request starts one"


def test_events_are_told_once_and_to_the_end(studio: httpx.Client) -> None:
    name = started(studio)["name"]
    assert studio.get(f"/runs/{name}/events").json() == {"events": [], "next": 0, "state": "queued", "ended": False}
    run = finished(name)
    first = studio.get(f"/runs/{name}/events").json()
    assert [event["values"] for event in first["events"]] == [{"loss": 2.5}, {"loss": 1.5}]
    assert first["ended"] is True
    run.log_event("warning", message="late", hint="")
    later = studio.get(f"/runs/{name}/events", params={"after": first["next"]}).json()
    assert [event["type"] for event in later["events"]] == ["warning"]
    nonsense = studio.get(f"/runs/{name}/events", params={"after": "999999999"}).json()
    assert len(nonsense["events"]) == 3, "an offset that the file does not have begins again"
    for odd in ("²", "9" * 5000, "-1", "x"):
        assert len(studio.get(f"/runs/{name}/events", params={"after": odd}).json()["events"]) == 3, odd[:9]


def test_the_model_is_fetched_file_by_file_and_nothing_else_is(studio: httpx.Client) -> None:
    name = started(studio)["name"]
    early = studio.get(f"/runs/{name}/model")
    assert (early.status_code, "no finished model" in early.json()["error"]) == (409, True)
    finished(name)
    files = studio.get(f"/runs/{name}/model").json()["files"]
    assert files == [{"name": "adapter/weights.safetensors", "bytes": 10}, {"name": "config.json", "bytes": 2}]
    assert studio.get(f"/runs/{name}/model/adapter/weights.safetensors").content == b"0123456789"
    with ZipFile(BytesIO(studio.get(f"/runs/{name}/model.zip").content)) as archive:
        assert [one.filename for one in archive.infolist()] == [f"{name}/{one['name']}" for one in files]
        assert archive.read(f"{name}/adapter/weights.safetensors") == b"0123456789" and archive.testzip() is None
    rest = studio.get(f"/runs/{name}/model/adapter/weights.safetensors", headers={"Range": "bytes=4-"})
    assert (rest.status_code, rest.content) == (206, b"456789")
    for path in ("..%2Fsecret", "%2e%2e/secret", "adapter/../../secret", "%2Fetc%2Fpasswd", "nothing.bin"):
        answer = studio.get(f"/runs/{name}/model/{path}")
        assert answer.status_code == 404 and b"not of the model" not in answer.content, path
    for run in ("..", "%2e%2e", "nobody", ".uploads"):
        assert studio.get(f"/runs/{run}/model").status_code == studio.get(f"/runs/{run}/model.zip").status_code == 404, run


def test_data_is_kept_and_can_be_trained_on(studio: httpx.Client, runs_root: Path) -> None:
    rows = "".join(json.dumps({"prompt": f"Question {n}?", "completion": f"Answer {n}."}) + "\n" for n in range(5))
    kept = studio.put("/data/my%20town.jsonl", content=rows)
    assert kept.status_code == 201
    path = Path(kept.json()["data_path"])
    assert path.is_relative_to(runs_root) and path.read_text() == rows
    assert started(studio, data_path=str(path))["data"] == str(path)
    again = studio.put("/data/my%20town.jsonl", content=rows).json()["data_path"]
    assert again == str(path), "the same content is kept once"
    away = Path(studio.put("/data/..%5C..%5Cevil.csv", content="a,b\n").json()["data_path"])
    assert away.is_relative_to(runs_root / ".uploads")


def test_trainers_and_their_settings_are_told(studio: httpx.Client) -> None:
    told = studio.get("/trainers").json()
    assert [trainer["id"] for trainer in told] == list(api.specs())
    schema = studio.get("/trainers/ppo").json()["settings"]["properties"]
    assert schema["rl_kl_coef"]["minimum"] == 0 and schema["rl_kl_coef"]["description"]
    unknown = studio.get("/trainers/nobody")
    assert (unknown.status_code, "Choose one of" in unknown.json()["error"]) == (404, True)


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"lr": 3}, "lr", "more than 0 and less than 1"),
        ({"lr": "quick"}, "lr", "must be a number"),
        ({"rl_kl_coef": 0.1}, "rl_kl_coef", "belongs to the trainer ppo"),
        ({"cls": 1}, "cls", "There is no setting"),
        ({"self": 1}, "self", "There is no setting"),
        ({"trainer": "wizard"}, "trainer", "There is no trainer"),
        ({"data_path": None}, "data_path", "data_path"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_settings_are_told_at_their_field(studio: httpx.Client, values: dict[str, Any], field: str, words: str) -> None:
    answer = studio.post("/runs", json={**RUN, **values})
    assert answer.status_code == 422
    assert words in answer.json()["settings"][field]
    assert studio.get("/runs").json() == [], "nothing was started"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"trainer": "\\ud800"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b" " * 1_100_000, "application/json", 413),
        (json.dumps(RUN).encode(), "text/plain", 415),
        (json.dumps(RUN).encode(), "application/x-www-form-urlencoded", 415),
    ],
    ids=["torn", "a list", "half a character", "nested", "long", "text", "a form"],
)
def test_what_is_no_request_is_refused_in_words(studio: httpx.Client, body: bytes, kind: str, status: int) -> None:
    answer = studio.post("/runs", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.json()["error"].endswith((".", '"}.'))
    assert studio.get("/runs").json() == []


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}], ids=str
)
def test_the_pages_of_other_sites_are_not_answered(studio: httpx.Client, runs_root: Path, headers: dict[str, str]) -> None:
    name = started(studio)["name"]
    asked = [
        studio.post("/runs", json=RUN, headers=headers),
        studio.put("/data/x.csv", content="a,b\n", headers=headers),
        studio.delete(f"/runs/{name}", headers=headers),
        studio.post(f"/runs/{name}/stop", json={}, headers=headers),
        studio.get("/runs", headers=headers),
        studio.get(f"/runs/{name}/model", headers=headers),
    ]
    assert [answer.status_code for answer in asked] == [403] * len(asked)
    assert not list((runs_root / ".uploads").glob("*/x.csv"))
    own = {"Origin": str(studio.base_url).removesuffix("/studio/api/"), "Sec-Fetch-Site": "same-origin"}
    assert studio.get("/runs", headers=own).status_code == 200
    other_name = studio.get("/runs", headers={"Host": f"evil.example:{studio.base_url.port}"})
    assert other_name.status_code == 403, "a name that was pointed at this machine"


def test_a_program_may_name_no_more_than_the_page(studio: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    python = {"trainer": "ppo", "data_path": "sample:doorstep"}
    for lines in (["python: x.py:f"], "python: x.py:f", "json\npython: x.py:f"):
        answer = studio.post("/runs", json={**python, "rl_rewards": lines})
        assert "AITRAINING_ALLOW_PYTHON_REWARDS=1" in answer.json()["settings"]["rl_rewards"], lines
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    foreign = [{"data_path": "/etc/passwd"}, {"model": "~/model"}, {"valid_path": "../x.csv"}]
    for values in foreign:
        answer = studio.post("/runs", json={**RUN, **values})
        assert answer.status_code == 422 and "served to others" in answer.json()["error"], values
    judged = studio.post("/runs", json={"trainer": "ppo", "rl_reward_model_path": "/etc"})
    assert "served to others" in judged.json()["error"], "not even looked for"
    kept = studio.put("/data/rows.csv", content="question,answer\na,b\n").json()["data_path"]
    assert studio.post("/runs", json={**RUN, "data_path": kept}).status_code == 201


def test_a_full_disk_keeps_no_half_file(studio: httpx.Client, runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full is a disk without room: what is written there comes back as an error, a short text only at the end."""
    from ui import http_api

    half = runs_root.parent / "half"
    for content in ("question,answer\na,b\n", "question,answer\n" + "a,b\n" * 100_000):
        half.touch()
        monkeypatch.setattr(http_api.tempfile, "mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(half)))
        answer = studio.put("/data/rows.csv", content=content)
        assert (answer.status_code, "No space left" in answer.json()["error"]) == (507, True)
        assert not half.exists() and not list((runs_root / ".uploads").glob("*/rows.csv"))


SWEEP = {"sweep": "rates", "settings": RUN, "try": {"lr": [1e-4, 1e-3]}}


@pytest.fixture
def waiting(studio: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    """No process waits for the runs of a sweep."""
    monkeypatch.setattr(launcher, "start_detached", lambda *_, **__: None)
    return studio


def test_a_sweep_is_queued_listed_stopped_and_gone_on_with(waiting: httpx.Client) -> None:
    made = waiting.post("/sweeps", json=SWEEP, headers={"Idempotency-Key": "a"})
    assert made.status_code == 201, made.text
    assert [(one["run"], one["values"], one["state"]) for one in made.json()["tries"]] == [
        ("rates-1", {"lr": 1e-4}, "queued"),
        ("rates-2", {"lr": 1e-3}, "queued"),
    ]
    assert waiting.post("/sweeps", json=SWEEP, headers={"Idempotency-Key": "a"}).json()["name"] == "rates"
    assert waiting.post("/sweeps", json=SWEEP).status_code == 409
    assert [one["name"] for one in waiting.get("/sweeps").json()] == ["rates"]
    finished("rates-2").update_status(best_step=2, best_value=1.5)
    assert waiting.get("/sweeps/rates").json()["best"] == "rates-2"
    assert waiting.post("/sweeps/rates/stop", json={}).json()["state"] == "stopped"
    states = {one["run"]: one["state"] for one in waiting.post("/sweeps/rates/resume", json={}).json()["tries"]}
    assert states == {"rates-1": "queued", "rates-2": "done"}
    assert waiting.get("/sweeps/none").status_code == 404


def test_a_sweep_that_cannot_be_used_queues_nothing(waiting: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = waiting.post("/sweeps", json={**SWEEP, "try": {"lr": [1e-4, 3]}})
    assert (wrong.status_code, list(wrong.json()["settings"])) == (422, ["lr"])
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    for foreign in ({"settings": {**RUN, "data_path": "/etc/passwd"}}, {"try": {"valid_path": ["/etc/passwd"]}}):
        refused = waiting.post("/sweeps", json={**SWEEP, **foreign})
        assert refused.status_code == 422
        assert "served to others" in refused.text
    monkeypatch.delenv("AITRAINING_HOST")
    program = {**SWEEP, "settings": {**RUN, "trainer": "grpo"}, "try": {"rl_rewards": [["python: x.py:f"], "python: x.py:f"]}}
    assert "runs no Python file" in waiting.post("/sweeps", json=program).text
    grpo = {**RUN, "trainer": "grpo"}
    for hidden in (
        {"settings": {**grpo, "rl_rewards": "python: x.py:f"}, "try": {"seed": [1, 2]}},
        {"settings": {**grpo, "rl_rewards": "length: 5\npython: x.py:f"}, "try": {"seed": [1, 2]}},
        {"settings": {**grpo, "rl_rewards": ["length: 5"]}, "try": {"rl_rewards": ["length: 5\npython: x.py:f", "length: 6"]}},
        {"settings": grpo, "try": {"rl_rewards": ["length: 5\u2028python: x.py:f", "length: 6"]}},
    ):
        refused = waiting.post("/sweeps", json={**SWEEP, **hidden})
        assert refused.status_code == 422, hidden
        assert "runs no Python file" in refused.text, hidden
    assert waiting.get("/runs").json() == []


def test_the_page_of_a_sweep_is_told_all_that_it_shows(waiting: httpx.Client) -> None:
    waiting.post("/sweeps", json={**SWEEP, "try": {"lr": [1e-4, 1e-3], "max_length": [64, 128]}}).raise_for_status()
    page = str(waiting.base_url).removesuffix("/api/")
    found = waiting.get(f"{page}/sweeps/rates").json()
    assert [axis["label"] for axis in found["axes"]] == ["Learning rate", "Longest row, in tokens"]
    assert found["measure"] == "held-out loss, lower is better"
    assert "“Longest row, in tokens” can change which rows or tokens are measured" in found["caution"]
    assert found["command"].endswith("--sweep lr=0.0001,0.001 --sweep max_length=64,128")
    assert {run["sweep"] for run in waiting.get(f"{page}/runs").json()} == {"rates"}
    assert waiting.get(f"{page}/runs/rates-1/about").json()["sweep"] == "rates"
    assert waiting.post(f"{page}/sweeps/rates/stop").status_code == 403, "not asked by our own page"
    ours = {"X-Studio": "1"}
    assert waiting.post(f"{page}/sweeps/rates/stop", headers=ours).status_code == 200
    assert waiting.get(f"{page}/sweeps").json()[0]["state"] == "stopped"
    assert waiting.post(f"{page}/sweeps/rates/forget", headers=ours).status_code == 200
    assert waiting.get(f"{page}/sweeps").json() == []
