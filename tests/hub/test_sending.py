"""Uploading from the page: a process of its own, how far it is, the address in the end, and what is refused."""

from __future__ import annotations

import pytest

from engine.errors import ModelError, RunActive, RunError
from engine.hub import sending
from engine.hub_upload import upload
from engine.runs import listing
from engine.runs.directory import RunDirectory, write_json
from engine.runs.lock import FileLock
from tests.hub_server import Hub


def test_a_model_is_sent_file_by_file(hub: Hub, finished: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    told: list[tuple[int, int, str]] = []
    address = upload(finished, "club/open", private=False, tell=lambda *now: told.append(now))
    assert address == f"{hub.address}/club/open" and not hub.private["club/open"]
    assert hub.models["club/open"]["model.safetensors"] == b"m" * 50_000
    total = sum(file.stat().st_size for file in finished.model_dir.iterdir())
    assert [file for _, _, file in told] == ["README.md", "config.json", "model.safetensors", ""]
    assert told[-1][0] == total and {whole for _, whole, _ in told} == {total}
    upload(finished, "club/small", adapter=True)
    assert set(hub.models["club/small"]) == {"README.md", "adapter_model.safetensors"}


def test_an_upload_that_fails_or_dies_says_so(hub: Hub, finished: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    hub.refuses = 403
    asked = {"state": "sending", "to": "mine", "private": True, "adapter": False}
    write_json(finished.upload_file, asked)
    assert sending.main(finished.path) == 1
    told = finished.upload()
    assert told and told["state"] == "failed" and "does not let this account write" in told["error"]
    write_json(finished.upload_file, asked)
    told = finished.upload()
    assert told and told["state"] == "failed" and "without a word" in told["error"]


def test_while_it_is_sent_a_run_stays(hub: Hub, finished: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    with FileLock(finished.upload_lock):
        for refused in (lambda: listing.delete(finished), lambda: listing.rename(finished, "other")):
            with pytest.raises(RunActive, match="being uploaded"):
                refused()
        with pytest.raises(RunActive, match="already"):
            sending.begin(finished, None, private=True, adapter=False)
    (finished.adapter_dir / "adapter_model.safetensors").unlink()
    (finished.adapter_dir / "README.md").unlink()
    finished.adapter_dir.rmdir()
    with pytest.raises(RunError, match="no adapter"):
        sending.begin(finished, None, private=True, adapter=True)
    with pytest.raises(ModelError, match="cannot be the name"):
        sending.begin(finished, "a/b/c", private=True, adapter=False)
