"""Fetching from the Hub: bytes are told, a broken connection goes on, a stop keeps what has come, damage is seen."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub.errors import GatedRepoError

from engine.errors import ModelError
from engine.hub import fetch as fetching
from engine.hub.fetch import fetch, fetched
from tests.hub_server import Hub

WEIGHTS = os.urandom(3_000_000)


@pytest.fixture
def large(hub: Hub) -> Hub:
    hub.models["club/large"] = {"config.json": b"{}", "model.safetensors": WEIGHTS, "pytorch_model.bin": b"x" * 20_000}
    return hub


def get(tell: fetching.Tell = lambda done, total: None) -> Path:
    return fetch("club/large", ["*.json", "*.safetensors"], tell=tell)


def test_a_model_comes_into_the_clients_own_cache_and_is_fetched_once(large: Hub) -> None:
    told: list[tuple[int, int]] = []
    folder = get(lambda done, total: told.append((done, total)))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS and (folder / "config.json").read_bytes() == b"{}"
    assert told[-1] == (len(WEIGHTS), len(WEIGHTS)) and fetched("club/large")
    assert sorted(set(large.downloaded)) == ["config.json", "model.safetensors"]
    before = list(large.downloaded)
    assert get() == folder and large.downloaded == before
    left = [path.name for path in folder.parents[1].rglob("*") if "part" in path.name]
    assert left == []


def test_a_broken_connection_goes_on_where_it_broke(large: Hub) -> None:
    large.breaks_after = 1_000_000
    folder = get()
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert len(large.ranges) >= 2 and all(asked != "bytes=0-" for asked in large.ranges)


def test_what_has_come_before_a_stop_is_kept_for_the_next_time(large: Hub) -> None:
    large.bytes_a_second = 3_000_000

    def stop(done: int, total: int) -> None:
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(stop)
    assert not large.ranges
    first: list[int] = []
    large.bytes_a_second = 0
    folder = get(lambda done, total: first.append(done))
    (asked,) = large.ranges
    assert int(asked.removeprefix("bytes=").removesuffix("-")) >= 500_000
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_pieces_that_do_not_fit_together_are_seen(large: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    large.bytes_a_second = 3_000_000
    with pytest.raises(KeyboardInterrupt):
        get(stop)
    (part,) = (Path(os.environ["HF_HOME"]) / "hub").rglob("*.aitraining.part")
    part.write_bytes(b"\0" * part.stat().st_size)
    large.bytes_a_second = 0
    with pytest.raises(OSError, match="damaged"):
        get()
    assert not part.exists()
    assert (get() / "model.safetensors").read_bytes() == WEIGHTS


def test_without_a_network_what_is_there_is_used(large: Hub) -> None:
    folder = get()
    large.close()
    assert get() == folder


def test_no_room_is_said_before_anything_is_fetched(large: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1_000_000))  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"takes 3\.0 MB more, and the disk") as told:
        get()
    assert "HF_HOME" in told.value.hint and large.downloaded == []


def test_a_gated_model_comes_with_a_token_that_may_have_it(large: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    large.gated, large.members = {"club/large"}, {"hf_member"}
    with pytest.raises(GatedRepoError):
        get()
    monkeypatch.setenv("HF_TOKEN", "hf_member")
    assert (get() / "model.safetensors").read_bytes() == WEIGHTS
