"""Courses one after the other, on one or more runs folders at a time, each with a server of its own."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.faults.checks import within
from tests.faults.course import Course, How
from tests.faults.studio import Studio, ours
from tests.faults.tally import Tally


def work(root: Path, numbers: Iterator[int], seed: str, tally: Tally, how: How, until: float) -> None:
    """Courses on one runs folder, one after the other; at the end nothing of it may be alive."""
    studio = Studio(root)
    studio.start()
    within(60, studio.warm)
    try:
        for number in numbers:
            if time.monotonic() > until:
                break
            try:
                Course(studio, number, seed, tally, how).run()
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


def faults(runs: int, seed: str, home: Path, how: How, *, roots: int = 2, first: int = 0, minutes: float = 1e6) -> Tally:
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
        threading.Thread(target=work, args=(home / f"runs-{n}", drawn(), seed, tallies[n], how, until)) for n in range(roots)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole
