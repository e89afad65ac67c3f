"""`python -m tests.faults --runs 200 --seed 1`: the long fault test. Prints a table; exits with 1 if one promise was broken."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from tests.faults.course import How
from tests.faults.many import faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first course, to see one again")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--roots", type=int, default=2, help="runs folders at a time, each with a server of its own")
    parser.add_argument("--longest-stop", type=float, default=60.0, help="seconds that a process is stopped at most")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no course after this many")
    parser.add_argument("--keep", action="store_true", help="leave the runs where they are")
    asked = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="faults-"))
    print(f"runs in {home}", flush=True)
    tally = faults(
        asked.runs,
        asked.seed,
        home,
        How(longest_stop_s=asked.longest_stop),
        roots=asked.roots,
        first=asked.first,
        minutes=asked.minutes,
    )
    print(tally.table())
    if not (asked.keep or tally.defects):
        shutil.rmtree(home)
    return 1 if tally.defects else 0


if __name__ == "__main__":
    raise SystemExit(main())
