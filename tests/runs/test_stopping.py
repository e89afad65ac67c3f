"""A worker that was asked to stop: one that gives signs of life is waited for, a silent one is ended.

The workers are small scripts in processes of their own that hold the run's lock, as a real worker does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.runs import launcher
from engine.runs.directory import RunDirectory
from engine.runs.status import State, Status

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="process groups are ended on Linux"),
]

GRACE_S = 1.0
# Once it is asked to stop it works on for two and a half times the grace, which a large model's saving may take, and
# then ends by itself. It hears no SIGTERM, which means no more to it than the request that it has.
WORKER = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import psutil
from engine.runs.directory import RunDirectory
from engine.runs.status import State
signal.signal(signal.SIGTERM, lambda *_: None)
run, sign, grace = RunDirectory(Path(sys.argv[1])), sys.argv[3], float(sys.argv[4])
lock = run.lock()
assert lock.acquire(timeout_s=5)
started = psutil.Process().create_time()
run.update_status(state=State.TRAINING, launched=1.0, started=1.0, pid=os.getpid(), pid_started=started)
while not run.stop_requested:
    time.sleep(0.01)
end = time.monotonic() + 2.5 * grace
while time.monotonic() < end:
    if sign == "lock":
        os.utime(run.lock_file)
    elif sign == "checkpoint":
        with (run.checkpoints_dir / "checkpoint-1" / "model.safetensors").open("ab") as file:
            file.write(b"weights")
    time.sleep(0.02)
run.update_status(state=State.STOPPED, reason="It saved and ended by itself.")
"""
PROJECT = str(Path(launcher.__file__).parents[2])


@pytest.fixture
def work(
    runs_root: Path, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Status]]:
    """Starts a worker that gives one kind of sign of life, asks it to stop, and waits for its end."""
    monkeypatch.setattr(launcher, "GRACE_S", GRACE_S)
    monkeypatch.setattr(launcher, "TERM_S", 0.3)
    processes: list[subprocess.Popen[bytes]] = []

    def begin(sign: str) -> Status:
        run = RunDirectory.create({"trainer": "sft"}, sign, runs_root)
        (run.checkpoints_dir / "checkpoint-1").mkdir(parents=True)
        argv = [sys.executable, "-c", WORKER, str(run.path), PROJECT, sign, str(GRACE_S)]
        processes.append(subprocess.Popen(argv, start_new_session=True))
        wait_until(lambda: run.written_status().state is State.TRAINING)
        launcher.stop(run)
        wait_until(lambda: run.status().ended_state)
        return run.status()

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize("sign", ["lock", "checkpoint"])
def test_a_worker_that_gives_signs_of_life_is_waited_for(work: Callable[[str], Status], sign: str) -> None:
    status = work(sign)
    assert (status.state, status.reason) == (State.STOPPED, "It saved and ended by itself.")


def test_a_worker_that_is_silent_is_ended(work: Callable[[str], Status]) -> None:
    status = work("none")
    assert status.state is State.STOPPED
    assert "ended by force" in status.reason


def test_a_run_that_is_deleted_the_moment_it_has_ended_is_gone(runs_root: Path) -> None:
    run = RunDirectory.create({"trainer": "sft"}, "deleted", runs_root)
    run.update_status(state=State.TRAINING, launched=1.0, started=1.0)
    shutil.rmtree(run.path)
    launcher._end_later(run, None)
