"""The data step of the page "New run": what a look at a file answers, and what it leaves to the person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from engine import api
from engine.errors import DataError
from engine.runs.directory import RunDirectory
from ui import draft
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


USER, BAD = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Who knows."}


@pytest.mark.parametrize(
    ("row", "trainer", "shown"),
    [
        ({"messages": [USER, BAD]}, "kto", "conversations with a thumbs up or down"),
        ({"prompt": [USER], "completion": [BAD]}, "sft", "questions and answers"),
        ({"title": "When it opens", "lines": [{"body": "At six."}]}, "", "The column lines holds nested data"),
    ],
)
def test_what_is_recommended_for_conversations(
    step: DataStep, tmp_path: Path, row: dict[str, Any], trainer: str, shown: str
) -> None:
    """Bad answers are not taught as good ones, answers are not thrown away, and titles are no text to learn."""
    rows = [{**row, "label": n % 2 == 0} if trainer == "kto" else row for n in range(40)]
    told = look(step, {"auto": True}, trainer="default", data_path=written(tmp_path, *rows))
    assert shown in told["view"]
    assert told["trainer"] == (trainer or gr.skip())


def test_rows_are_not_left_out_unasked_when_their_columns_had_to_be_chosen(step: DataStep, tmp_path: Path) -> None:
    rows = [{"Kunde": f"No. {n}", "Betreff": f"About gate {n}", "Loesweg": f"Open it {n} times."} for n in range(30)]
    path = written(tmp_path, *rows, {"Kunde": "No. 31", "Betreff": "About nothing", "Loesweg": ""})
    first = look(step, {"auto": True}, trainer="sft", data_path=path, drop_bad_rows=True)
    assert first["drops"] == gr.skip() and "looked" not in first["kept"]
    mapping = json.dumps({"prompt": "Betreff", "completion": "Loesweg"})
    told = {"trainer": "sft", "data_path": path, "drop_bad_rows": True, "data_format": "qa", "column_mapping": mapping}
    second = look(step, first["kept"], **told)
    assert "1 row cannot be used" in second["view"] and second["drops"] is False
    assert second["leave"]["visible"]
    third = look(step, second["kept"], **{**told, "drop_bad_rows": True})
    assert third["drops"] == gr.skip() and not third["leave"]["visible"], "who has agreed is not asked again"


def test_what_was_agreed_for_a_run_holds_when_it_is_run_again(step: DataStep, runs_root: Path, tmp_path: Path) -> None:
    path = written(tmp_path, *({"question": f"Why {n}?", "answer": f"So {n}." if n else ""} for n in range(30)))
    params = api.validate({"trainer": "sft", "model": "starter", "data_path": path, "drop_bad_rows": True})
    RunDirectory.create(params.model_dump(mode="json"), "before", runs_root)
    (opened, seen, _, _), _ = draft.opened([{}, {}, 0, {}], {"from": "before"}, step.form)
    told = look(step, seen, **opened["values"])
    assert told["drops"] == gr.skip() and not told["leave"]["visible"]
    (opened, seen, _, _), _ = draft.opened([{}, {}, 0, {}], {"from": "before", "data": "sample:neighbours"}, step.form)
    assert "looked" not in seen, "other rows have not been looked at"


def test_a_held_out_file_of_other_columns_is_named(runs_root: Path, tmp_path: Path) -> None:
    rows = [{"Betreff": f"About gate {n}", "Loesweg": f"Open it {n} times."} for n in range(30)]
    (tmp_path / "faq.csv").write_text("Frage,Antwort\n" + "Warum?,Darum.\n" * 20)
    chosen = {"data_path": written(tmp_path, *rows), "valid_path": str(tmp_path / "faq.csv"), "data_format": "qa"}
    mapping = {"prompt": "Betreff", "completion": "Loesweg"}
    with pytest.raises(DataError, match=r"The held-out file faq\.csv cannot be used: There is no column"):
        api.data_facts(api.validate({"trainer": "sft", "model": "starter", **chosen, "column_mapping": mapping}))
