"""A runs folder that is read-only, full, missing or taken away: told plainly, and what is there can still be read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import api, lifetime
from engine.cli import main
from engine.errors import RunError
from engine.params import LLMTrainingParams
from engine.runs import place, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from ui import shell

SETTINGS: dict[str, Any] = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours"}


def made(root: Path, name: str = "one", state: State = State.DONE) -> RunDirectory:
    run = RunDirectory.create(SETTINGS, name, root)
    run.update_status(state=state, started=1.0, ended=3.0)
    return run


def mounted(*words: str) -> None:
    if not sys.platform.startswith("linux") or subprocess.run(["mount", *words], capture_output=True, check=False).returncode:
        pytest.skip("A disk can only be mounted by root on Linux.")


@pytest.fixture
def read_only(runs_root: Path) -> Iterator[Path]:
    """A runs folder with one run, on a disk that cannot be written."""
    runs_root.mkdir()
    mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(runs_root))
    try:
        made(runs_root)
        queue.recover(runs_root)
        subprocess.run(["mount", "-o", "remount,ro", str(runs_root)], check=True)
        yield runs_root
    finally:
        subprocess.run(["umount", "-l", str(runs_root)], check=True)


def test_a_read_only_folder_is_read_and_whatever_would_write_says_so(
    read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [run.name for run in api.runs()] == ["one"]
    assert api.run_status("one").state is State.DONE
    assert api.live("one")["status"]["state"] == "done"
    assert api.run_report("one")["disk"]["total"] > 0
    params = LLMTrainingParams(**SETTINGS)
    wishes: list[Callable[[], Any]] = [
        lambda: api.start(params),
        lambda: api.delete_run("one"),
        lambda: api.rename_run("one", "two"),
        lambda: api.retention.remove_checkpoints("one"),
        lambda: api.resume("one"),
    ]
    for wish in wishes:
        with pytest.raises(RunError, match=rf"The folder {read_only} cannot be written: Read-only file system\.") as caught:
            wish()
        assert "AITRAINING_HOME" in caught.value.hint
    assert main(["runs"]) == 0
    assert "one" in capsys.readouterr().out
    assert main(["llm", "--trainer", "sft", "--data-path", "sample:neighbours"]) == 1
    assert "cannot be written: Read-only file system" in capsys.readouterr().err


def test_a_server_on_a_read_only_folder_says_so_and_serves(read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is read-only: its runs can be looked at" in place.look_at(read_only)
    monkeypatch.setenv("AITRAINING_STANDBY", "0")
    lifetime.open_app()  # does not fail
    lifetime.close_app()


def test_a_server_without_a_folder_says_which_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AITRAINING_HOME", str(tmp_path / "file" / "runs"))
    assert shell.serve() == 1
    said = capsys.readouterr().err
    assert f"The folder {tmp_path / 'file' / 'runs'} cannot be written" in said and "AITRAINING_HOME" in said


def test_a_full_disk_is_told_to_whoever_starts_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setenv("AITRAINING_HOME", str(disk))
    mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk))
    try:
        place.make_root(disk)
        (disk / "other").write_bytes(b"x" * 1_040_000)
        with pytest.raises(RunError, match=r"too full for this run\. It needs at least .* free in") as caught:
            api.start(LLMTrainingParams(**SETTINGS))
        assert "aitraining prune" in caught.value.hint
        assert [path.name for path in disk.iterdir() if not path.name.startswith(".")] == ["other"], "nothing was begun"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_folder_that_goes_away_is_told_and_comes_back(runs_root: Path, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITRAINING_STANDBY", "0")
    runs_root.mkdir()
    made(runs_root)
    lifetime.open_app()
    try:
        away = runs_root.with_name("away")
        os.rename(runs_root, away)
        if left != "nothing":
            runs_root.mkdir()
        for ask in (api.runs, lambda: api.live("one"), lambda: api.start(LLMTrainingParams(**SETTINGS)), api.retention.space):
            with pytest.raises(RunError, match="has gone away") as caught:
                ask()
            assert "not found" not in caught.value.message and "back" in caught.value.hint
        assert queue.dispatch(runs_root) == []
        if left != "nothing":
            assert [path.name for path in runs_root.iterdir()] == [], "nothing is written where the disk was"
            runs_root.rmdir()
        os.rename(away, runs_root)
        assert [run.name for run in api.runs()] == ["one"]
        assert api.live("one")["status"]["state"] == "done"
    finally:
        lifetime.close_app()
