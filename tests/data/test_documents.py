"""Plain text with questions and answers in it, however they are marked and wherever the blank lines are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import engine.data
from engine.data import Problem


def _file(folder: Path, text: str, name: str = "faq.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _talks(path: Path) -> list[tuple[int, list[dict[str, Any]]]]:
    return [(n, row["messages"]) for n, row in engine.data.rows(path, "chat") if not isinstance(row, Problem)]


@pytest.mark.parametrize("ask,answer", [("Q", "A"), ("Question", "Answer"), ("Frage", "Antwort"), ("q", "a")])
@pytest.mark.parametrize("gap", ["\n", "\n\n", "\n \n\n"])
@pytest.mark.parametrize("between", ["\n", "\n\n", "\n\n\n\n"])
def test_each_question_begins_a_pair(ask: str, answer: str, gap: str, between: str, tmp_path: Path) -> None:
    pairs = [f"{ask}: When does gate {i} open?{gap}{answer}: It opens at {i}.\nEvery day." for i in range(30)]
    path = _file(tmp_path, between.join(pairs))
    rows = _talks(path)
    assert len(rows) == engine.data.inspect(path).rows == 30
    assert all([turn["role"] for turn in row] == ["user", "assistant"] for _, row in rows)
    assert [turn["content"] for turn in rows[7][1]] == ["When does gate 7 open?", "It opens at 7.\nEvery day."]
    lines = path.read_text().splitlines()
    assert all(lines[number - 1].endswith(row[0]["content"]) for number, row in rows)


def test_names_of_speakers_make_one_conversation(tmp_path: Path) -> None:
    """And a line of an answer that begins with a mark of another kind is no turn."""
    talk = "User: Open?\nAssistant: At six.\nUser: And on Sunday?\nAssistant: At eight. But:\nAnswer: none is sure."
    rows = _talks(_file(tmp_path, f"{talk}\n\n{talk}"))
    assert [len(row) for _, row in rows] == [4, 4] and rows[0][1][3]["content"].endswith("Answer: none is sure.")


def test_prose_beside_the_pairs_stays_prose(tmp_path: Path) -> None:
    path = _file(
        tmp_path, "The sea is wide.\n\nQ: Who keeps the lamp?\n\nThe question stands.\n\nQ: Who?\n\nA: Sam.\n\nIt is late."
    )
    texts = [row["text"] for _, row in engine.data.rows(path, "text", form="text") if not isinstance(row, Problem)]
    assert texts == [
        "The sea is wide.\n\nQ: Who keeps the lamp?\n\nThe question stands.",
        "Q: Who?\n\nA: Sam.",
        "It is late.",
    ]


def test_a_passage_with_a_question_below_it_stays_text(tmp_path: Path) -> None:
    """Written-out marks count at the beginning of a text only."""
    text = "The sea is wide.\nQuestion: How wide is it?\nAnswer: Very."
    path = _file(tmp_path, (json.dumps({"text": text}) + "\n") * 3, "a.jsonl")
    assert engine.data.inspect(path).form == "text"
