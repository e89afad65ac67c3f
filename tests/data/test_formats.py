"""The same three rows in every format that a file may have: they come out as the same canonical rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine.data
from engine.data import Problem

# Commas, quotes, a line break, umlauts: what breaks careless readers of tables. All of it exists in Latin-1.
PAIRS = [
    ("When does the harbour open?", "At six, every day."),
    ("What does “Brot” mean?".replace("“", '"').replace("”", '"'), "Bread; for example:\nrye bread, café crème."),
    ("Grüße wohin?", "Über den Fluß."),
]
EXPECTED = [{"prompt": question, "completion": answer} for question, answer in PAIRS]
RECORDS = [{"question": question, "answer": answer} for question, answer in PAIRS]


def _table(delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["question", "answer"])
    writer.writerows(PAIRS)
    return out.getvalue()


def _json(value: Any, **more: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **more)


def _lines() -> str:
    return "".join(_json(record) + "\n" for record in RECORDS)


def _parquet() -> bytes:
    import pandas

    out = io.BytesIO()
    pandas.DataFrame(RECORDS).to_parquet(out)
    return out.getvalue()


def _columns() -> str:
    return _json({"question": [pair[0] for pair in PAIRS], "answer": [pair[1] for pair in PAIRS]})


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "json array": ("qa.json", lambda: _json(RECORDS).encode()),
    "json array, indented": ("qa.json", lambda: _json(RECORDS, indent=2).encode()),
    "json object with a data list": ("qa.json", lambda: _json({"version": "1.0", "data": RECORDS}).encode()),
    "json object of columns": ("qa.json", lambda: _columns().encode()),
    "json lines": ("qa.jsonl", lambda: _lines().encode()),
    "json lines called json": ("qa.json", lambda: _lines().encode()),
    "json lines with escapes": ("qa.ndjson", lambda: "\n".join(json.dumps(r) for r in RECORDS).encode()),
    "json lines with Windows line ends": ("qa.jsonl", lambda: _lines().replace("}\n", "}\r\n").encode()),
    "json lines with empty lines": ("qa.jsonl", lambda: ("\n" + _lines().replace("}\n", "}\n\n")).encode()),
    "json with a mark": ("qa.json", lambda: _json(RECORDS).encode("utf-8-sig")),
    "json in utf-16": ("qa.json", lambda: _json(RECORDS).encode("utf-16")),
    "json lines in utf-16": ("qa.jsonl", lambda: _lines().encode("utf-16")),
    "json lines in latin-1": ("qa.jsonl", lambda: _lines().encode("latin-1")),
    "csv": ("qa.csv", lambda: _table(",").encode()),
    "tsv": ("qa.tsv", lambda: _table("\t").encode()),
    "tsv called csv": ("qa.csv", lambda: _table("\t").encode()),
    "semicolon csv with a mark, as Excel saves it": ("qa.csv", lambda: _table(";").encode("utf-8-sig")),
    "tsv in utf-16, as Excel saves Unicode text": ("qa.tsv", lambda: _table("\t").encode("utf-16")),
    "csv in utf-16 without a mark": ("qa.csv", lambda: _table(",").encode("utf-16-le")),
    "csv in latin-1": ("qa.csv", lambda: _table(",").encode("latin-1")),
    "parquet": ("qa.parquet", _parquet),
    "parquet with a wrong name": ("qa.csv", _parquet),
}
TEXT = "The boats go out at six.\n\nThe keeper lights the lamp:\nevery evening, über alles.\n"
TEXT_ROW = {"text": TEXT.strip()}


def _plain(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _gzipped(path: Path, content: bytes) -> Path:
    path = path.with_name(path.name + ".gz")
    path.write_bytes(gzip.compress(content))
    return path


def _zipped(path: Path, content: bytes) -> Path:
    inside, path = path.name, path.with_name("packed.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/" + inside, content)
        archive.writestr("__MACOSX/folder/._" + inside, b"\0\1\2")  # what a Mac adds, and nobody wants
    return path


PACKINGS = [_plain, _gzipped, _zipped]


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows(name: str, pack: Callable[[Path, bytes], Path], tmp_path: Path) -> None:
    file_name, content = FILES[name]
    path = pack(tmp_path / file_name, content())
    made = [row for _, row in engine.data.rows(path, "chat")]
    if "Windows" in name:  # the reader takes the line ends off, not the line break inside of a cell
        assert "\r" not in str(made)
    assert made == EXPECTED
    looked = engine.data.inspect(path)
    assert (looked.form, looked.kind, looked.rows, looked.rows_exact) == ("qa", "chat", 3, True)
    assert looked.problem_counts == {}
    assert [column.name for column in looked.columns] == ["question", "answer"]


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("name", ["book.txt", "book.md"])
def test_plain_text_is_documents(name: str, encoding: str, pack: Callable[[Path, bytes], Path], tmp_path: Path) -> None:
    path = pack(tmp_path / name, TEXT.encode(encoding))
    assert [row for _, row in engine.data.rows(path, "text")] == [TEXT_ROW]


@pytest.mark.parametrize("pack", PACKINGS)
def test_one_json_object_is_one_row(pack: Callable[[Path, bytes], Path], tmp_path: Path) -> None:
    """A person who tries the page with a single example has no array around it."""
    path = pack(tmp_path / "one.json", _json(RECORDS[0], indent=2).encode())
    assert [row for _, row in engine.data.rows(path, "chat")] == EXPECTED[:1]


def test_one_json_object_with_lists_is_one_row(tmp_path: Path) -> None:
    """The list of turns is a cell, not the list of rows; the list of tools neither."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    path = _plain(tmp_path / "one.json", _json({"messages": turns, "tools": tools}).encode())
    assert [row for _, row in engine.data.rows(path, "chat")] == [{"messages": turns, "tools": tools}]


