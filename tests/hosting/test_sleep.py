"""A Space that sleeps and wakes: the real server on a stand-in for its storage, ended and begun again as a host does it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.runs import queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State

ROOT = Path(__file__).resolve().parents[2]
_PASSWORD = "the-space-of-ada"
_HEADERS = {"X-Studio": "1", "Authorization": f"Bearer {_PASSWORD}"}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a Space is Linux"),
]


class Space:
    """The server of a Space with a storage; `stop` does what the host does before it takes the container away."""

    def __init__(self, storage: Path) -> None:
        self.storage = storage
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.hub = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=_HEADERS, timeout=30)
        self.log = storage.parent / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        gone = {"AITRAINING_HOME", "AITRAINING_HOST", "HF_HOME"}
        env = {name: value for name, value in os.environ.items() if name not in gone}
        env |= {"SPACE_ID": "ada/studio", "AITRAINING_STORAGE": str(self.storage), "PORT": str(self.port)}
        env |= {"OMP_NUM_THREADS": "1", "AITRAINING_STANDBY": "0", "AITRAINING_HOST": "127.0.0.1"}
        env |= {"AITRAINING_PASSWORD": _PASSWORD}  # a Space lets nobody in without one
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=log, stderr=log)
        deadline = time.monotonic() + 90
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < deadline, self.told()
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return self.hub.get("/studio/runs").is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(30) == 0, self.told()

    def told(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def ask(self, address: str, **body: Any) -> dict[str, Any]:
        answer = self.hub.post(address, json=body)
        assert answer.is_success, answer.text
        return answer.json() or {}


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    (tmp_path / "data").mkdir()
    made = Space(tmp_path / "data")
    try:
        made.start()
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()


@pytest.mark.long  # tests/runs/test_cut_off.py asks it of any machine
def test_a_run_outlives_the_sleep_of_its_space(space: Space, wait_until: Callable[..., None]) -> None:
    runs = space.storage / "runs"
    settings: dict[str, Any] = {"trainer": "sft", "data_path": "sample:neighbours", "model": "starter", "max_steps": 4000}
    settings |= {"epochs": 1000, "batch_size": 1, "max_length": 64, "logging_steps": 1, "save_steps": 4000, "eval_steps": 4000}
    space.ask("/studio/api/runs", **settings, sample_tokens=0, project_name="long")
    space.ask("/studio/api/runs", **settings, sample_tokens=0, project_name="waits")
    run, waits = RunDirectory(runs / "long"), RunDirectory(runs / "waits")
    wait_until(lambda: run.status().step > 3 or run.status().ended_state, 90)
    assert run.status().state is State.TRAINING, space.told() + run.log_file.read_text()

    space.stop()
    assert not run.alive, "it had the time to save"
    status = run.status()
    assert (status.state, status.cause, status.resumable) == (State.INTERRUPTED, "shutdown", True), status
    assert status.reason.startswith("The machine was shut down at step ") and "Resume" in status.hint
    assert waits.status().state is State.QUEUED, "nothing is begun while everything ends"
    assert "long is interrupted" in space.told()

    queue.stop(waits)
    space.start()
    home = space.hub.get("/").text
    assert "spaces/ada/studio?duplicate=true" in home and "Runs are not kept here" not in home
    (listed,) = [one for one in space.hub.get("/studio/runs").json() if one["name"] == "long"]
    assert listed["state"] == "interrupted"
    space.ask("/studio/runs/long/resume")
    wait_until(lambda: run.status().step > status.step or run.status().ended_state, 90)
    assert run.status().state is State.TRAINING and run.status().step > status.step, run.status()

    # now the worker alone hears the system's signal, as on a machine that is switched off
    pid = run.written_status().pid
    assert pid is not None
    os.killpg(pid, signal.SIGTERM)
    wait_until(lambda: not run.alive, 30)
    assert (run.status().state, run.status().cause) == (State.INTERRUPTED, "shutdown")
    space.stop()
