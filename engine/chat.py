"""The playground's side of a talk: sends a question to the chat process and gives the pieces of its answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from engine.errors import StudioError
from engine.people import who
from engine.runs.channel import Channel

_IDLE_S = 300.0
# The first answer may have to download a model.
_ANSWER_S = 1800.0


class ChatSession:
    """One chat process for the whole app. It starts with the first question and ends when it is closed or idle, or when
    another person asks: what it has loaded is of one person only."""

    def __init__(self) -> None:
        self._talk = threading.Lock()
        self._channel: Channel | None = None
        self._hub = False  # whether the process may ask the Hub, and has the token for it
        self._of = ""
        self._used = time.monotonic()

    @property
    def open(self) -> bool:
        """Whether the process of whoever asks is there, and with it the memory that it takes."""
        return self._channel is not None and self._of == who().id

    def answer(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Pieces of the answers as they are made (see engine/worker/chat.py); closing the iterator stops them.

        While nothing comes (a model is being loaded) a `{"type": "wait"}` is given every second, so that whoever iterates
        can see in between that nobody listens any more.

        Raises:
            StudioError: the process died or was closed, or somebody else is being answered.
        """
        if not self._talk.acquire(timeout=30):
            raise StudioError("The playground is answering somebody else.", hint="Try again in a moment.")
        try:
            yield from self._exchange(request)
        finally:
            self._used = time.monotonic()
            self._talk.release()

    def close(self) -> None:
        """End the process of whoever asks; its memory goes back to the machine."""
        if self._of == who().id:
            self._end()

    def _end(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.hang_up()
            channel.close()

    def _exchange(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        channel = self._opened(request)
        try:
            channel.send({"do": "answer", **request})
        except BrokenPipeError:
            self._end()
            raise _died() from None
        finished, deadline = False, time.monotonic() + _ANSWER_S
        try:
            while True:
                try:
                    message = channel.receive(1.0)
                except TimeoutError:
                    if time.monotonic() > deadline:
                        self._end()
                        raise StudioError("The models did not answer in half an hour.") from None
                    yield {"type": "wait", "id": request.get("id")}
                    continue
                if message is None:
                    if self._channel is not channel:
                        raise StudioError("The models were put out of memory.", hint="Ask again to load them anew.")
                    self._end()
                    raise _died()
                deadline = time.monotonic() + _ANSWER_S
                finished = message["type"] == "done"
                yield message
                if finished:
                    return
        finally:
            if not finished and self._channel is channel:
                self._hush(channel)

    def _opened(self, request: dict[str, Any]) -> Channel:
        """The process of whoever asks. One that may ask the Hub, and has the token for it, only if something has to come from
        there."""
        from engine.hub.needs import lacks
        from engine.runs.launcher import open_worker

        wants_hub = any(lacks(name) for name in request.get("models") or ())
        if self._of != who().id or (wants_hub and not self._hub):
            self._end()
        if self._channel is None:
            self._hub, self._of = wants_hub, who().id
            self._channel = open_worker("chat", {}, hub=wants_hub)
            threading.Thread(target=self._end_when_idle, name="chat", daemon=True).start()
        return self._channel

    def _hush(self, channel: Channel) -> None:
        """Stop an answer that nobody listens to, and read what is left of it."""
        try:
            channel.send({"do": "stop"})
            while (message := channel.receive(30)) is not None and message["type"] != "done":
                pass
        except (OSError, TimeoutError):
            self._end()

    def _end_when_idle(self) -> None:
        while self._channel is not None:
            time.sleep(_IDLE_S / 10)
            if time.monotonic() - self._used > _IDLE_S and self._talk.acquire(blocking=False):
                try:
                    self._end()
                finally:
                    self._talk.release()


def _died() -> StudioError:
    return StudioError(
        "The process that held the models ended without a word.",
        hint="It most likely ran out of memory: choose smaller models, or one side only. Asking again starts a new one.",
    )
