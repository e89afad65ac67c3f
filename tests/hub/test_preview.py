"""Looking at data with a model of a Hub that gives no answer: it is said soon, and nobody else has to wait for it."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download

from engine import api
from engine.errors import ModelError, ModelOffline
from engine.hub import needs
from engine.preview import close_preview
from tests.hub_server import Hub

pytestmark = pytest.mark.slow


def _facts(model: str, data: str = "sample:neighbours") -> api.DataFacts:
    return api.data_facts(api.validate({"trainer": "sft", "model": model, "data_path": data}))


@pytest.fixture
def silent(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A Hub that takes every call and answers none, until it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        address = f"http://127.0.0.1:{made.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield made
    close_preview()


def test_a_silent_hub_keeps_nobody_elses_rows_waiting(silent: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_WAIT_S", 600)  # as long as it is silent
    with ThreadPoolExecutor() as others:
        try:
            assert _facts("starter").rows == 300
            stuck = others.submit(_facts, "club/nowhere")
            assert select.select([silent], [], [], 60)[0], "it has called the Hub"
            assert _facts("starter", "sample:thumbs").rows > 0
            assert not stuck.done(), "answered while somebody else still waits for the Hub"
        finally:
            silent.close()
        with pytest.raises(ModelOffline, match="cannot be reached"):
            stuck.result(timeout=60)


def test_a_silent_hub_is_not_waited_for_longer_than_it_may_take(silent: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_WAIT_S", 1)
    with pytest.raises(ModelOffline, match="cannot be reached"):
        _facts("club/nowhere")


@pytest.mark.parametrize("model", ["gone-run", "club/nowhere"])
def test_a_model_that_cannot_be_had_is_refused_at_once(hub: Hub, model: str) -> None:
    hub.close()
    before = time.monotonic()
    with pytest.raises(ModelError, match=f"{model} is no folder and no finished run"):
        _facts(model)
    assert time.monotonic() - before < 8


def test_what_was_fetched_before_needs_no_hub(on_hub: Hub, tmp_path: Path) -> None:
    hf_hub_download("club/tiny", "tokenizer.json")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "club/nowhere"}))
    (adapter / "tokenizer_config.json").write_text("{}")
    on_hub.close()
    needs.refuse_unknown("club/tiny")
    needs.refuse_unknown(str(adapter))
    (adapter / "tokenizer_config.json").unlink()
    with pytest.raises(ModelOffline, match="club/nowhere"):
        needs.refuse_unknown(str(adapter))
