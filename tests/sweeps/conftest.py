"""Workers that train nothing, in place of real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runs import launcher
from engine.sweeps import drive
from tests.pipelines.workers import Workers


@pytest.fixture
def workers(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()
    monkeypatch.setattr(launcher, "_cold", made.start)
    monkeypatch.setattr(drive, "_POLL_S", 0.005)
    return made
