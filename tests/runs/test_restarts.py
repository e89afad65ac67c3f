"""A queue of real trainings under real servers that are ended and started again: each run once, in order, one at a time.

With AITRAINING_TEST_RUNS=50 it is that many runs, also under one server alone; it tells its figures with -s.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.params import LLMTrainingParams
from engine.runs import events, line, queue
from engine.runs.status import State
from tests.browser.conftest import Server

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the standby needs Linux")]

RUNS = int(os.environ.get("AITRAINING_TEST_RUNS", "3"))
SERVERS = [2] if RUNS < 20 else [1, 2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    root = tmp_path / "runs"
    root.mkdir()
    return root


@pytest.fixture
def servers(home: Path, request: pytest.FixtureRequest) -> Iterator[list[Server]]:
    made = [Server(home) for _ in range(request.param)]
    yield made
    for server in made:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@pytest.mark.parametrize("servers", SERVERS, indirect=True)
def test_every_run_of_a_queue_is_done_once_and_in_order_through_restarts(
    home: Path, servers: list[Server], wait_until: Callable[..., None]
) -> None:
    began = time.monotonic()
    settings = {"max_steps": 1, "batch_size": 1, "valid_fraction": 0, "sample_tokens": 0, "max_samples": 4}
    line.pause(home)
    runs = [
        queue.enqueue(LLMTrainingParams(trainer="sft", data_path="sample:neighbours", **settings), root=home)
        for _ in range(RUNS)
    ]
    for server in servers:
        server.start()
    time.sleep(2.5)
    assert all(run.waits for run in runs), "the pause outlives the restart of everything"
    line.go_on(home)

    def done() -> int:
        return sum(run.written_status().state is State.DONE for run in runs)

    first, last = servers[0], servers[-1]
    wait_until(lambda: done() >= RUNS // 3, 60 + 10 * RUNS)
    first.stop()  # SIGTERM, while runs are started and end
    first.start()
    wait_until(lambda: done() >= 2 * RUNS // 3, 60 + 10 * RUNS)
    last.kill()  # SIGKILL
    last.start()
    wait_until(lambda: all(run.status().ended_state for run in runs), 60 + 20 * RUNS)

    ended = [run.status() for run in runs]
    assert [status.state for status in ended] == [State.DONE] * RUNS, [status.reason for status in ended]
    for run in runs:  # a second worker would have counted tokens and trained again
        found, _ = events.read(run.events_file)
        assert sum(event["type"] == "phase" and event["phase"] == "Counting tokens" for event in found) == 1
        assert [event["step"] for event in found if event["type"] == "metric"].count(1) >= 1
        assert "launched anew" not in run.log_file.read_text() and "Another process" not in run.log_file.read_text()
    times = [(status.started or 0.0, status.ended or 0.0) for status in ended]
    assert times == sorted(times), "in the order in which they came"
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times)), "one at a time"
    assert not line.waiting(home)
    each = (times[-1][1] - times[0][0]) / RUNS
    print(f"\n{RUNS} runs, {len(servers)} servers: {time.monotonic() - began:.0f} s in all, {each:.2f} s a run with restarts")
