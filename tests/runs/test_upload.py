"""Uploads to the Hugging Face Hub: the real client against a server of the tests' own. The token is written nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.runs import events
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.hub_server import Hub

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_SECRETofTheTests"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


def aitraining(hub: Hub, home: Path, *words: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, since huggingface_hub reads address and token when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": token}
    environment["HF_HUB_DISABLE_XET"] = "1"  # which is another protocol
    argv = [sys.executable, "-m", "engine.cli", *words]
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def finished(runs_root: Path) -> RunDirectory:
    run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, "talker", runs_root)
    run.update_status(state=State.DONE)
    run.model_dir.mkdir()
    (run.model_dir / "config.json").write_text("{}")
    (run.model_dir / "README.md").write_text("---\nlicense: mit\n---\n# talker\n")
    return run


def test_a_finished_model_is_pushed_by_its_run(hub: Hub, finished: RunDirectory, tmp_path: Path) -> None:
    done = aitraining(hub, tmp_path / "hf", "push", "talker", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"name": "talker", "address": f"{hub.address}/me/talker"}
    assert hub.models["me/talker"]["config.json"] == b"{}" and hub.private["me/talker"]
    assert hub.tokens == {TOKEN} and TOKEN not in done.stdout + done.stderr
    again = aitraining(hub, tmp_path / "hf", "push", "talker", "--hub-model-id", "club/open", "--no-hub-private")
    assert again.returncode == 0 and not hub.private["club/open"], again.stderr


def test_what_cannot_be_pushed_is_no_success(hub: Hub, finished: RunDirectory, tmp_path: Path, runs_root: Path) -> None:
    done = aitraining(hub, tmp_path / "hf", "push", "talker", token="")
    assert done.returncode == 1 and "Nobody is logged in" in done.stderr and "HF_TOKEN" in done.stderr
    hub.refuses = 403
    done = aitraining(hub, tmp_path / "hf", "push", "talker")
    assert done.returncode == 1 and "does not let this account write" in done.stderr and "Traceback" not in done.stderr
    RunDirectory.create({"trainer": "sft", "data_path": "x.csv"}, "young", runs_root)
    done = aitraining(hub, tmp_path / "hf", "push", "young")
    assert done.returncode == 1 and "no finished model" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("token", [TOKEN, ""])
def test_a_run_uploads_when_it_is_done_and_is_done_if_that_fails(
    hub: Hub, tiny_model: Path, runs_root: Path, tmp_path: Path, token: str
) -> None:
    words = ["--trainer", "sft", "--model", str(tiny_model), "--data-path", "sample:neighbours", "--max-steps", "2"]
    words += ["--sample-tokens", "0", "--project-name", "sent", "--push-to-hub", "--username", "club"]
    done = aitraining(hub, tmp_path / "hf", "llm", *words, token=token)
    assert done.returncode == 0, done.stderr
    run = RunDirectory.open("sent")
    assert run.status().state is State.DONE
    happened, _ = events.read(run.events_file)
    if not token:
        early, late = [event for event in happened if event["type"] == "warning" and "upload" in event["message"]]
        assert "Nobody is logged in" in early["message"] and "HF_TOKEN" in early["hint"]
        assert "aitraining push sent" in late["hint"] and "warning: The upload failed." in done.stderr
        assert not hub.models
    else:
        assert f"The model is at {hub.address}/club/sent." in run.status().reason and f"{hub.address}/club/sent" in done.stdout
        assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= hub.models["club/sent"].keys()
        assert hub.private["club/sent"]
        assert [event["address"] for event in happened if event["type"] == "uploaded"] == [f"{hub.address}/club/sent"]
    written = [path for path in runs_root.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert written == [] and TOKEN not in done.stdout + done.stderr
