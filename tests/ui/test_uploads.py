"""Where files land that are sent to the page, and what is cleared away there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from engine import api, uploads
from engine.errors import DataError
from ui import shell


def old(file: Path) -> Path:
    """A file of two days ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x")
    then = time.time() - 2 * 24 * 3600
    os.utime(file, (then, then))
    return file


def test_nothing_is_deleted_below_a_folder_that_the_environment_names(
    runs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "scratch"))
    thesis, left_over = old(tmp_path / "scratch/ada/thesis.tex"), old(runs_root / ".uploads/.incoming/ab/rows.csv")
    shell._prepare_uploads(writable=True)
    assert thesis.exists() and not left_over.exists()


def test_left_overs_are_swept_from_our_own_folder(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    left_over, kept = old(runs_root / ".uploads/.incoming/ab/rows.csv"), old(runs_root / ".uploads/0123456789abcdef/rows.csv")
    shell._prepare_uploads(writable=True)
    assert os.environ["GRADIO_TEMP_DIR"] == str(left_over.parent.parent) and not left_over.exists() and kept.exists()


ADA, BEN = api.people.Person("ada", "Ada"), api.people.Person("ben", "Ben")


@pytest.mark.parametrize("links", [True, False])
def test_two_people_send_the_same_file(runs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """What comes through the page is called by its content: they send one file. Also on a disk that knows no links."""
    sent = tmp_path / "rows.csv"
    sent.write_text("a,b\n")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(uploads.os, "link", refuse)
    kept = []
    for person in (ADA, BEN, ADA):
        with api.people.acting(person):
            kept.append(Path(api.store_upload(sent, "rows.csv")))
    assert kept[0] == kept[2] != kept[1] and all(file.read_text() == "a,b\n" for file in kept)
    assert all([found.name for found in file.parent.iterdir()] == ["rows.csv"] for file in kept)
    sent.unlink()
    assert kept[0].read_text() == "a,b\n"


def test_a_file_that_was_cleared_away_is_asked_for_again(runs_root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Send it again") as caught:
        api.store_upload(tmp_path / "rows.csv", "rows.csv")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300 + ".jsonl.gz", "\N{SNOWMAN}" * 300 + "é" * 300 + ".jsonl.gz"])
def test_a_long_name_is_shortened_and_keeps_its_end(runs_root: Path, tmp_path: Path, name: str) -> None:
    sent = tmp_path / "rows"
    sent.write_text("{}")
    kept = Path(api.store_upload(sent, name))
    assert kept.is_file() and kept.name.endswith(".jsonl.gz")
