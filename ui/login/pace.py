"""Keeps one person from filling the disk with uploads faster than anybody could mean to."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

# Uploads of one person within the time below; a data set is a file or two.
UPLOADS = 60
WITHIN_S = 60.0
_PEOPLE = 10_000


class Pace:
    """When whom was let upload."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._when: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, person: str) -> float:
        """Seconds until this person may upload again; 0 for at once, which then counts as an upload."""
        now, when = self._clock(), self._when.setdefault(person, deque(maxlen=UPLOADS))
        self._when.move_to_end(person)
        while len(self._when) > _PEOPLE:
            self._when.popitem(last=False)
        if len(when) == UPLOADS and now - when[0] < WITHIN_S:
            return WITHIN_S - (now - when[0])
        when.append(now)
        return 0.0
