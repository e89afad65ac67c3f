"""Broken characters in data, names of columns and what a model said reach the browser as question marks, and stop nothing."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.fuzz.page import NewRun
from ui.characters import whole

HALF = "\ud800"


def test_halves_are_replaced_wherever_they_stand() -> None:
    told = {f"a{HALF}": [1, (f"{HALF}b", None)], "whole": "🎉"}
    assert whole(told) == {"a?": [1, ["?b", None]], "whole": "🎉"}


@pytest.mark.parametrize("trainer", ["sft", "dpo", "default"])
def test_the_page_shows_a_file_with_broken_names_and_cells(served: str, runs_root: Path, trainer: str) -> None:
    file = runs_root / ".uploads" / "rows.jsonl"
    file.parent.mkdir(parents=True)
    row = json.dumps({f"name {HALF}": f"cell {HALF}", "prompt": f"Who? {HALF}", "completion": "Nobody."})
    file.write_text(f"{row}\n" * 20)
    shown = json.dumps(NewRun(served).look(data_path=str(file), trainer=trainer))
    assert "cell ?" in shown and "name ?" in shown


def test_a_csv_of_another_encoding_is_shown(served: str, runs_root: Path) -> None:
    file = runs_root / ".uploads" / "rows.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"prompt,completion,caf\xe9\xff\n" + b"When?,At six.,x\n" * 20)
    assert "prompt" in json.dumps(NewRun(served).look(data_path=str(file), trainer="sft"))


def test_a_run_that_said_half_a_character_is_shown(served: str, runs_root: Path) -> None:
    run = RunDirectory.create({"trainer": "sft"}, "broken", runs_root)
    run.update_status(state=State.FAILED, reason=f"It said {HALF}.")
    run.log_event("warning", message=f"It said {HALF}.", hint="")
    with run.events_file.open("a") as events:
        events.write(json.dumps({"t": 1.0, "type": "sample", "step": 1, "prompt": "Who?", "answer": f"I {HALF}"}) + "\n")
    for path in ("/studio/runs/broken/live", "/studio/api/runs/broken", "/studio/runs", "/studio/overview"):
        answer = httpx.get(served + path, timeout=30)
        assert answer.status_code == 200, path
