"""Reads one JSON document of any size a value at a time, in memory bounded by its largest value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

# One row of more than this is no row of a text data set.
LARGEST_VALUE = 64 << 20
_CHUNK = 1 << 16


class BrokenJson(ValueError):
    """The text is not JSON; `line` is where."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def parse(text: str) -> Any:
    """One JSON value. NaN and Infinity, which are not JSON, come out as None: no number is there.

    Raises:
        ValueError: it is not JSON, or nested deeper than anything real.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


class JsonStream:
    """A cursor over JSON text that is read as it is needed."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._buffer, self._at = file, "", 0
        self._lines, self._ended = 1, False
        self.read = 0  # characters so far

    @property
    def line(self) -> int:
        return self._lines + self._buffer.count("\n", 0, self._at)

    def peek(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in " \t\r\n\ufeff":
                    return self._buffer[self._at]
                self._at += 1
            if not self._more(_CHUNK):
                return ""

    def take(self, expected: str) -> None:
        found = self.peek()
        if found != expected:
            what = repr(found) if found else "the end of the file"
            raise BrokenJson(f"expected {expected!r} but found {what}", self.line)
        self._at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        if self._at > max(_CHUNK, len(self._buffer) // 2):  # not for every value: what is left may be large
            self._forget()
        size = _CHUNK
        while True:
            try:
                made, end = _DECODER.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise BrokenJson("it is nested too deeply", self.line) from None
            except json.JSONDecodeError as error:
                if len(self._buffer) - self._at > LARGEST_VALUE:
                    raise BrokenJson(f"one value is larger than {LARGEST_VALUE >> 20} MB", self.line) from None
                if not self._more(size):
                    raise BrokenJson(error.msg, self.line) from None
                size *= 2  # so that a large value is not parsed again for every chunk
            except ValueError:  # a number of thousands of digits
                raise BrokenJson("a number has too many digits", self.line) from None
            else:
                # a number at the end of the buffer may go on in the next chunk
                if end < len(self._buffer) or not self._more(size):
                    self._at = end
                    return made

    def items(self) -> Iterator[Any]:
        """The values of the array that comes next."""
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() == ",":
                self.take(",")
            elif self.peek() != "]":
                self.take("]")
        self.take("]")

    def _more(self, size: int) -> bool:
        if self._ended:
            return False
        chunk = self._file.read(size)
        self._ended = not chunk
        self.read += len(chunk)
        self._buffer += chunk
        return bool(chunk)

    def _forget(self) -> None:
        self._lines += self._buffer.count("\n", 0, self._at)
        self._buffer, self._at = self._buffer[self._at :], 0
