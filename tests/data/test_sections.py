"""One JSON object that holds several lists: which are rows, which are held out, and what is said of the rest."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import engine.data
from engine.data import Problem


def _pairs(count: int, word: str) -> list[dict[str, Any]]:
    return [{"question": f"{word} {i}?", "answer": f"Answer {i}."} for i in range(count)]


def _file(folder: Path, value: Any, name: str = "a.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(value, indent=1))
    return path


def _asked(path: Path) -> list[str]:
    return [row["prompt"] for _, row in engine.data.rows(path, "chat") if not isinstance(row, Problem)]


def _written(out: Path, side: str) -> list[str]:
    return [json.loads(line)["prompt"] for line in (out / f"{side}.jsonl").read_text().splitlines()]


def test_lists_of_the_same_columns_are_all_rows(tmp_path: Path) -> None:
    """As of a handbook with chapters; a column more in one of them changes nothing."""
    noted = [{**row, "note": "x"} for row in _pairs(10, "Returns")]
    path = _file(tmp_path, {"version": "1", "billing": _pairs(30, "Billing"), "shipping": _pairs(30, "Shipping"), "r": noted})
    looked = engine.data.inspect(path)
    assert (looked.rows, looked.usable, looked.warnings) == (70, 70, [])
    assert [number for number, _ in engine.data.rows(path, "chat")] == list(range(1, 71))
    made = engine.data.prepare(path, "chat", tmp_path / "out")
    assert made.train_rows + made.valid_rows == 70


@pytest.mark.parametrize("pack", [False, True])
def test_lists_called_like_splits_are_splits(pack: bool, tmp_path: Path) -> None:
    parts = {"test": _pairs(4, "Test"), "validation": _pairs(5, "Valid"), "train": _pairs(30, "Train")}
    path = _file(tmp_path, parts)
    if pack:
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "a.json", "a.json")
    looked = engine.data.inspect(path)
    assert (looked.rows, looked.held_out) == (30, 5)
    made = engine.data.prepare(path, "chat", tmp_path / "out")
    assert (made.train_rows, made.valid_rows, made.own_valid) == (30, 5, True)
    assert all(asked.startswith("Train") for asked in _written(tmp_path / "out", "train"))
    assert all(asked.startswith("Valid") for asked in _written(tmp_path / "out", "valid"))
    for said in (looked.warnings, made.warnings):
        assert any("left out was “test” (4 rows)" in warning for warning in said)


def test_a_file_called_train_with_its_held_out_list(tmp_path: Path) -> None:
    path = _file(tmp_path, {"train": _pairs(30, "Train"), "validation": _pairs(5, "Valid")}, "train.json")
    assert len(_asked(path)) == 30 and engine.data.inspect(path).held_out == 5


def test_the_longest_list_is_the_rows_and_the_others_are_said(tmp_path: Path) -> None:
    path = _file(tmp_path, {"authors": [{"name": "Ann"}], "data": _pairs(30, "Q"), "tags": [{"id": 1, "tag": "x"}] * 2})
    assert len(_asked(path)) == 30
    said = "The file holds several lists: “data” (30 rows) was read, and left out was “authors” (1 row), “tags” (2 rows)."
    assert engine.data.inspect(path).warnings == [said]
    assert said in engine.data.prepare(path, "chat", tmp_path / "out").warnings


def test_an_answer_of_the_hubs_viewer(tmp_path: Path) -> None:
    rows = [{"row_idx": i, "row": row, "truncated_cells": []} for i, row in enumerate(_pairs(30, "Q"))]
    features = [{"feature_idx": i, "name": name, "type": {}} for i, name in enumerate(("question", "answer"))]
    path = _file(tmp_path, {"dataset": "x", "features": features, "rows": rows, "num_rows_total": 30})
    assert _asked(path) == [f"Q {i}?" for i in range(30)]


def test_lists_beyond_what_is_looked_at_are_read_or_told(tmp_path: Path) -> None:
    """The look at the lists ends after some megabytes; what comes later is settled as it is read."""
    long = [{"question": f"First {i}?", "answer": "word " * 2000} for i in range(1800)]
    value = {"first": long, "second": _pairs(5, "Second"), "tags": [{"id": 1, "tag": "x"}] * 3, "third": _pairs(5, "Third")}
    path = _file(tmp_path, value)
    rows = [row for _, row in engine.data.rows(path, "chat")]
    assert [row.rule for row in rows if isinstance(row, Problem)] == ["another list"]
    assert len(rows) == 1811


def test_a_held_out_list_beyond_what_is_looked_at_is_not_trained_on(tmp_path: Path) -> None:
    long = [{"question": f"First {i}?", "answer": "word " * 2000} for i in range(1800)]
    path = _file(tmp_path, {"train": long, "validation": _pairs(5, "Valid"), "test": _pairs(5, "Test")})
    made = engine.data.prepare(path, "chat", tmp_path / "out")
    asked = _written(tmp_path / "out", "train") + _written(tmp_path / "out", "valid")
    assert all(one.startswith("First") for one in asked) and made.problem_counts == {"another list": 2}
    assert any("validation" in problem.message for problem in made.problems)


def test_a_long_held_out_list_before_the_rows(tmp_path: Path) -> None:
    long = [{"question": f"Valid {i}?", "answer": "word " * 2000} for i in range(1800)]
    path = _file(tmp_path, {"validation": long, "train": _pairs(5, "Train")})
    assert _asked(path) == [f"Train {i}?" for i in range(5)] and engine.data.inspect(path).held_out == 1800


TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Open?"},
    {"role": "assistant", "content": "At six."},
]


@pytest.mark.parametrize("key", [("role", "content"), ("from", "value")])
def test_an_array_of_turns_is_one_conversation(key: tuple[str, str], tmp_path: Path) -> None:
    """A file for each chat, as many programs keep them."""
    turns = [{key[0]: turn["role"], key[1]: turn["content"], "timestamp": 1} for turn in TURNS]
    for place in range(4):
        _file(tmp_path, turns, f"chat{place}.json")
    assert [row for _, row in engine.data.rows(tmp_path / "chat0.json", "chat")] == [{"messages": TURNS}]
    looked = engine.data.inspect(tmp_path)
    assert (looked.form, looked.rows) == ("messages", 4)


def test_rows_that_look_like_turns_stay_rows(tmp_path: Path) -> None:
    """Questions alone, turns that say which chat they are of, and an array in which only the first items are turns."""
    asked = [{"role": "user", "content": f"Question {i} of them?"} for i in range(30)]
    assert engine.data.inspect(_file(tmp_path, asked)).rows == 30
    assert engine.data.inspect(_file(tmp_path, [{**turn, "conversation_id": 1} for turn in TURNS * 3])).rows == 9
    assert engine.data.inspect(_file(tmp_path, [*TURNS, {"text": "The end."}])).rows == 4
