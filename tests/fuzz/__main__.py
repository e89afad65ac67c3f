"""`python -m tests.fuzz --inputs 10000`: the long fuzz. Half of the inputs in this process, half over HTTP to a real server,
whose memory is measured. Prints what was sent and found; exits with 1 at the first input that is not answered as promised.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from tests.faults.studio import PROJECT, Studio
from tests.fuzz import inputs
from tests.fuzz.server import Busy, Feeder

_KINDS = {"files": 0.4, "settings": 0.3, "bodies": 0.15, "names": 0.15}


def over_http(count: int, number: int) -> list[str]:
    """Feed a real server; lines that tell what came of it."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        studio = Studio(Path(home) / "runs")
        studio.start()
        try:
            busy, feeder = Busy(studio.root), Feeder(studio.port, random.Random(number))
            assert studio.process is not None
            server, memory = psutil.Process(studio.process.pid), []
            _feed(feeder, count, number, lambda: memory.append(server.memory_info().rss))
            busy.lock.release()
        finally:
            studio.end(signal.SIGTERM)
        log = studio.log.read_text(errors="replace")
    tenth = len(memory) // 10
    levels = [statistics.median(memory[n * tenth : (n + 1) * tenth]) / 1e6 for n in range(10)]
    return [
        f"over HTTP: {len(memory):,} inputs; the slowest answer took {feeder.slowest:.1f} s",
        f"memory of the server by tenths of the inputs, MB: {' '.join(f'{level:.1f}' for level in levels)}",
        f"tracebacks in its log: {log.count('Traceback')}",
    ]


def _feed(feeder: Feeder, count: int, number: int, after: Any) -> None:
    texts = st.text(max_size=30)
    sent: dict[str, tuple[Any, Any]] = {
        "files": (inputs.files(), lambda one: feeder.file(*one)),
        "settings": (inputs.settings(), feeder.settings),
        "bodies": (st.binary(max_size=300), feeder.body),
        "names": (st.tuples(texts, texts | st.integers().map(str)), lambda one: feeder.names(*one)),
    }
    rounds = 20  # all kinds by turns, so that memory is of them all from the beginning to the end
    for turn in range(rounds):
        for kind, (strategy, send) in sent.items():
            _many(strategy, send, after, math.ceil(count * _KINDS[kind] / rounds), number * 1000 + turn)


def _many(strategy: Any, send: Any, after: Any, count: int, number: int) -> None:
    def each(one: Any) -> None:
        send(one)
        after()

    how = settings(
        max_examples=max(1, count),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
    )
    seed(number)(how(given(strategy)(each)))()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began, each = time.monotonic(), asked.inputs // 2 // 4
    env = {**os.environ, "FUZZ_EXAMPLES": str(each)}
    here = subprocess.run([sys.executable, "-m", "pytest", "tests/fuzz", "-q", "-W", "ignore"], cwd=PROJECT, env=env)
    print(
        f"in one process: {4 * each:,} inputs, {'all as promised' if here.returncode == 0 else 'NOT as promised'}", flush=True
    )
    print("\n".join(over_http(asked.inputs - 4 * each, asked.seed)), f"{time.monotonic() - began:.0f} s in all", sep="\n")
    return here.returncode


if __name__ == "__main__":
    raise SystemExit(main())
