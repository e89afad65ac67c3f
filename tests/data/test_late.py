"""Columns that only later rows have: an optional one is no less there because the first rows lack it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import engine.data
from engine.data import Problem
from engine.errors import DataError

LATE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "input": ({"instruction": "Sum up {i}.", "output": "Sum {i}."}, {"input": "The text {i} is here."}, "is here"),
    "system": ({"question": "Q {i}?", "answer": "A {i}."}, {"system": "Answer in German."}, "German"),
    "tools": (
        {"messages": [{"role": "user", "content": "Q {i}"}, {"role": "assistant", "content": "A {i}"}]},
        {"tools": [{"type": "function", "function": {"name": "harbour", "parameters": {}}}]},
        "harbour",
    ),
}


def _late(folder: Path, name: str, first: int) -> Path:
    """250 rows that have the column, after `first` that have not, as where two sets were put one behind the other."""
    always, later, _ = LATE[name]
    rows = [always | (later if i >= first else {}) for i in range(first + 250)]
    path = folder / "late.jsonl"
    path.write_text("".join(json.dumps(row).replace("{i}", str(i)) + "\n" for i, row in enumerate(rows)))
    return path


def _written(out: Path) -> list[Any]:
    return [json.loads(line) for side in ("train", "valid") for line in (out / f"{side}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("first", [250, 5250])
@pytest.mark.parametrize("name", LATE)
def test_a_column_that_only_later_rows_have_is_used(name: str, first: int, tmp_path: Path) -> None:
    """Also where the look ends before the first of them."""
    path = _late(tmp_path, name, first)
    made = engine.data.prepare(path, "chat", tmp_path / "out")
    rows = _written(tmp_path / "out")
    assert (len(rows), sum(LATE[name][2] in json.dumps(row) for row in rows)) == (first + 250, 250)
    assert made.mapping[name] == name
    looked = engine.data.inspect(path)
    if first > 5000:
        assert name not in looked.mapping
        return
    assert looked.mapping[name] == name and f"{name}, which first comes in row {first + 1}" in looked.why
    assert [column.filled for column in looked.columns if column.name == name] == [0.5]


@pytest.mark.parametrize("mapping,used", [({"input": "input"}, 250), ({"input": ""}, 0), ({"output": "output"}, 250)])
def test_a_late_column_that_a_person_names_leaves_out_or_says_nothing_of(
    mapping: dict[str, str], used: int, tmp_path: Path
) -> None:
    path = _late(tmp_path, "input", 250)
    engine.data.prepare(path, "chat", tmp_path / "out", mapping=mapping)
    assert sum("is here" in row["prompt"] for row in _written(tmp_path / "out")) == used
    assert sum("is here" in str(row) for _, row in engine.data.inspect(path, mapping=mapping, limit=500).examples) == used


def test_a_column_that_no_row_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'nowhere'"):
        engine.data.prepare(_late(tmp_path, "input", 250), "chat", tmp_path / "out", mapping={"input": "nowhere"})


def test_a_later_file_of_a_folder_may_bring_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\n" + "".join(f"Q {i}?,A {i}.\n" for i in range(300)))
    (tmp_path / "b.csv").write_text("question,answer,system\nWho?,Sam.,Be kind.\n")
    rows = [row for _, row in engine.data.rows(tmp_path, "chat") if not isinstance(row, Problem)]
    assert rows[-1]["messages"][0] == {"role": "system", "content": "Be kind."}
