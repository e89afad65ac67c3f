"""Files that are broken, huge, or no data at all: a clear error or a clean result, soon; never any other exception."""

from __future__ import annotations

import gzip
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engine.data
from engine.data import Problem
from engine.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 20
GOOD = b'{"text": "The boats go out at six."}\n'
PACKED = gzip.compress(b"".join(b'{"text": "Row %d of the file."}\n' % i for i in range(20_000)))


@pytest.fixture(autouse=True)
def _soon() -> Iterator[None]:
    """Nothing here may take long, however odd the file is and whatever else the processor does."""
    began = time.process_time()
    yield
    assert time.process_time() - began < 20


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _rows(path: Path, kind: Any = "text") -> list[Any]:
    return [row for _, row in engine.data.rows(path, kind)]


def _good(path: Path, kind: Any = "text") -> list[Any]:
    return [row for row in _rows(path, kind) if not isinstance(row, Problem)]


def _rules(path: Path, kind: Any = "text") -> list[str]:
    return [row.rule for row in _rows(path, kind) if isinstance(row, Problem)]


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.csv", b"", "empty"),
    "only white space": ("a.jsonl", b" \n\n\t\n", "empty"),
    "only control characters": ("a.json", b"\x1c\x1f", "empty"),
    "a gzip of nothing": ("a.jsonl.gz", gzip.compress(b""), "empty"),
    "only a header": ("a.csv", b"question,answer\n", "no row"),
    "an empty array": ("a.json", b"[]", "no row"),
    "numbers": ("a.json", b"[1, 2, 3]", "bare value"),
    "a PNG called json": ("a.json", PNG, "PNG picture"),
    "a PNG called csv": ("a.csv", PNG, "PNG picture"),
    "a PDF called txt": ("a.txt", b"%PDF-1.7\nabc", "PDF document"),
    "a pickle": ("a.jsonl", b"\x80\x04\x95\x10\x00", "pickle"),
    "zero bytes": ("a.txt", b"abc\0\1\2" * 99, "binary"),
    "prose called json": ("a.json", b"Dear reader, this is no JSON.", "Dear reader"),
    "a page called json": ("a.json", b"<!DOCTYPE html><html></html>", "<!DOCTYPE html>"),
    "json cut off": ("a.json", b'[{"text": "One."}, {"text": "Tw', "not JSON"),
    "json without a comma": ("a.json", b'[{"text": "One."}\n{"text": "Two."}]', "line 2"),
    "an array 100,000 deep": ("a.json", b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "an object 100,000 deep": ("a.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "a row 100,000 deep": ("a.json", b'[{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "nested too deeply"),
    "a line 100,000 deep": ("a.jsonl", b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "a number of 9,000 digits": ("a.json", b'[{"text": ' + b"7" * 9000 + b"}]", "digits"),
    "a name that is a list": ("a.json", b'{[1]: "text"}', "not JSON"),
    "a name that is an object": ("a.json", b'{{"a": 1}: "text"}', "not JSON"),
    "a template called json": ("a.json", b"{{name}} is here", "not JSON"),
    "gzip cut off at its start": ("a.jsonl.gz", PACKED[:30], "ends too early|damaged"),
    "gzip cut off later": ("a.jsonl.gz", PACKED[: len(PACKED) // 2], "ends too early|damaged"),
    "gzip with a wrong byte": ("a.jsonl.gz", _flip(PACKED, len(PACKED) // 2), "ends too early|damaged"),
    "a zip cut off": ("a.zip", b"PK\x03\x04" + b"\0" * 90, "ends too early or is damaged"),
    "parquet cut off": ("a.parquet", b"PAR1" + b"x" * 50, "damaged Parquet"),
    "parquet with a wrong end": ("a.parquet", b"PAR1" + b"x" * 50 + b"\x20\0\0\0PAR1", "damaged Parquet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason_and_a_hint(name: str, tmp_path: Path) -> None:
    file_name, content, found = REFUSED[name]
    path = _file(tmp_path, file_name, content)
    for look in (
        lambda: engine.data.inspect(path, check_rows=10**6),
        lambda: engine.data.prepare(path, "text", tmp_path / "o"),
    ):
        with pytest.raises(DataError, match=found) as caught:
            look()
        assert caught.value.hint and len(caught.value.message) < 400


def _zip(folder: Path, content: bytes, change: Callable[[bytes], bytes]) -> Path:
    path = folder / "packed.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.jsonl", content)
    return _file(folder, "packed.zip", change(path.read_bytes()))


def _locked(packed: bytes) -> bytes:
    """Both headers of the only file say that it has a password."""
    packed = packed[:6] + b"\x01" + packed[7:]
    place = packed.index(b"PK\x01\x02") + 8
    return packed[:place] + b"\x01" + packed[place + 1 :]


def _outside(packed: bytes) -> bytes:
    """The list of files is where it says, and the file that it lists is before the beginning."""
    return packed[:14] + packed[60:]


@pytest.mark.parametrize("change", [lambda packed: _flip(packed, 80), _locked, _outside])
def test_a_zip_that_cannot_be_unpacked(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """A wrong byte inside (the list of files is whole), a password, and a piece that is missing."""
    path = _zip(tmp_path, gzip.decompress(PACKED), change)
    with pytest.raises(DataError, match=r"packed\.zip") as caught:
        _rows(path)
    assert caught.value.hint


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = _zip(tmp_path, b"0" * (8 << 20), lambda packed: packed)
    with pytest.raises(DataError, match="no real data"):
        engine.data.inspect(path)


def test_nothing_at_all(tmp_path: Path) -> None:
    """No file; an empty folder; a folder of empty files."""
    for name in ("nowhere", ".", "."):
        with pytest.raises(DataError) as caught:
            engine.data.inspect(tmp_path / name)
        assert caught.value.hint
        _file(tmp_path, "empty.csv", b"")


@pytest.mark.parametrize("name,content", [("a.jsonl", GOOD), ("a.csv", b"text\nThe boats go out at six."), ("a.json", GOOD)])
def test_one_row_is_enough(name: str, content: bytes, tmp_path: Path) -> None:
    looked = engine.data.inspect(_file(tmp_path, name, content), "text")
    assert (looked.rows, looked.usable) == (1, 1)
    assert any("very few" in warning for warning in looked.warnings)


def test_a_table_of_200_columns(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(198)] + ["question", "answer"]
    body = ",".join(f"value of cell {i}" for i in range(198)) + ",Why?,So.\n"
    path = _file(tmp_path, "wide.csv", (",".join(names) + "\n" + body * 50).encode())
    assert _rows(path, "chat") == [{"prompt": "Why?", "completion": "So."}] * 50
    assert len(engine.data.inspect(path).columns) == 200


def test_a_ragged_table(tmp_path: Path) -> None:
    """Rows whose needed cell lacks, or with text beyond the columns, are told by their number in a spreadsheet; the others are
    used.
    """
    path = _file(tmp_path, "a.csv", b'question,answer\nA?,"x\ny"\nB?\nC?,c\nD?,d,too much\n,,,\n\nE?,e\n')
    numbered = list(engine.data.rows(path, "chat"))
    bad = [(number, row.rule) for number, row in numbered if isinstance(row, Problem)]
    assert bad == [(3, "empty completion"), (5, "ragged row")]
    assert [row["prompt"] for _, row in numbered if isinstance(row, dict)] == ["A?", "C?", "E?"]


def test_a_quote_that_never_ends(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.csv", b'question,answer\nA?,a\nB?,"b\n' + b"C?,c\n" * 1000)
    good = _good(path, "chat")
    assert good[0] == {"prompt": "A?", "completion": "a"} and len(good) == 1002


def test_a_header_cell_without_an_end(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        _rows(_file(tmp_path, "a.csv", b"a,b\n" + b"x" * (65 << 20)))
    assert caught.value.hint
    with pytest.raises(DataError, match="header"):
        _rows(_file(tmp_path, "a.csv", b"x" * (65 << 20) + b",b\n1,2\n"))


def test_broken_utf8(tmp_path: Path) -> None:
    """The row that has the broken bytes is told; umlauts elsewhere stay as they are."""
    path = _file(tmp_path, "a.jsonl", '{"text": "Grüße an alle"}\n'.encode() + b'{"text": "br\xff\xfeken"}\n' + GOOD)
    assert _good(path) == [{"text": "Grüße an alle"}, {"text": "The boats go out at six."}]
    assert _rules(path) == ["broken characters"]


def test_broken_utf8_in_a_column_that_is_carried_along(tmp_path: Path) -> None:
    """Reward functions get all columns, so broken bytes of any of them reach the file of rows."""
    content = b'{"prompt": "Gr\xc3\xbc\xc3\x9fe?", "note": "br\xffken"}\n{"prompt": "Why?", "note": "\\ud800"}\n'
    made = engine.data.prepare(_file(tmp_path, "a.jsonl", content), "prompts", tmp_path / "out")
    written = (tmp_path / "out" / "train.jsonl").read_text(encoding="utf-8")
    assert len(written.splitlines()) == made.train_rows


def test_half_a_character_in_json(tmp_path: Path) -> None:
    assert _rules(_file(tmp_path, "a.jsonl", GOOD + b'{"text": "half \\ud83d"}\n')) == ["broken characters"]


def test_utf16_with_a_byte_too_few(tmp_path: Path) -> None:
    assert "boats" in str(_good(_file(tmp_path, "a.txt", "The boats go out.\n\nLate".encode("utf-16")[:-1])))


def test_names_that_come_twice(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.csv", b"question,answer,answer,,\nWhy?,So.,Otherwise.,1,2\n")
    assert _rows(path, "chat") == [{"prompt": "Why?", "completion": "So."}]
    names = [column.name for column in engine.data.inspect(path).columns]
    assert names == ["question", "answer", "answer (2)", "column 4", "column 5"]


def test_a_name_that_comes_thousands_of_times(tmp_path: Path) -> None:
    """Each gets its number in no more time than the one before."""
    began = time.process_time()
    path = _file(tmp_path, "a.csv", b"text,a (3)" + b",a" * 5000 + b"\nThe boats go out" + b",1" * 5001 + b"\n")
    names = [column.name for column in engine.data.inspect(path, "text").columns]
    assert names[:6] == ["text", "a (3)", "a", "a (2)", "a (4)", "a (5)"] and names[-1] == "a (5001)"
    assert len(set(names)) == 5002
    assert time.process_time() - began < 3


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_nan_and_infinity(name: str, tmp_path: Path) -> None:
    """Python writes them although they are not JSON; there is no number, so the cell is empty."""
    rows = b'{"text": "One row.", "score": NaN}\n{"text": Infinity, "score": -Infinity}\n'
    path = _file(tmp_path, name, rows)
    assert _good(path) == [{"text": "One row."}]
    assert _rules(path) == ["empty text"]
    json.dumps(engine.data.inspect(path).to_dict(), allow_nan=False)  # what goes to the browser is JSON


@pytest.mark.parametrize(
    "name,before,after",
    [
        ("a.jsonl", b'{"text": "', b'"}\n' + GOOD),
        ("a.json", b'[{"text": "', b'"}]'),
        ("a.csv", b"number,text\n1,", b"\n"),
        ("a.txt", b"", b"\n"),
    ],
)
@pytest.mark.slow
def test_a_line_of_50_mb(name: str, before: bytes, after: bytes, tmp_path: Path) -> None:
    path = _file(tmp_path, name, before + b"many words " * 4_600_000 + after)
    looked = engine.data.inspect(path, "text")
    path.unlink()
    assert looked.usable >= 1 and looked.lengths[0] > 50_000_000
    assert any("100,000 characters" in warning for warning in looked.warnings)
    assert all(len(str(row)) < 5000 for _, row in looked.raw)  # what is shown is cut


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", GOOD + b'{"text": "' + b"x" * (65 << 20) + b'"}\n' + GOOD)
    numbered = [(number, isinstance(row, Problem)) for number, row in engine.data.rows(path, "text")]
    path.unlink()
    assert numbered == [(1, False), (2, True), (3, False)]


def test_a_parquet_row_that_is_too_large(tmp_path: Path) -> None:
    """It is told as in every other format, before it is unpacked; the rows around it are used."""
    import pyarrow
    import pyarrow.parquet

    path, part = tmp_path / "a.parquet", "x" * (3 << 20)
    lists = [["So."], [part] * 30, [part] * 2, None]
    maps = pyarrow.array([[("a", "b")], [], None, []], pyarrow.map_(pyarrow.string(), pyarrow.string()))
    table = pyarrow.table({"text": ["One.", "Two.", "Three.", "Four."], "more": lists, "map": maps})
    pyarrow.parquet.write_table(table, path, compression="zstd")
    numbered = list(engine.data.rows(path, "text"))
    assert [number for number, row in numbered if not isinstance(row, Problem)] == [1, 3, 4]
    assert _rules(path) == ["too large"]


def test_a_large_row_before_many_small_ones(tmp_path: Path) -> None:
    """What is left to read after a large row is not copied again for every small one."""
    rows = b'[{"text": "' + b"x" * (6 << 20) + b'"}' + b', {"text": "small row"}' * 150_000 + b"]"
    assert len(_rows(_file(tmp_path, "a.json", rows))) == 150_001


@pytest.mark.parametrize("text", ["Q: what now\n" * 50_000, "\n" * 500_000 + "end", "Human: hi\n" + " \n" * 200_000])
def test_text_that_looks_like_an_endless_transcript(text: str, tmp_path: Path) -> None:
    """Patterns that look for a question and an answer to it must not take quadratic time."""
    path = _file(tmp_path, "a.jsonl", json.dumps({"text": text}).encode())
    assert engine.data.inspect(path).kind == "text"


def test_html_stays_text(tmp_path: Path) -> None:
    text = "<script>alert('x')</script> <b>bold</b> &amp; <img src=x onerror=alert(1)>"
    for name, content in (("a.jsonl", json.dumps({"text": text})), ("a.csv", f'text\n"{text}"\n'), ("a.txt", text)):
        assert _rows(_file(tmp_path, name, content.encode())) == [{"text": text}]
