"""What runs while the app is open: the queue is dispatched again and again, whatever happens to one of the times."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import lifetime
from engine.runs import queue


class Soon(threading.Event):
    """An event of which nobody waits long; remembers how long they wished to."""

    def __init__(self) -> None:
        super().__init__()
        self.wished: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.wished.append(timeout)
        return super().wait(0.01)


def dispatchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dispatch"]


@pytest.fixture
def closing(runs_root: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]) -> Iterator[Soon]:
    """The app may be opened, without a standby; its thread is gone when the test ends."""
    monkeypatch.setenv("AITRAINING_STANDBY", "0")
    soon = Soon()
    monkeypatch.setattr(lifetime, "_closing", soon)
    yield soon
    lifetime.close_app()
    wait_until(lambda: not dispatchers(), 10)


def test_the_queue_is_dispatched_until_the_app_is_closed(
    closing: Soon, runs_root: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(queue, "dispatch", lambda root: asked.append(root) or [])
    lifetime.open_app()
    wait_until(lambda: len(asked) >= 3, 10)
    assert set(asked) == {runs_root.resolve()}
    lifetime.close_app()
    wait_until(lambda: not dispatchers(), 10)
    assert set(closing.wished) == {1.0}


def test_a_bad_moment_does_not_stop_the_queue_for_good(
    closing: Soon, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    troubles = [OSError(28, "No space left on device"), ValueError("damaged"), TimeoutError("the lock")]
    asked: list[Exception | None] = []

    def dispatch(root: Path) -> list[str]:
        asked.append(troubles.pop(0) if troubles else None)
        if asked[-1] is not None:
            raise asked[-1]
        return []

    monkeypatch.setattr(queue, "dispatch", dispatch)
    lifetime.open_app()
    wait_until(lambda: None in asked, 10)
    assert len(dispatchers()) == 1
    assert "No space left on device" in capfd.readouterr().err  # and it was told
    assert closing.wished.count(10.0) == 3  # and not again and again in every second of a bad hour
