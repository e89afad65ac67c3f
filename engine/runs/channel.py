"""JSON messages, one a line, both ways over one socket: how the app talks to a process that holds a model."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from types import TracebackType
from typing import Any

Message = dict[str, Any]


class Channel:
    """One end of a connection; a context manager. Closing it tells the other side that we are gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""

    def send(self, message: Message) -> None:
        """Send one message.

        Raises:
            BrokenPipeError: the other side is gone, or this one was closed.
        """
        line = json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        try:
            self._socket.sendall(line)
        except OSError as error:
            raise BrokenPipeError(str(error)) from error

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when the other side is gone.

        Raises:
            TimeoutError: nothing came within `timeout_s` seconds.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            try:
                ready = self.readable(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except (OSError, ValueError):
                return None  # closed on our side by another thread
            if not ready:
                raise TimeoutError(f"no answer within {timeout_s:.0f} seconds")
            try:
                data = self._socket.recv(1 << 16)
            except OSError:
                return None  # reset by the other side, or closed on ours by another thread
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line.decode("utf-8", "surrogatepass"))

    def readable(self, timeout_s: float | None = 0.0) -> bool:
        """Whether something (a message, or the end) can be read within `timeout_s` seconds."""
        return b"\n" in self._buffer or bool(select.select([self._socket], [], [], timeout_s)[0])

    def fileno(self) -> int:
        return self._socket.fileno()

    def hang_up(self) -> None:
        """End the connection for every process that holds it, and wake whoever waits in `receive`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
