"""Two runs of the long fault test: `python -m tests.faults` makes hundreds, and kills servers as often as workers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.course import How
from tests.faults.many import faults

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="standbys and process groups are Linux's"),
]


def test_nothing_is_lost_and_nothing_lies(tmp_path: Path) -> None:
    how = How(longest_stop_s=1.0, strikes=(1,), targets=("worker",) * 9 + ("server",), in_the_request=0, from_the_terminal=0)
    tally = faults(2, "ci", tmp_path, how, roots=1)
    assert not tally.defects, tally.table()
    assert tally.counts["started"] == tally.counts["done"] == 2
    assert tally.counts["resumed"] >= 1 and sum(tally.strikes.values()) >= 1, tally.table()
