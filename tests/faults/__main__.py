"""`python -m tests.faults --runs 200 --seed 1`: the long fault test. Prints a table; exits with 1 if one promise was broken."""

from __future__ import annotations

import argparse
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.faults.checks import within
from tests.faults.course import Course
from tests.faults.studio import Studio, ours
from tests.faults.tally import Tally


def work(root: Path, numbers: Iterator[int], seed: str, tally: Tally, longest_stop_s: float, until: float) -> None:
    """Courses on one runs folder, one after the other; at the end nothing of it may be alive."""
    studio = Studio(root)
    studio.start()
    within(60, studio.warm)
    try:
        for number in numbers:
            if time.monotonic() > until:
                break
            try:
                Course(studio, number, seed, tally, longest_stop_s).run()
            except Exception:  # told and counted; the next course is of another run
                tally.defect("lost", f"course {number} broke off: {traceback.format_exc()}")
                if not studio.alive:
                    studio.start()
    finally:
        if studio.alive:
            studio.end(signal.SIGTERM)
    if not within(120, lambda: not list(ours(root))):
        left = [(process.pid, process.cmdline()) for process in ours(root)]
        tally.defect("orphans", f"{left} live on after the last server")
    litter = [path.name for path in studio.temporary.glob("aitraining-*")]
    if litter:
        tally.defect("orphans", f"{len(litter)} folders of standbys that are gone: {litter[:3]}")


def faults(
    runs: int, seed: str, home: Path, *, roots: int = 2, first: int = 0, longest_stop_s: float = 60.0, minutes: float = 1e6
) -> Tally:
    """Do `runs` courses on `roots` folders at a time and return what was counted."""
    tallies = [Tally() for _ in range(roots)]
    until = time.monotonic() + 60 * minutes
    numbers = iter(range(first, first + runs))
    one_by_one = threading.Lock()

    def drawn() -> Iterator[int]:
        while True:
            with one_by_one:
                number = next(numbers, None)
            if number is None:
                return
            print(f"[{time.strftime('%H:%M:%S')}] course {number}", flush=True)
            yield number

    threads = [
        threading.Thread(target=work, args=(home / f"runs-{n}", drawn(), seed, tallies[n], longest_stop_s, until))
        for n in range(roots)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole


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
        roots=asked.roots,
        first=asked.first,
        longest_stop_s=asked.longest_stop,
        minutes=asked.minutes,
    )
    print(tally.table())
    if not (asked.keep or tally.defects):
        shutil.rmtree(home)
    return 1 if tally.defects else 0


if __name__ == "__main__":
    raise SystemExit(main())
