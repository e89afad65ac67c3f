"""A zip that is made while it is sent."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from ui.packing import zipped


def test_what_is_unpacked_is_what_was_packed_and_no_more_of_it_is_held_than_a_piece(tmp_path: Path) -> None:
    contents = {"run/weights": bytes(range(256)) * 20_000, "run/empty": b"", "run/names é.json": b"{}"}
    for name, content in contents.items():
        (tmp_path / name.replace("/", "-")).write_bytes(content)
    files = [(name, (tmp_path / name.replace("/", "-")).open("rb")) for name in contents]
    for name in contents:
        (tmp_path / name.replace("/", "-")).unlink()  # deleted while it is sent
    pieces = list(zipped(files))
    assert all(file.closed for _, file in files)
    assert max(map(len, pieces)) < 1.1 * (1 << 20) < len(contents["run/weights"])
    with ZipFile(BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == contents