def test_objects_one_after_another_are_all_read(tmp_path: Path) -> None:
    """Pretty-printed objects without an array: every one is a row; none is lost in silence."""
    path = _plain(tmp_path / "qa.json", "\n".join(_json(record, indent=2) for record in RECORDS).encode())
    assert [row for _, row in engine.data.rows(path, "chat")] == EXPECTED


def test_lines_called_json_with_a_long_first_line(tmp_path: Path) -> None:
    """The first line is longer than what is looked at to tell the format."""
    first = {"question": "Long?", "answer": "word " * 30_000}
    path = _plain(tmp_path / "qa.json", (_json(first) + "\n" + _lines()).encode())
    assert len(list(engine.data.rows(path, "chat"))) == 4


def test_utf16_emoji_where_the_first_look_ends(tmp_path: Path) -> None:
    """A sign of four bytes lies across the end of the 64 KB that are looked at to tell the format."""
    for shift in range(4):
        text = "a" * (32_764 + shift) + "😀" * 9
        path = _plain(tmp_path / "book.txt", text.encode("utf-16"))
        assert [row for _, row in engine.data.rows(path, "text")] == [{"text": text}]


def test_a_table_without_an_ending_in_its_name(tmp_path: Path) -> None:
    path = _plain(tmp_path / "download", b"question;answer\nWhy?;So.\nWhen?;At six.\n")
    assert list(engine.data.rows(path, "chat"))[1] == (3, {"prompt": "When?", "completion": "At six."})


def test_encodings_are_named(tmp_path: Path) -> None:
    """A guess about the encoding is said; what is certain is not."""
    unsure = engine.data.inspect(_plain(tmp_path / "a.csv", _table(",").encode("latin-1")))
    assert unsure.encoding == "cp1252" and "not UTF-8" in unsure.warnings[0]
    sure = engine.data.inspect(_plain(tmp_path / "b.csv", _table(",").encode()))
    assert sure.encoding == "utf-8" and not any("UTF" in warning for warning in sure.warnings)


def test_a_long_text_becomes_several_documents(tmp_path: Path) -> None:
    """Paragraphs are joined up to about 2000 characters, in order, and nothing is lost; the number is the line."""
    paragraphs = [f"Paragraph {i} of the book. " + "The sea is wide. " * 20 for i in range(30)]
    path = _plain(tmp_path / "book.txt", "\n\n".join(paragraphs).encode())
    made = [(number, row) for number, row in engine.data.rows(path, "text") if not isinstance(row, Problem)]
    assert len(made) > 3 and made[0][0] == 1
    lines = path.read_text().splitlines()
    assert all(lines[number - 1].strip() == str(row["text"]).split("\n")[0].strip() for number, row in made)
    joined = "\n\n".join(str(row["text"]) for _, row in made)
    assert [part.strip() for part in joined.split("\n\n")] == [part.strip() for part in paragraphs]


