"""Several files as one zip that is made while it is sent: nothing is written to the disk, and memory stays flat."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

_PIECE = 1 << 20


class _Sink:
    """What a zip is written into, and taken out of in pieces. It cannot be sought in, so sizes stand behind each file."""

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, piece: bytes) -> int:
        self._held += piece
        return len(piece)

    def flush(self) -> None:
        """There is nothing behind it to be filled."""

    def take(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        return taken


def zipped(files: list[tuple[str, BinaryIO]]) -> Iterator[bytes]:
    """The zip of open files by their names in it, in pieces; closes them. They are stored as they are: weights do not get
    smaller. Opened beforehand, they are sent whole also where somebody deletes them meanwhile.
    """
    sink = _Sink()
    try:
        with ZipFile(sink, "w", ZIP_STORED) as archive:  # type: ignore[arg-type]  # all that is asked of a file is to be written
            for name, file in files:
                with archive.open(_about(name, file), "w") as part:
                    while piece := file.read(_PIECE):
                        part.write(piece)
                        yield sink.take()
        yield sink.take()
    finally:
        for _, file in files:
            file.close()


def _about(name: str, file: BinaryIO) -> ZipInfo:
    found = os.fstat(file.fileno())
    made = ZipInfo(name, max(time.localtime(found.st_mtime)[:6], (1980, 1, 1, 0, 0, 0)))
    made.file_size = found.st_size  # beyond 4 GB it takes the large form
    made.external_attr = 0o644 << 16
    return made
