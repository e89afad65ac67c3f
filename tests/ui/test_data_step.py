"""The data step of the page "New run": what a look at a file answers, and what it leaves to the person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from ui.fields import to_widget
from ui.new_run import Page
from ui.new_run_data import DataStep


@pytest.fixture(scope="module")
def step() -> DataStep:
    with gr.Blocks():
        return DataStep(Page())


def written(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def look(step: DataStep, kept: dict[str, Any], **chosen: Any) -> dict[str, Any]:
    """What the page is told, by name."""
    values = {n: to_widget(f, None if f.info.is_required() else f.default) for n, f in step.form.fields.items()} | chosen
    told = step.look(kept, *(values[name] for name in step.form.names))
    names = ("kept", "view", "leave", "reading", "split", "trainer", "note", "preset", "drops")
    return dict(zip(names, told, strict=False))


@pytest.mark.parametrize(("verdicts", "trainer"), [(("up", "down"), "kto"), (("up", "up"), "sft")])
def test_thumbs_are_sent_to_the_training_that_learns_from_both_kinds(
    step: DataStep, tmp_path: Path, verdicts: tuple[str, str], trainer: str
) -> None:
    rows = [{"question": f"Why {n}?", "answer": f"So {n}.", "rating": verdicts[n % 2]} for n in range(80)]
    told = look(step, {"auto": True}, trainer="default", data_path=written(tmp_path, *rows))
    assert told["trainer"] == trainer
    assert "80 rows" in told["view"]
    if trainer == "kto":
        assert "Use KTO" in told["note"] and "SFT can be chosen too" in told["note"]
