"""Workers that train nothing, in place of real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import watch
from engine.runs import launcher
from tests.pipelines.workers import Workers


@pytest.fixture
def workers(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()
    monkeypatch.setattr(launcher, "_cold", made.start)
    monkeypatch.setattr(watch, "_POLL_S", 0.005)
    return made
