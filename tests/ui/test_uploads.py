"""Where files land that are sent to the page, and what is cleared away there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ui import shell


def old(file: Path) -> Path:
    """A file of two days ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x")
    os.utime(file, (time.time() - 2 * 24 * 3600,) * 2)
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
