"""Slows guessing down. Some wrong passwords from one address, and it has to wait, longer each time.

Many addresses together cannot go much faster: while there are many wrong ones from anywhere, every answer takes its time.
Nobody is locked out for good, and not by strangers at other addresses.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

# Wrong passwords that are nobody's business: people mistype.
_FREE = 5
_FIRST_WAIT_S = 30.0
_LONGEST_WAIT_S = 900.0
# After so long without a wrong one, an address is as good as new.
_FORGET_S = 3600.0
_ADDRESSES = 10_000
# Wrong ones from everywhere within the time below, from which on every answer is delayed.
_MANY, _WITHIN_S, _DELAY_S = 50, 600.0, 1.0


@dataclass
class _Tally:
    wrong: int = 0
    last: float = 0.0


class Guesses:
    """What was tried from where."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tallies: OrderedDict[str, _Tally] = OrderedDict()
        self._all: deque[float] = deque(maxlen=_MANY)

    def wait_s(self, address: str) -> float:
        """Seconds until a password from this address is looked at again; 0 at once."""
        tally = self._tallies.get(address)
        if tally is None or tally.wrong < _FREE:
            return 0.0
        wait = min(_FIRST_WAIT_S * 2 ** min(tally.wrong - _FREE, 10), _LONGEST_WAIT_S)
        return max(0.0, tally.last + wait - self._clock())

    def delay_s(self) -> float:
        """Seconds that every answer takes now."""
        return _DELAY_S if len(self._all) == _MANY and self._clock() - self._all[0] < _WITHIN_S else 0.0

    def wrong(self, address: str) -> None:
        """A wrong password came from there."""
        now, tally = self._clock(), self._tallies.setdefault(address, _Tally())
        tally.wrong = 1 if now - tally.last > _FORGET_S else tally.wrong + 1
        tally.last = now
        self._tallies.move_to_end(address)
        self._all.append(now)
        while len(self._tallies) > _ADDRESSES:
            self._tallies.popitem(last=False)

    def right(self, address: str) -> None:
        """The right one came from there."""
        self._tallies.pop(address, None)


def in_words(wait_s: float) -> str:
    """How long to wait, for people."""
    return f"{max(1, round(wait_s))} seconds" if wait_s < 90 else f"{round(wait_s / 60)} minutes"
