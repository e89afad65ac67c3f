"""The real client of the Hugging Face Hub against a server of the tests' own, with a cache of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from engine import keys
from tests.hub_server import Hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that this process and those that it starts take for the real one; nobody is logged in."""
    for name in keys.ALL:
        monkeypatch.delenv(name, raising=False)
    with Hub() as server:
        home = tmp_path / "hf"
        for name, value in {"HF_ENDPOINT": server.address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}.items():
            monkeypatch.setenv(name, value)
        # read once, when the client is imported
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", server.address)
        yield server


@pytest.fixture
def on_hub(hub: Hub, tiny_model: Path) -> Hub:
    """The Hub with the tiny model as `club/tiny`."""
    hub.models["club/tiny"] = {file.name: file.read_bytes() for file in tiny_model.iterdir() if file.is_file()}
    hub.about["club/tiny"] = {"pipeline_tag": "text-generation", "tags": ["transformers", "safetensors", "license:mit"]}
    return hub
