"""Several files as one zip that is made while it is sent: nothing is written to the disk, and memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
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


def zipped(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """The zip of files by their names in it, in pieces. They are stored as they are: weights do not get smaller."""
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_STORED) as archive:  # type: ignore[arg-type]  # all that is asked of a file is to be written
        for name, path in files:
            about = ZipInfo.from_file(path, name, strict_timestamps=False)
            with path.open("rb") as file, archive.open(about, "w") as part:
                while piece := file.read(_PIECE):
                    part.write(piece)
                    yield sink.take()
    yield sink.take()
