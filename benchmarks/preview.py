"""(d) How long the first look at a file takes and how much memory it needs: 10 MB, 100 MB and 1 GB of JSON Lines.

    python benchmarks/preview.py

Reach: flat memory, at most 5 s.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import environment

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"10 MB": 10_000_000, "100 MB": 100_000_000, "1 GB": 1_000_000_000}

LOOK = """
import resource, sys, time
from engine import api
from engine.data import inspect
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
seen = api.inspect_data(sys.argv[1], "sft")
took = time.perf_counter() - began
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{took:.2f} s  peak {after / 1024:.0f} MB ({(after - before) / 1024:+.0f} MB for the file)  {seen.rows:,} rows, "
      f"{'counted' if seen.rows_exact else 'estimated'}")
"""


def main() -> None:
    row = {"messages": [{"role": "user", "content": "What is it? " * 8}, {"role": "assistant", "content": "It is this. " * 20}]}
    line = (json.dumps(row) + "\n").encode()
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            file = Path(folder) / "rows.jsonl"
            block = line * (1_000_000 // len(line))
            with file.open("wb") as opened:
                for _ in range(size // len(block)):
                    opened.write(block)
            done = subprocess.run(
                [sys.executable, "-c", LOOK, str(file)], capture_output=True, text=True, cwd=ROOT, env=environment(), check=True
            )
            print(f"{name:7} {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
