"""What is wrong with a run at work is found once for all who watch it; of one that has ended it is found anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.diagnosis import remedy
from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory
from engine.runs.status import State


def test_all_who_watch_are_told_the_same_for_some_seconds(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = LLMTrainingParams(trainer="sft", data_path="sample:neighbours").model_dump(mode="json")
    run = RunDirectory.create(params, "watched", runs_root)
    asked: list[str] = []
    monkeypatch.setattr(remedy, "findings", lambda name: asked.append(name) or [])
    now = 100.0
    monkeypatch.setattr(remedy.time, "monotonic", lambda: now)
    with run.lock():
        run.update_status(state=State.TRAINING, launched=1.0, started=1.0)
        for _ in range(20):
            assert remedy.told_findings("watched") == []
        assert len(asked) == 1
        now += 6
        remedy.told_findings("watched")
        assert len(asked) == 2, "later there may be more to find"
        run.update_status(state=State.EVALUATING)
        remedy.told_findings("watched")
        assert len(asked) == 3, "and in another state"
    run.update_status(state=State.DONE, ended=2.0)
    for _ in range(2):
        remedy.told_findings("watched")
    assert len(asked) == 5
