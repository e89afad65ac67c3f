"""Reads what `save_to_disk` of the library datasets writes: Arrow streams, mapped into memory and not loaded.

Only uncompressed ones, which is how that library writes them: what a compressed one unpacks to is not known before.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.data.parquet import one_by_one
from engine.data.records import Problem, Record
from engine.data.source import Member
from engine.errors import DataError

_BLOCK = 1 << 20
_FILE = b"ARROW1"
_BEHIND_MAGIC = 8
# Which fields of an Arrow message are its header, of a list of texts the list, and of rows how they are compressed.
_HEADER, _LIST, _COMPRESSION = 2, 1, 3


def arrow(member: Member) -> Iterator[Record | Problem]:
    """Every row of the file, one after another.

    Raises:
        DataError: it is damaged, or its rows are no rows of text.
    """
    with _told(member), _mapped(member) as file:
        yield from one_by_one(_batches(file, member.name))


def arrow_rows(member: Member) -> int:
    """How many rows an Arrow file has."""
    with _told(member), _mapped(member) as file:
        return sum(batch.num_rows for batch in _batches(file, member.name))


@contextmanager
def _told(member: Member) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, struct.error) as error:
        raise DataError(f"{member.name} is a damaged Arrow file: {error}.", hint="Make it again.") from None


@contextmanager
def _mapped(member: Member) -> Iterator[Any]:
    """The file, or a copy of what is packed, as memory that is read from disk where it is looked at."""
    import pyarrow

    with member.open() as opened, tempfile.TemporaryDirectory() as folder:
        path = Path(str(getattr(opened, "name", ""))) if not member.compression else Path(folder) / "copy.arrow"
        if member.compression:
            with path.open("wb") as copy:
                while chunk := opened.read(_BLOCK):
                    copy.write(chunk)
        with pyarrow.memory_map(str(path)) as file:
            yield file


def _batches(file: Any, name: str) -> Iterator[Any]:
    """The rows in groups as they were written.

    Raises:
        DataError: they are compressed.
    """
    from pyarrow import ipc

    begin = _BEHIND_MAGIC if file.read(len(_FILE)) == _FILE else 0
    file.seek(begin)
    for message in ipc.MessageReader.open_stream(file):
        if _compressed(message):
            raise DataError(
                f"{name} holds compressed rows, and what they unpack to is not known.",
                hint="Save the data set with to_parquet instead.",
            )
    file.seek(begin)
    yield from ipc.open_stream(file)


def _compressed(message: Any) -> bool:
    if message.type not in ("record batch", "dictionary"):
        return False
    data = bytes(message.metadata)
    rows = _inner(data, _field(data, _inner(data, 0), _HEADER))
    if message.type == "dictionary":
        rows = _inner(data, _field(data, rows, _LIST))
    return bool(_field(data, rows, _COMPRESSION))


def _inner(data: bytes, place: int) -> int:
    """Where the table is that the reference at `place` points to."""
    return place + struct.unpack_from("<I", data, place)[0]


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table is; 0 where the table has none."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    place = 4 + 2 * number
    offset = struct.unpack_from("<H", data, fields + place)[0] if place < struct.unpack_from("<H", data, fields)[0] else 0
    return table + offset if offset else 0
