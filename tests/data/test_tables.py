"""Tables as programs and people really write them: marks that stand alone, cells that lack or are one too many."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

import pytest

import engine.data
from engine.data import Problem
from engine.errors import DataError


def _table(folder: Path, rows: list[tuple[str, ...]], delimiter: str, name: str = "a.csv") -> Path:
    """Written without any quoting, as a spreadsheet's clipboard and many a script does."""
    path = folder / name
    path.write_text("".join(delimiter.join(row) + "\n" for row in [("Question", "Answer"), *rows]), encoding="utf-8")
    return path


def _plain(count: int) -> list[tuple[str, ...]]:
    return [(f"What is on page {i}?", f"Page {i} tells of the sea.") for i in range(count)]


def _read(path: Path) -> list[tuple[str, str]]:
    rows = [row for _, row in engine.data.rows(path, "chat")]
    assert not [row for row in rows if isinstance(row, Problem)]
    return [(row["prompt"], row["completion"]) for row in rows if isinstance(row, dict)]


@pytest.mark.parametrize("delimiter", ["\t", ";", ","])
@pytest.mark.parametrize("places", [(100, 300), (3, 17), (390, 399), (0, 398)])
def test_a_mark_that_is_never_closed_swallows_no_rows(places: tuple[int, int], delimiter: str, tmp_path: Path) -> None:
    """One in the first column, one in the last, near each other and far from each other, at the beginning and at the end."""
    rows = _plain(400)
    rows[places[0]], rows[places[1]] = ('"What time is it', "It is late."), ("Who said it?", '"I did')
    path = _table(tmp_path, rows, delimiter)
    assert _read(path) == rows
    said = [w for w in engine.data.inspect(path).warnings if "quotation mark" in w]
    made = engine.data.prepare(path, "chat", tmp_path / "out")
    assert made.train_rows + made.valid_rows == 400 and made.dropped == 0
    assert [w for w in made.warnings if "quotation mark" in w] == said
    if places[1] < 399:  # below the last row there is nothing to swallow
        assert f"({places[0] + 2}, {places[1] + 2})" in said[0]


def test_a_mark_alone_around_a_cell_with_commas(tmp_path: Path) -> None:
    """It was meant to hold the cell together, and its second was forgotten: the cell ends with its line."""
    rows = _plain(30)
    rows[3] = ("And page 3?", '"Page 3, too, tells of it.')
    assert _read(_table(tmp_path, rows, ","))[3] == ("And page 3?", "Page 3, too, tells of it.")
    assert len(_read(tmp_path / "a.csv")) == 30
    assert any("In row 5 " in w for w in engine.data.inspect(tmp_path / "a.csv").warnings)


def test_marks_that_close_a_cell_by_chance(tmp_path: Path) -> None:
    """The second mark stands at the end of a cell, as a right one does; the rows between are whole rows."""
    rows = _plain(60)
    rows[10], rows[30] = ('"Hello', "An opening mark only."), ('A screen of 12"', "Too small.")
    assert _read(_table(tmp_path, rows, "\t")) == rows
    rows[30] = ("How large is it?", '12"')
    for delimiter in "\t,":
        assert _read(_table(tmp_path, rows, delimiter)) == rows


def test_a_cell_that_begins_with_a_quoted_word_keeps_its_marks(tmp_path: Path) -> None:
    rows = [('"Where is it?" asks Anna', '"There" is the word.'), ('"Yes" and "no"', 'Say "yes" or "no"')]
    for delimiter in "\t,":
        assert _read(_table(tmp_path, rows, delimiter)) == rows
        assert not [w for w in engine.data.inspect(tmp_path / "a.csv").warnings if "quotation" in w]


def test_cells_in_marks_whose_own_marks_are_not_doubled(tmp_path: Path) -> None:
    """As a script writes that puts marks around each cell and knows nothing of those inside."""
    path = _table(tmp_path, [('"What does "Moin" mean?"', '"It means "hello" here."')] * 3, ",")
    assert _read(path) == [('What does "Moin" mean?', 'It means "hello" here.')] * 3