def test_a_text_without_blank_lines_becomes_several_documents(tmp_path: Path) -> None:
    """Such as a file of one sentence a line: cut at the ends of lines, nothing is lost, and some can be held out. A look reads
    its beginning only.
    """
    lines = [f"Line {i} of the log of the harbour." for i in range(400_000)]
    path = _plain(tmp_path / "log.txt", "\n".join(lines).encode())
    made = [(number, row) for number, row in engine.data.rows(path, "text") if not isinstance(row, Problem)]
    assert "\n".join(row["text"] for _, row in made) == "\n".join(lines)
    assert all(lines[number - 1] == row["text"].split("\n")[0] for number, row in made)
    assert all(len(row["text"]) < 2100 for _, row in made)
    looked = engine.data.inspect(path)
    assert not looked.rows_exact and abs(looked.rows - len(made)) < len(made) * 0.05


def test_a_long_talk_in_a_plain_text_stays_together(tmp_path: Path) -> None:
    answer = "\n".join(f"Step {i}: haul the rope in, and make it fast." for i in range(200))
    path = _plain(tmp_path / "faq.txt", f"Q: How is she moored?\nA: {answer}\n\nQ: Why?\nA: So.".encode())
    rows = [row["messages"] for _, row in engine.data.rows(path, "chat") if not isinstance(row, Problem)]
    assert [turn["content"] for turn in rows[0]] == ["How is she moored?", answer] and len(rows) == 2


def test_questions_with_answers_in_a_plain_text_are_a_row_each(tmp_path: Path) -> None:
    """As a FAQ is written down; prose around them stays prose."""
    blocks = [f"Q: When does gate {i} open?\nA: It opens at {i}.\nEvery day." for i in range(40)]
    path = _plain(tmp_path / "faq.txt", "\n\n".join(blocks).encode())
    looked = engine.data.inspect(path)
    assert (looked.form, looked.rows) == ("transcript", 40)
    assert "Q: … A: …" in looked.why, "it is called what it is in the file"
    rows = [row for _, row in engine.data.rows(path, "chat") if not isinstance(row, Problem)]
    assert [len(row["messages"]) for row in rows] == [2] * 40
    assert rows[7]["messages"][1]["content"] == "It opens at 7.\nEvery day."
    prose = _plain(tmp_path / "book.txt", b"The sea is wide.\n\nQ: Who keeps the lamp?\nA: Sam.\n\nThe end.\n\nIt is late.")
    texts = [row["text"] for _, row in engine.data.rows(prose, "text")]
    assert texts == ["The sea is wide.", "Q: Who keeps the lamp?\nA: Sam.", "The end.\n\nIt is late."]


def test_an_export_that_wraps_its_conversations(tmp_path: Path) -> None:
    """What an object calls `conversations` is its one conversation, or a list of them."""
    turns = [{"role": "user", "content": "Open?"}, {"role": "assistant", "content": "At six."}]
    for wrapped in ([{"id": 1, "messages": turns}] * 3, [turns] * 3):
        path = tmp_path / "export.json"
        path.write_text(json.dumps({"export_date": "2026-01-01", "conversations": wrapped}))
        assert [row["messages"] for _, row in engine.data.rows(path, "chat")] == [turns] * 3
    path.write_text(json.dumps({"id": 1, "conversations": turns}))
    assert [row["messages"] for _, row in engine.data.rows(path, "chat")] == [turns]
    pair = {"prompt": "Open?", "chosen": turns[1:], "rejected": [{"role": "assistant", "content": "No."}]}
    path.write_text(json.dumps(pair))
    assert engine.data.inspect(path).rows == 1


def test_a_folder_of_parts_with_its_own_held_out_file(tmp_path: Path) -> None:
    """As data sets lie on the hub: several training files, a validation file, a test file that is left alone."""
    for name in ("train-00000.jsonl", "train-00001.jsonl", "validation.jsonl", "test.jsonl"):
        _plain(tmp_path / name, _lines().encode())
    numbered = list(engine.data.rows(tmp_path, "chat"))
    assert [row for _, row in numbered] == EXPECTED * 2
    assert [number for number, _ in numbered] == [1, 2, 3, 4, 5, 6]
    assert engine.data.inspect(tmp_path).file_format == "JSON Lines, 2 files"


