"""Workers that are small scripts: they take the run's lock and write its status, as a real worker does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.runs import launcher, queue

# Takes the lock, says that it trains, waits for the file `go` and ends as that file says; `die` ends it without a word.
WORKER = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from engine.runs.directory import RunDirectory
from engine.runs.status import State
run = RunDirectory(Path(json.loads(sys.argv[1])["run"]))
lock = run.lock()
assert lock.acquire(timeout_s=5)
run.update_status(state=State.TRAINING, started=time.time(), step=1, total_steps=9)
go = run.path / "go"
while not go.is_file() or not go.read_text():
    time.sleep(0.02)
end = go.read_text()
if end != "die":
    run.update_status(state=State(end), ended=time.time())
"""
PROJECT = str(Path(queue.__file__).parents[2])


@pytest.fixture
def workers(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Fake workers take the place of cold starts; those that are left are killed when the test ends."""
    started: list[subprocess.Popen[bytes]] = []

    def cold(job: str, args: dict[str, Any], *_: Any, output: Any = None, **__: Any) -> subprocess.Popen[bytes]:
        assert job == "train"
        argv = [sys.executable, "-c", WORKER, json.dumps(args), PROJECT]
        started.append(subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, start_new_session=True))
        return started[-1]

    monkeypatch.setattr(launcher, "_cold", cold)
    yield started
    for process in started:
        process.kill()
        process.wait()
