"""The real client of the Hugging Face Hub against a server of the tests' own, with a cache of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from engine import keys
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.hub_server import Hub
from tests.train.conftest import work  # noqa: F401


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that this process and those that it starts take for the real one; nobody is logged in."""
    for name in keys.ALL:
        monkeypatch.delenv(name, raising=False)
    with Hub() as server:
        home = tmp_path / "hf"
        for name, value in {
            "HF_ENDPOINT": server.address,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
        }.items():
            monkeypatch.setenv(name, value)
        # read once, when the client is imported
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # which is another protocol
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", server.address)
        yield server


@pytest.fixture
def on_hub(hub: Hub, tiny_model: Path) -> Hub:
    """The Hub with the tiny model as `club/tiny`."""
    hub.models["club/tiny"] = {file.name: file.read_bytes() for file in tiny_model.iterdir() if file.is_file()}
    hub.about["club/tiny"] = {"pipeline_tag": "text-generation", "tags": ["transformers", "safetensors", "license:mit"]}
    return hub


@pytest.fixture
def many(hub: Hub) -> Hub:
    def model(name: str, downloads: int, **about: object) -> None:
        hub.models[name] = {"config.json": b"{}"}
        tags = ["transformers", "safetensors", "license:mit"]
        hub.about[name] = {"pipeline_tag": "text-generation", "tags": tags, "downloads": downloads, **about}

    model("big/town", 900, safetensors={"parameters": {"BF16": 3_000_000_000, "F32": 1_000}, "total": 3_000_001_000})
    model("closed/town", 50)
    model("me/town-of-mine", 1, private=True)
    model("pictures/town", 5000, pipeline_tag="text-to-image")
    model("pickled/town", 5000, tags=["transformers"])
    for n in range(30):
        model(f"other/village-{n}", n)
    hub.gated, hub.hidden, hub.members = {"closed/town"}, {"me/town-of-mine"}, {"hf_member"}
    hub.datasets["club/town-talk"] = {"train.csv": "a,b\n"}
    hub.about["club/town-talk"] = {"tags": ["license:cc0-1.0", "size_categories:1K<n<10K"], "mainSize": 1234, "downloads": 7}
    return hub


@pytest.fixture
def finished(runs_root: Path) -> RunDirectory:
    run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, "talker", runs_root)
    run.update_status(state=State.DONE)
    for folder in (run.model_dir, run.adapter_dir):
        folder.mkdir()
        (folder / "README.md").write_text("---\nlicense: mit\n---\n# talker\n")
    (run.model_dir / "config.json").write_text("{}")
    (run.model_dir / "model.safetensors").write_bytes(b"m" * 50_000)
    (run.adapter_dir / "adapter_model.safetensors").write_bytes(b"a" * 20_000)
    return run
