"""What comes out of gzip and zip files: with limits, and with plain words where one is damaged."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from engine.errors import DataError

LARGEST_UNPACKED = 64 << 30
_BLOCK = 1 << 16
# Of a gzip file, how much is unpacked to tell how large the rest is; packed bytes too, for they are read in blocks.
_ENOUGH, _ENOUGH_PACKED, _MOST = 48 << 20, 1 << 20, 512 << 20


def gunzipped(path: Path) -> BinaryIO:
    """What a gzip file holds, as it is read."""
    return bounded(lambda: cast("IO[bytes]", gzip.open(path)), path.name)


def bounded(opener: Callable[[], IO[bytes]], name: str) -> BinaryIO:
    """The stream that `opener` opens, with a limit on what comes out of it.

    Raises:
        DataError: it cannot be unpacked.
    """
    try:
        with whole(name):
            return io.BufferedReader(_Bounded(opener(), name))  # type: ignore[arg-type, return-value]
    except (RuntimeError, NotImplementedError) as error:  # a password, a rare way of packing
        raise DataError(f"{name} cannot be unpacked: {error}.", hint="Unpack it yourself, and use what is inside.") from None


@contextmanager
def whole(name: str) -> Iterator[None]:
    """What unpackers say of a damaged file, in plain words.

    Raises:
        DataError: it is one.
    """
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, struct.error, ValueError) as error:
        raise _damaged(name, error) from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the file's beginning; anything else is the disk's
            raise
        raise _damaged(name, "it points outside of itself") from None


def _damaged(name: str, why: object) -> DataError:
    return DataError(f"{name} is a packed file that ends too early or is damaged ({why}).", hint="Fetch or make it again.")


class _Bounded(io.BufferedIOBase):
    """A gzip or zip stream that says in plain words when it is damaged, and that ends a bomb."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream, self._name, self._given = stream, name, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        with whole(self._name):
            data = self._stream.read(size if size is not None else -1)
        self._given += len(data)
        if self._given > LARGEST_UNPACKED:
            raise DataError(f"{self._name} unpacks to more than {LARGEST_UNPACKED >> 30} GB.", hint="Unpack it yourself.")
        return data

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(size if size > 0 else _BLOCK)

    def close(self) -> None:
        self._stream.close()
        super().close()


def unpacked_sizes(paths: Iterable[Path]) -> int:
    """About how many bytes gzip files have when unpacked: counted while it is soon done, else told from how far the beginning
    shrank. The size that stands at a gzip file's end is not to be trusted.

    Raises:
        DataError: one is damaged in what is looked at.
    """
    given = taken = total = 0
    for path in paths:
        size = path.stat().st_size
        if given > _MOST:  # many files: the first have told how far such files shrink
            total += given * size // taken
            continue
        out, read = _unpacked_until_enough(path)
        given, taken = given + out, taken + read
        total += out * size // max(read, 1)
    return total


def _unpacked_until_enough(path: Path) -> tuple[int, int]:
    """Bytes that came out of a gzip file, and bytes of it that were read for that."""
    out = 0
    with path.open("rb") as packed, whole(path.name), gzip.GzipFile(fileobj=packed) as stream:
        while out < _ENOUGH or (packed.tell() < _ENOUGH_PACKED and out < _MOST):
            block = stream.read(_BLOCK * 16)
            if not block:
                return out, path.stat().st_size
            out += len(block)
        return out, packed.tell()
