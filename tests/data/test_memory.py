"""A file much larger than what is looked at: the look stays quick and small, for nothing is read whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc"),
]

_SIZE = 200 << 20

# Runs by itself, so that the peak is that of the look and not of the tests before it. It is read from /proc, for
# ru_maxrss is handed down to a new program and would hide the growth below the size of the tests' own process.
_LOOK = """
import json, re, sys, time
import engine.data

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])

before = peak()
began = time.monotonic()
seen = engine.data.inspect(sys.argv[1])
took = time.monotonic() - began
print(json.dumps({"kb": peak() - before, "seconds": took, "rows": seen.rows, "exact": seen.rows_exact,
                  "kind": seen.kind, "torch": "torch" in sys.modules}))
"""


def _write(path: Path, head: str, between: str, tail: str) -> int:
    """Rows of about 400 bytes up to 200 MB; returns how many."""
    texts = [f"Sentence {i} of the story of the harbour. " * (5 + i % 7) for i in range(997)]
    rows = [json.dumps({"question": text[:60], "answer": text}) for text in texts]
    block = between.join(rows)
    blocks = _SIZE // len(block)
    with path.open("w", encoding="utf-8") as file:
        file.write(head)
        for place in range(blocks):
            file.write((between if place else "") + block)
        file.write(tail)
    return blocks * len(rows)


@pytest.mark.parametrize("name,parts", [("big.jsonl", ("", "\n", "\n")), ("big.json", ("[", ",\n", "]"))])
def test_a_look_at_200_mb_is_small_and_quick(name: str, parts: tuple[str, str, str], tmp_path: Path) -> None:
    path = tmp_path / name
    try:
        rows = _write(path, *parts)
        done = subprocess.run([sys.executable, "-c", _LOOK, str(path)], capture_output=True, text=True, timeout=60)
    finally:
        path.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["kb"] < 150 * 1024
    assert seen["seconds"] < 5
    assert seen["kind"] == "chat" and not seen["exact"]
    assert abs(seen["rows"] - rows) < rows * 0.1
    assert not seen["torch"]  # the page must not wait for it


def test_a_text_that_stands_in_many_rows_of_a_parquet_file_is_not_there_many_times(tmp_path: Path) -> None:
    """A thousand bytes that hold 2 GB: the file has the text once. The look ends early, and all rows come one by one."""
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "same.parquet"
    rows = 512
    texts = pyarrow.DictionaryArray.from_arrays([0] * rows, ["x" * (4 << 20)])
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path, compression="zstd", store_schema=False)
    look = _LOOK.replace("took =", "count = sum(1 for file in source_of(sys.argv[1]).files for _ in read(file))\ntook =")
    look = "from engine.data.readers import read\nfrom engine.data.source import source_of\n" + look
    look = look.replace('"exact"', '"looked": seen.looked_at, "count": count, "exact"')
    done = subprocess.run([sys.executable, "-c", look, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["kb"] < 400 * 1024
    assert (seen["rows"], seen["count"]) == (rows, rows) and seen["looked"] < 50
