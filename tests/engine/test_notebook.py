"""A notebook: one output that is drawn anew, in a real kernel where there is one, and what it draws everywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engine.notebook import in_notebook, progress_html
from engine.runs.status import State, Status
from engine.watch import time_left

ROOT = Path(__file__).resolve().parents[2]
CELLS = (
    "from engine import LLMTrainingParams, Run, start, train",
    "config = LLMTrainingParams(trainer='sft', model={model!r}, data_path='sample:neighbours', project_name='in-a-notebook',"
    " max_steps=4, logging_steps=1, sample_tokens=0)\nmade = train(config)",
    "print(str(made)); Run('in-a-notebook').metrics().loss.dropna().index.tolist()",
    "LLMTrainingParams(trainer='dpo', model=made, model_ref=made, data_path='sample:manners').model == str(made)",
)


def test_it_draws_a_bar_words_and_the_curve() -> None:
    status = Status(State.TRAINING, step=5, total_steps=20)
    drawn = progress_html("my <run>", status, [2.0, 1.5, 1.0], "0:00:09 left")
    assert 'value="25.0"' in drawn and "step 5 of 20" in drawn and "loss 1.0000" in drawn and "0:00:09 left" in drawn
    assert "my &lt;run&gt;" in drawn and drawn.count("<polyline") == 1 and 'points="1.0,2.0 160.0,24.0 319.0,46.0"' in drawn


def test_it_says_how_a_run_ended_and_draws_any_length() -> None:
    failed = Status(State.FAILED, step=5, total_steps=20, reason="The loss <is> no number.", hint="Take smaller steps.")
    drawn = progress_html("x", failed, [1.0] * 100_000, "0:00:09 left")
    assert "The loss &lt;is&gt; no number. Take smaller steps." in drawn and "left" not in drawn
    assert len(drawn) < 10_000
    assert "<svg" not in progress_html("x", failed, [1.0], "")


def test_outside_a_notebook_there_is_none() -> None:
    assert not in_notebook()


@pytest.mark.parametrize(
    ("step", "seconds", "since", "words"),
    [(10, 5.0, 0, "0:00:05 left"), (10, 5.0, 10, ""), (20, 5.0, 0, ""), (0, 0.0, 0, ""), (11, 3600, 10, "9:00:00 left")],
)
def test_the_time_that_is_left(step: int, seconds: float, since: int, words: str) -> None:
    assert time_left(Status(State.TRAINING, step=step, total_steps=20), seconds, since) == words


@pytest.mark.slow
def test_the_workflow_runs_in_a_real_kernel(tiny_model: Path, runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs nbclient and ipykernel, which the app itself does not."""
    nbclient: Any = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import nbformat  # type: ignore[import-not-found]  # comes with nbclient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    cells = [nbformat.v4.new_code_cell(cell.format(model=str(tiny_model)) if "{model" in cell else cell) for cell in CELLS]
    book = nbformat.v4.new_notebook(cells=cells)
    updates: list[str] = []

    class Client(nbclient.NotebookClient):
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            if msg["msg_type"] in ("display_data", "update_display_data"):
                updates.append(msg["msg_type"])
            return super().process_message(msg, cell, cell_index)

    Client(book, timeout=120).execute()
    (shown,) = book.cells[1].outputs  # one output, drawn anew
    assert shown.output_type == "display_data" and "step 4 of 4" in shown.data["text/html"]
    assert "<polyline" in shown.data["text/html"] and "in-a-notebook" in shown.data["text/html"]
    assert updates.count("display_data") == 1 and updates.count("update_display_data") >= 3, updates
    assert str(runs_root / "in-a-notebook" / "model") in book.cells[2].outputs[0].text
    assert book.cells[2].outputs[1].data["text/plain"] == "[1, 2, 3, 4]"
    assert book.cells[3].outputs[0].data["text/plain"] == "True"
