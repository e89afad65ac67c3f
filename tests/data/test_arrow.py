"""Folders that `save_to_disk` of the library datasets wrote, and its files alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest
from pyarrow import ipc

from engine.data import inspect, prepare
from engine.errors import DataError


def _table(split: str, count: int) -> pyarrow.Table:
    return pyarrow.table({"prompt": [f"{split} {n}?" for n in range(count)], "completion": [f"{n}." for n in range(count)]})


def _stream(path: Path, table: pyarrow.Table, compression: str | None = None) -> Path:
    options = ipc.IpcWriteOptions(compression=compression)
    with ipc.new_stream(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=10)
    return path


def _saved(folder: Path, split: str, count: int) -> None:
    """As Dataset.save_to_disk lays it down."""
    folder.mkdir(parents=True)
    _stream(folder / "data-00000-of-00001.arrow", _table(split, count))
    _stream(folder / "cache-8f3a.arrow", _table("a copy", 99))
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": null}')
    (folder / "dataset_info.json").write_text('{"citation": "", "description": "", "features": {}}')


def test_a_saved_data_set_is_its_rows(tmp_path: Path) -> None:
    _saved(tmp_path / "saved", "train", 30)
    seen = inspect(tmp_path / "saved")
    assert (seen.rows, seen.rows_exact, seen.form, seen.file_format) == (30, True, "qa", "Arrow")
    assert seen.warnings == []
    assert inspect(tmp_path / "saved", check_rows=5).rows == 30, "it says how many there are"


def test_a_saved_dict_of_data_sets_has_its_splits(tmp_path: Path) -> None:
    for split, count in (("train", 30), ("validation", 6), ("test", 8)):
        _saved(tmp_path / "saved" / split, split, count)
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    made = prepare(tmp_path / "saved", "chat", tmp_path / "out")
    assert (made.train_rows, made.valid_rows, made.own_valid) == (30, 6, True)
    assert any(warning.startswith("test/data-00000-of-00001.arrow is not used") for warning in made.warnings)


@pytest.mark.slow
def test_what_the_library_itself_saves(tmp_path: Path) -> None:
    import datasets

    made = datasets.Dataset.from_dict(_table("x", 25).to_pydict())
    datasets.DatasetDict({"train": made, "validation": made.select(range(5))}).save_to_disk(str(tmp_path / "saved"))
    seen = inspect(tmp_path / "saved")
    assert (seen.rows, seen.held_out) == (25, 5)


def test_both_kinds_of_arrow_files_and_packed_ones(tmp_path: Path) -> None:
    import gzip

    with ipc.new_file(str(tmp_path / "a.arrow"), _table("a", 12).schema) as writer:
        writer.write_table(_table("a", 12))
    packed = _stream(tmp_path / "b.arrow", _table("b", 12))
    (tmp_path / "b.arrow.gz").write_bytes(gzip.compress(packed.read_bytes()))
    for name in ("a.arrow", "b.arrow", "b.arrow.gz"):
        assert inspect(tmp_path / name).rows == 12


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_rows_are_not_unpacked(compression: str, tmp_path: Path) -> None:
    """A thousandth of the memory that they would take tells nothing of how much that is."""
    table = pyarrow.table({"text": ["a" * 1000] * 1000})
    with pytest.raises(DataError, match="compressed rows") as told:
        inspect(_stream(tmp_path / "a.arrow", table, compression))
    assert "to_parquet" in told.value.hint


def test_a_text_that_stands_in_many_rows_is_weighed(tmp_path: Path) -> None:
    """One list of texts, of which each row is a reference: no row is written out that is larger than rows may be."""
    text = pyarrow.array(["x" * (70 << 20), "small"])
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1, 0], pyarrow.int32()), text)
    _stream(tmp_path / "a.arrow", pyarrow.table({"text": column}))
    seen = inspect(tmp_path / "a.arrow", "text")
    assert (seen.usable, dict(seen.problem_counts)) == (1, {"too large": 2})


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    whole = _stream(tmp_path / "a.arrow", _table("a", 400)).read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:300] + b"\x7f" * 40 + whole[340:], b"\xff\xff\xff\xff", b"ARROW1\0\0"):
        (tmp_path / "b.arrow").write_bytes(broken)
        with pytest.raises(DataError):
            prepare(tmp_path / "b.arrow", "chat", tmp_path / "out")
