"""Messages between the app and the processes that hold a model: whole ones, and an end that wakes whoever waits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from engine.runs.channel import Channel


class Watched(Channel):
    """Says when somebody has begun to wait in `receive`."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.waiting = threading.Event()

    def readable(self, timeout_s: float | None = 0.0) -> bool:
        self.waiting.set()
        return super().readable(timeout_s)


@pytest.fixture
def ends() -> Iterator[tuple[Watched, Channel]]:
    here, there = socket.socketpair()
    with Watched(here) as mine, Channel(there) as theirs:
        yield mine, theirs


def listening(channel: Watched) -> tuple[threading.Thread, list[Any]]:
    """A thread that waits for a message without a limit, and where it puts what it gets."""
    heard: list[Any] = []
    thread = threading.Thread(target=lambda: heard.append(channel.receive()), daemon=True)
    thread.start()
    assert channel.waiting.wait(10)
    return thread, heard


def test_messages_arrive_whole_whatever_they_hold(ends: tuple[Watched, Channel]) -> None:
    mine, theirs = ends
    sent = [{"text": "two\nlines \u2028 Größe 🐟"}, {"half": "\ud800 of a pair"}, {"long": "x" * 300_000}, {}]
    sender = threading.Thread(target=lambda: [theirs.send(message) for message in sent])
    sender.start()
    assert [mine.receive(10) for _ in sent] == sent
    sender.join(10)
    with pytest.raises(TimeoutError):
        mine.receive(0.01)


def test_a_hang_up_by_another_thread_wakes_the_one_that_waits(ends: tuple[Watched, Channel]) -> None:
    mine, theirs = ends
    thread, heard = listening(mine)
    mine.hang_up()
    mine.close()
    thread.join(10)
    assert not thread.is_alive()
    assert heard == [None]
    assert theirs.receive(10) is None  # the other side hears of it as well
    mine.hang_up()  # once more is harmless


def test_the_other_sides_end_wakes_the_one_that_waits(ends: tuple[Watched, Channel]) -> None:
    mine, theirs = ends
    thread, heard = listening(mine)
    theirs.close()
    thread.join(10)
    assert heard == [None]


@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_a_closed_channel_gives_nothing(ends: tuple[Watched, Channel], timeout_s: float | None) -> None:
    mine, _ = ends
    mine.close()
    assert mine.receive(timeout_s) is None


def test_what_was_sent_before_the_end_is_still_read(ends: tuple[Watched, Channel]) -> None:
    mine, theirs = ends
    theirs.send({"last": 1})
    theirs.close()
    assert mine.receive(10) == {"last": 1}
    assert mine.receive(10) is None


@pytest.mark.parametrize("who", ["we closed", "we hung up", "they closed"])
def test_nothing_can_be_sent_over_a_connection_that_has_ended(ends: tuple[Watched, Channel], who: str) -> None:
    mine, theirs = ends
    {"we closed": mine.close, "we hung up": mine.hang_up, "they closed": theirs.close}[who]()
    with pytest.raises(BrokenPipeError):
        mine.send({"do": "answer"})