def test_a_long_parquet_file_has_its_exact_number_of_rows(tmp_path: Path) -> None:
    """Parquet says how many rows it has; an estimate from its packed bytes would be far off."""
    import pandas

    path = tmp_path / "many.parquet"
    pandas.DataFrame([{"text": "All of the rows say the same words."}] * 6000).to_parquet(path)
    looked = engine.data.inspect(path, check_rows=1000)
    assert (looked.rows, looked.looked_at) == (6000, 1000)


def test_the_estimate_of_a_long_file_is_close(tmp_path: Path) -> None:
    """Only the first rows are looked at; the number of the rest is told from their bytes."""
    path = tmp_path / "many.jsonl"
    path.write_text("".join(_json({"text": f"Row {i} " + "word " * (i % 7)}) + "\n" for i in range(3000)))
    looked = engine.data.inspect(path, check_rows=500)
    assert not looked.rows_exact and 2700 < looked.rows < 3300


@pytest.mark.parametrize("rows", [7_000, 60_000])
def test_the_estimate_of_a_long_packed_file_is_close(rows: int, tmp_path: Path) -> None:
    """How large a gzip file is when unpacked is told from how far its beginning shrank."""
    lines = "".join(_json({"text": f"Row {i} " + f"word {i % 89} " * (150 if i % 3 else 1)}) + "\n" for i in range(rows))
    plain, packed = _plain(tmp_path / "many.jsonl", lines.encode()), _gzipped(tmp_path / "many.jsonl", lines.encode())
    right, looked = engine.data.inspect(plain), engine.data.inspect(packed)
    assert not looked.rows_exact and abs(looked.rows - right.rows) < rows * 0.02
    assert abs(looked.rows - rows) < rows * 0.05


def test_the_estimate_of_many_small_files_is_close(tmp_path: Path) -> None:
    for file in range(40):
        _plain(tmp_path / f"part-{file:02}.jsonl", "".join(_json({"text": f"Row {i}"}) + "\n" for i in range(50)).encode())
    looked = engine.data.inspect(tmp_path, check_rows=500)
    assert not looked.rows_exact and 1900 < looked.rows < 2100


def test_a_packed_parquet_file_has_its_exact_number_of_rows(tmp_path: Path) -> None:
    import pandas

    out = io.BytesIO()
    pandas.DataFrame([{"text": "All of the rows say the same words."}] * 6000).to_parquet(out)
    path = _gzipped(tmp_path / "many.parquet", out.getvalue())
    assert engine.data.inspect(path, check_rows=1000).rows == 6000


def test_an_archive_of_many_files_takes_no_longer_for_each(tmp_path: Path) -> None:
    """Its list of files is read once and not again for every file, which took 20 s for 2,000 of them."""
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in range(2000):
            archive.writestr(f"part-{file}.jsonl", _json({"text": f"Row {file}"}) + "\n")
    began = time.process_time()
    looked = engine.data.inspect(path)
    assert looked.rows == 2000
    assert time.process_time() - began < 5


def test_excels_line_that_names_the_separator_is_no_header(tmp_path: Path) -> None:
    file = tmp_path / "export.csv"
    file.write_bytes("\ufeffsep=;\r\nQuestion;Answer\r\nWho, me?;Yes, you.\r\nWho else?;Nobody.\r\n".encode())
    seen = engine.data.inspect(file, "chat")
    assert next(row for _, row in seen.examples) == {"prompt": "Who, me?", "completion": "Yes, you."}


def test_a_readme_beside_the_rows_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# About these rows")
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 2)
    assert engine.data.inspect(tmp_path, "chat").rows == 2


def test_cells_that_run_over_lines_do_not_swell_the_estimate(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_text("Question,Answer\n" + "".join(f'"What\n\n\nis {n}?","It\nis ""{n}""."\n' for n in range(12_000)))
    seen = engine.data.inspect(file)
    assert not seen.rows_exact
    assert 11_000 < seen.rows < 13_000
