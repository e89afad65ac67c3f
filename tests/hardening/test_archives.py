"""What hides in an archive: bombs, ways out, links, and archives in archives. Nothing is ever unpacked to disk."""

from __future__ import annotations

import contextlib
import gzip
import stat
import tracemalloc
import zipfile
from pathlib import Path

import pytest

import engine.data
from engine.errors import DataError

ROWS = b'{"prompt": "When does the harbour open?", "completion": "At six."}\n' * 20


def packed(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "packed.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def everything(path: Path, into: Path) -> str:
    """All that comes out, looked at and prepared."""
    seen = repr(engine.data.inspect(path))
    engine.data.prepare(path, "chat", into)
    return seen + "".join(file.read_text() for file in into.rglob("*") if file.is_file())


@pytest.mark.parametrize("name", ["../../escaped.jsonl", "/tmp/escaped.jsonl", "..\\..\\escaped.jsonl", "C:\\escaped.jsonl"])
def test_a_member_that_points_out_of_the_archive_stays_in_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    path = packed(tmp_path / "in", {name: ROWS, "rows.jsonl": ROWS})
    assert "harbour" in everything(path, tmp_path / "in" / "out")
    assert not list(tmp_path.glob("*escaped*")) and not Path("/tmp/escaped.jsonl").exists()


def test_a_link_in_an_archive_is_followed_nowhere(tmp_path: Path) -> None:
    path, secret = tmp_path / "packed.zip", tmp_path / "secret.jsonl"
    secret.write_text('{"prompt": "the canary", "completion": "sings"}\n')
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.jsonl", ROWS)
        link = zipfile.ZipInfo("link.txt")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(secret))
    try:
        shown = everything(path, tmp_path / "out")
    except DataError as refused:
        shown = refused.message
    assert "the canary" not in shown


@pytest.mark.parametrize("kind", ["zip", "gz", "zip of a zip", "many members"])
def test_a_bomb_costs_neither_memory_nor_disk(tmp_path: Path, kind: str) -> None:
    """Much of nothing in little; the same inside another archive; and twenty thousand files."""
    zeros, path = b"0" * (64 << 20), tmp_path / "packed.zip"
    if kind == "gz":
        path = tmp_path / "packed.jsonl.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(4):
                file.write(zeros)
    elif kind == "many members":
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(20_000):
                archive.writestr(f"{number}.txt", b"")
    else:
        packed(tmp_path, {"rows.jsonl": zeros})
        if kind == "zip of a zip":
            packed(tmp_path, {"inner.zip": path.read_bytes()})
    del zeros
    before = {file: file.stat().st_size for file in tmp_path.rglob("*")}
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            engine.data.inspect(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.hint and most < 100 << 20
    assert {file: file.stat().st_size for file in tmp_path.rglob("*")} == before, "nothing was unpacked"


@pytest.mark.parametrize("name", ["rows.pkl", "rows.json", "rows.pt", "rows.npy", "rows.parquet"])
def test_a_pickle_is_never_opened(tmp_path: Path, name: str) -> None:
    """One that would make a file if anything unpickled it, under names that its readers might believe."""
    target = tmp_path / "it-ran"
    bomb = b"cos\nsystem\n(S'touch " + str(target).encode() + b"'\ntR."
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / name
    for content in (bomb, b"\x80\x04" + bomb):
        path.write_bytes(content)
        with contextlib.suppress(DataError):  # the older kind is plain text to look at, and is taken for such
            engine.data.inspect(path)
            engine.data.prepare(path, "text", tmp_path / "out")
        assert not target.exists()