LONG = [
    "\n".join(f"Line {i}, of a poem" for i in range(300)),  # a comma in each, as a row of two columns has
    "Take:\n" + "\n".join(f"spoon {i}, a large one" for i in range(30)),
    "Dear Ann,\n\nthank you, it came.\n\nYours, Sam",
    'He said "one,\ntwo" and left.',
    "a\tb\nc\td",
]


@pytest.mark.parametrize("delimiter", ["\t", ";", ","])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_cells_of_many_lines_that_are_rightly_quoted(delimiter: str, ends: str, tmp_path: Path) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=ends)
    rows = [(f"Poem {i}?", cell) for i in range(4) for cell in LONG] + [(cell, "So.") for cell in LONG]
    writer.writerows([("Question", "Answer"), *rows])
    path = tmp_path / "a.csv"
    path.write_text(out.getvalue(), encoding="utf-8", newline="")
    assert _read(path) == rows


def test_marks_that_hold_what_could_be_rows_are_said(tmp_path: Path) -> None:
    """It is read as it is written, but a person had better look."""
    path = tmp_path / "a.csv"
    path.write_text('Question,Answer\nHow?,So.\nList?,"Take:\n' + "spoon, a large one\n" * 30 + 'fork, small"\nWhy?,So.\n')
    assert any("In row 3 quotation marks hold lines together" in w for w in engine.data.inspect(path).warnings)


def test_a_mark_that_holds_lines_which_are_no_rows_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('Question,Answer\nHow?,So.\nWhy?,"Dear Ann,\n\nit is late, and,\nI must go.\n')
    assert [answer for _, answer in _read(path)][1].startswith("Dear Ann,\n\nit is late")
    assert any("In row 3 a cell begins" in w and "same cell" in w for w in engine.data.inspect(path).warnings)


def test_a_mark_alone_in_a_single_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["The boats go out."] * 30
    lines[7], lines[12] = '"Moin, they say.', '"Moin" is said at noon.'
    path.write_text("text\n" + '"Two\nlines"\n' + "\n".join(lines))
    rows = [row["text"] for _, row in engine.data.rows(path, "text") if not isinstance(row, Problem)]
    assert rows == ["Two\nlines", *lines]


def test_a_large_table_with_marks_alone_is_read_soon(tmp_path: Path) -> None:
    """A mark costs a look at the lines up to the next one and no more; the number of rows is told about right."""
    rows = _plain(120_000)
    for place in range(100, 120_000, 2000):
        rows[place] = ("Who said it?", '"I did')
    path = _table(tmp_path, rows, ";")
    began = time.process_time()
    assert sum(1 for _ in engine.data.rows(path, "chat")) == 120_000
    assert time.process_time() - began < 10
    looked = engine.data.inspect(path)
    assert looked.looked_at == 5000 and abs(looked.rows - 120_000) < 15_000


@pytest.mark.parametrize("extra", [",", ",,", ", ,"])
def test_an_empty_cell_at_the_end_of_every_row(extra: str, tmp_path: Path) -> None:
    path = _table(tmp_path, [(a, b + extra) for a, b in _plain(30)], ",")
    assert _read(path) == _plain(30)


def test_cells_that_lack_at_the_end_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Question,Answer,Note\n" + "".join(f"Q {i}?,A {i}.{',x' * (i % 2)}\n" for i in range(30)))
    assert _read(path) == [(f"Q {i}?", f"A {i}.") for i in range(30)]


def test_text_beyond_the_header_says_what_is_wrong(tmp_path: Path) -> None:
    path = _table(tmp_path, [("Why, then?", "So."), ("And, now?", "So.")], ",")
    with pytest.raises(DataError, match="A cell that holds a comma needs quotation marks") as caught:
        engine.data.inspect(path)
    assert caught.value.hint and "as many cells" in caught.value.hint


def test_a_mark_alone_in_the_held_out_file_is_said_as_one(tmp_path: Path) -> None:
    train = _table(tmp_path, _plain(20), "\t", "train.tsv")
    rows: list[Any] = _plain(20)
    rows[4] = ('"Hello', "So.")
    valid = _table(tmp_path, rows, "\t", "valid.tsv")
    made = engine.data.prepare(train, "chat", tmp_path / "out", valid_path=valid)
    assert made.valid_rows == 20
    assert any(w.startswith("Held-out rows: In row 6 ") for w in made.warnings)
