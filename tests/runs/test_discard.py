"""Stop and discard: nothing of the worker's process group survives, and nothing is deleted while it lives. A stale wish does
nothing to a later run of the same name. The workers are small scripts in groups of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine import api
from engine.errors import RunActive, RunError
from engine.params import LLMTrainingParams
from engine.runs import discard, launcher, listing, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="process groups are ended on Linux")

# It starts a child that hears no SIGTERM, and does as `how` says when it is asked to stop: `leave` ends by itself.
WORKER = """
import os, signal, subprocess, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import psutil
from engine.runs.directory import RunDirectory
from engine.runs.status import State
run = RunDirectory(Path(sys.argv[1]))
lock = run.lock()
assert lock.acquire(timeout_s=5)
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(120)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
(run.path / "child").write_text(str(child.pid))
started = psutil.Process().create_time()
run.update_status(state=State.TRAINING, launched=1.0, started=1.0, pid=os.getpid(), pid_started=started)
while not (run.stop_requested and sys.argv[3] == "leave"):
    time.sleep(0.02)
run.update_status(state=State.STOPPED, ended=time.time(), reason="It saved and ended by itself.")
"""
PROJECT = str(Path(launcher.__file__).parents[2])


@pytest.fixture
def work(runs_root: Path, wait_until: Callable[..., None]) -> Iterator[Callable[..., RunDirectory]]:
    """Starts a worker with a child; whatever is left of both is killed when the test ends."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(name: str, how: str = "stay") -> RunDirectory:
        run = RunDirectory.create({"trainer": "sft"}, name, runs_root)
        argv = [sys.executable, "-c", WORKER, str(run.path), PROJECT, how]
        processes.append(subprocess.Popen(argv, start_new_session=True))
        wait_until(lambda: run.written_status().state is State.TRAINING)
        return run

    yield begin
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # as it should be
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def both(run: RunDirectory) -> list[int]:
    worker = run.written_status().pid
    assert worker is not None
    return [worker, int((run.path / "child").read_text())]


def test_a_discarded_run_is_gone_with_all_its_processes(work: Callable[..., RunDirectory]) -> None:
    run = work("unwanted")
    processes = both(run)
    assert all(map(lives, processes))
    assert api.stop("unwanted", discard=True) is True
    assert not any(map(lives, processes))
    assert not run.path.exists()
    assert not list((run.path.parent / ".discard").iterdir())


@pytest.mark.parametrize("how", ["force", "keep"])
def test_nothing_of_a_stopped_workers_group_survives(
    work: Callable[..., RunDirectory], wait_until: Callable[..., None], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the worker heeds the request and leaves its child behind."""
    monkeypatch.setattr(launcher, "TERM_S", 1.0)
    run = work("stopped", "leave" if how == "keep" else "stay")
    processes = both(run)
    api.stop("stopped", force=how == "force")
    wait_until(lambda: not any(map(lives, processes)), 15)
    assert run.status().state is State.STOPPED
    assert run.path.is_dir()


def test_a_worker_that_heeds_before_it_is_watched_leaves_nothing_behind(
    work: Callable[..., RunDirectory], wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = work("quick", "leave")
    processes, ask = both(run), RunDirectory.request_stop

    def ask_and_see_it_end(run: RunDirectory) -> None:
        ask(run)
        wait_until(lambda: run.written_status().state is State.STOPPED and not lives(processes[0]))

    monkeypatch.setattr(RunDirectory, "request_stop", ask_and_see_it_end)
    api.stop("quick")
    wait_until(lambda: not any(map(lives, processes)), 15)


def test_what_lives_is_not_deleted_and_goes_when_it_has_ended(
    work: Callable[..., RunDirectory], wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = work("stubborn")
    with monkeypatch.context() as patched:
        patched.setattr(launcher, "end_now", lambda run: None)  # as if the system would not end it
        assert api.stop("stubborn", discard=True) is False
    assert run.status_file.is_file() and discard.is_discarded(run)
    with pytest.raises(RunActive):
        listing.delete(run)
    assert discard.sweep(run.path.parent) == []
    launcher.stop(run, force=True)
    wait_until(lambda: discard.sweep(run.path.parent) == ["stubborn"])
    assert not run.path.exists()


def test_a_later_run_of_the_same_name_is_not_what_was_discarded(runs_root: Path) -> None:
    params = LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name="name")
    first = queue.enqueue(params)
    queue.stop(first)
    (runs_root / ".discard").mkdir()
    (runs_root / ".discard" / "name").write_text(repr(first.created))  # by somebody who was killed then
    first.path.rename(runs_root / "renamed")
    second = queue.enqueue(params)
    discard.sweep(runs_root)
    assert second.waits and not list((runs_root / ".discard").iterdir())


def test_what_has_ended_is_not_discarded(runs_root: Path) -> None:
    run = RunDirectory.create({"trainer": "sft"}, "done", runs_root)
    run.update_status(state=State.DONE, ended=time.time())
    with pytest.raises(RunError, match="has ended already: it is done"):
        api.stop("done", discard=True)
    assert run.status_file.is_file()


def test_a_waiting_run_is_discarded_without_a_process(runs_root: Path) -> None:
    run = queue.enqueue(LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name="waiting"))
    assert api.stop("waiting", discard=True) is True
    assert not run.path.exists() and queue.waiting(runs_root) == []


@pytest.mark.parametrize("wish", ["stop", "discard", "cancel", "move", "delete", "rename", "resume"])
def test_a_wish_for_a_run_that_is_gone_does_nothing_to_the_next_of_its_name(runs_root: Path, wish: str) -> None:
    params = LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name="name")
    first = queue.enqueue(params)
    stale = {"created": first.created}
    api.stop("name", discard=True, **stale)
    second = queue.enqueue(params)
    before = second.status_file.read_text()
    wishes = {
        "stop": lambda: api.stop("name", **stale),
        "discard": lambda: api.stop("name", discard=True, **stale),
        "cancel": lambda: api.queue.cancel("name", **stale),
        "move": lambda: api.queue.move("name", "first", **stale),
        "delete": lambda: api.delete_run("name", **stale),
        "rename": lambda: api.rename_run("name", "other", **stale),
        "resume": lambda: api.resume("name", **stale),
    }
    with pytest.raises(RunError, match="another run has its name now"):
        wishes[wish]()
    assert second.status_file.read_text() == before and not second.stop_requested
