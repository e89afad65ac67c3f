"""Where the studio runs, and where its files go then: on a machine of one's own, in a container, on a Space."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from engine import hosting
from ui import hosted, shell


def space(**more: str) -> dict[str, str]:
    return {"SPACE_ID": "ada/studio", **more}


def test_on_a_machine_of_ones_own_nothing_is_changed() -> None:
    env: dict[str, str] = {"HOME": "/home/ada"}
    host = hosting.settle(env)
    assert env == {"HOME": "/home/ada"}
    assert (host.space, host.contained, host.forgets) == ("", False, False)


def test_a_container_ends_with_its_server_and_forgets_nothing() -> None:
    host = hosting.here({"AITRAINING_CONTAINER": "1"})
    assert host.contained and not host.forgets and not host.space


def test_a_space_with_storage_keeps_runs_uploads_and_downloads_there(tmp_path: Path) -> None:
    # as our image sets them, for where there is no storage
    env = space(AITRAINING_STORAGE=str(tmp_path), AITRAINING_HOME="/srv/studio/runs", HF_HOME="/srv/studio/huggingface")
    host = hosting.settle(env)
    assert host.storage == tmp_path and host.contained and not host.forgets
    assert env["AITRAINING_HOME"] == str(tmp_path / "runs") and env["HF_HOME"] == str(tmp_path / "huggingface")
    assert env["AITRAINING_HOST"] == "0.0.0.0"
    assert list(tmp_path.iterdir()) == [], "trying it leaves nothing"


def test_what_was_chosen_by_hand_stays(tmp_path: Path) -> None:
    env = space(AITRAINING_STORAGE=str(tmp_path), AITRAINING_HOME=str(tmp_path / "ours"), AITRAINING_HOST="127.0.0.1")
    hosting.settle(env)
    assert env["AITRAINING_HOME"] == str(tmp_path / "ours") and env["AITRAINING_HOST"] == "127.0.0.1"


def test_a_space_without_storage_forgets(tmp_path: Path) -> None:
    env = space(AITRAINING_STORAGE=str(tmp_path / "nothing"), AITRAINING_HOME="/srv/studio/runs")
    host = hosting.settle(env)
    assert host.forgets and host.trouble == "" and env["AITRAINING_HOME"] == "/srv/studio/runs"


def test_a_storage_that_cannot_hold_locks_is_not_used_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    env = space(AITRAINING_STORAGE=str(tmp_path), AITRAINING_HOME="/srv/studio/runs")
    host = hosting.settle(env)
    assert host.forgets and "No locks available" in host.trouble
    assert env["AITRAINING_HOME"] == "/srv/studio/runs"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="takes Linux's /proc for a folder that even root cannot write")
def test_a_storage_that_cannot_be_written_is_not_used() -> None:
    host = hosting.here(space(AITRAINING_STORAGE="/proc"))
    assert host.forgets and host.trouble.startswith("It cannot be written")


# ---- what the page says ------------------------------------------------------------------------------------------------


def test_the_page_says_nothing_of_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert hosted.duplicate_button() == hosted.notices() == ""


def test_a_space_without_storage_warns_and_says_how_to_add_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "ada/studio")
    monkeypatch.setenv("AITRAINING_STORAGE", str(tmp_path / "nothing"))
    notice = hosted.notices()
    assert "Runs are not kept here" in notice and "sleeps or restarts" in notice and " /data " in notice
    assert "https://huggingface.co/spaces/ada/studio/settings" in notice
    assert "https://huggingface.co/spaces/ada/studio?duplicate=true" in hosted.duplicate_button()
    for page in shell.PAGES:
        assert notice in shell._header(page, signs_in=False) and hosted.duplicate_button() in shell._header(
            page, signs_in=False
        )


def test_a_space_with_storage_does_not_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "ada/studio")
    monkeypatch.setenv("AITRAINING_STORAGE", str(tmp_path))
    assert hosted.notices() == "" and "Duplicate" in hosted.duplicate_button()


@pytest.mark.parametrize("built_for", ["cpu", "cuda", ""])
def test_a_gpu_without_a_pytorch_for_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built_for: str) -> None:
    monkeypatch.setenv("SPACE_ID", "ada/studio")
    monkeypatch.setenv("AITRAINING_STORAGE", str(tmp_path))
    monkeypatch.setenv("AITRAINING_TORCH", built_for)
    assert hosted.notices() == ""
    monkeypatch.setattr(hosting, "_GPU", tmp_path)
    assert ("The GPU lies idle" in hosted.notices()) == (built_for == "cpu")
    assert "TORCH to cuda" in hosted.notices() or built_for != "cpu"


def test_a_name_from_the_environment_is_no_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", 'a/"><script>')
    monkeypatch.setenv("AITRAINING_STORAGE", str(tmp_path / "nothing"))
    assert "<script>" not in hosted.notices() + hosted.duplicate_button()
