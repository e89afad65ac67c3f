"""The time that a training's speed is measured in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class TrainingClock:
    """Stands still while a run does something beside its training: measures, answers, writes a checkpoint."""

    def __init__(self) -> None:
        self._beside = 0.0

    def seconds(self) -> float:
        return time.monotonic() - self._beside

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While something else is done; one such work within another counts once."""
        before, began = self._beside, time.monotonic()
        try:
            yield
        finally:
            self._beside = before + time.monotonic() - began
