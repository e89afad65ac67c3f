"""The queue: one run for one request however often it is asked, one run at a time, and nothing that a crash loses.

The workers are small scripts that take the run's lock and write its status, as a real worker does.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunActive, RunError, RunNameTaken
from engine.params import LLMTrainingParams
from engine.runs import launcher, line, listing, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.checkpoint_files import make_checkpoint


def params(name: str | None = None) -> LLMTrainingParams:
    return LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name=name)


def finish(run: RunDirectory, how: str = "done") -> None:
    (run.path / "go").write_text(how)


# ---- one request, one run --------------------------------------------------------------------------------------------


def test_one_request_from_many_threads_is_one_run(runs_root: Path) -> None:
    names: list[str] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        names.append(queue.enqueue(params(), request_id="click").name)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 8
    assert len(set(names)) == 1
    assert len(listing.list_runs(runs_root)) == 1
    assert queue.position(names[0], runs_root) == 0


def _ask(root: str, times: int, names: Any) -> None:
    for number in range(times):
        names.put(queue.enqueue(params(), request_id=f"click {number}", root=Path(root)).name)


def test_one_request_from_two_processes_is_one_run(runs_root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    names = context.Queue()
    asking = [context.Process(target=_ask, args=(str(runs_root), 10, names)) for _ in range(2)]
    for process in asking:
        process.start()
    found = [names.get(timeout=60) for _ in range(20)]
    for process in asking:
        process.join(30)
    assert len(set(found)) == len(listing.list_runs(runs_root)) == 10


def test_without_a_request_id_every_call_is_a_run_with_a_free_name(runs_root: Path) -> None:
    assert [queue.enqueue(params()).name for _ in range(3)] == ["sft-starter-1", "sft-starter-2", "sft-starter-3"]


def test_a_name_that_is_taken_costs_nothing(runs_root: Path) -> None:
    queue.enqueue(params("mine"))
    with pytest.raises(RunNameTaken):
        queue.enqueue(params("mine"), request_id="second")
    assert len(line.waiting(runs_root)) == 1


def test_a_runs_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written") as caught:
        queue.enqueue(params(), root=tmp_path / "file" / "runs")
    assert "AITRAINING_HOME" in caught.value.hint


# ---- one device ------------------------------------------------------------------------------------------------------


def test_runs_take_turns_in_the_order_in_which_they_came(
    runs_root: Path, workers: list[Any], wait_until: Callable[..., None]
) -> None:
    first, second, third = (queue.enqueue(params(name)) for name in ("zebra", "apple", "mango"))
    assert queue.dispatch(runs_root) == ["zebra"]
    assert queue.dispatch(runs_root) == []  # launched, though its lock is not taken yet
    wait_until(lambda: first.status().state is State.TRAINING)
    assert queue.dispatch(runs_root) == []
    assert [queue.position(run.name, runs_root) for run in (first, second, third)] == [None, 0, 1]
    finish(first)
    wait_until(lambda: queue.dispatch(runs_root) == ["apple"])
    assert not first.alive
    wait_until(lambda: second.status().state is State.TRAINING)
    assert queue.position("mango", runs_root) == 0
    assert len(workers) == 2


@pytest.mark.parametrize("end", ["failed", "die"])
def test_the_queue_goes_on_after_a_run_that_went_wrong(
    runs_root: Path, workers: list[Any], wait_until: Callable[..., None], end: str
) -> None:
    first, second = queue.enqueue(params("first")), queue.enqueue(params("second"))
    queue.dispatch(runs_root)
    wait_until(lambda: first.status().state is State.TRAINING)
    finish(first, end)
    wait_until(lambda: queue.dispatch(runs_root) == ["second"])
    assert first.status().state is (State.FAILED if end == "failed" else State.INTERRUPTED)
    wait_until(lambda: second.status().state is State.TRAINING)


def test_many_dispatchers_start_a_run_once(runs_root: Path, workers: list[Any]) -> None:
    queue.enqueue(params("only"))
    queue.enqueue(params("next"))
    started: list[str] = []
    threads = [threading.Thread(target=lambda: started.extend(queue.dispatch(runs_root))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert started == ["only"]
    assert len(workers) == 1


def test_a_run_stopped_while_it_waits_is_passed_over_and_not_counted(runs_root: Path, workers: list[Any]) -> None:
    first, second = queue.enqueue(params("first")), queue.enqueue(params("second"))
    queue.stop(first)
    assert first.status().state is State.STOPPED
    assert queue.position("first", runs_root) is None
    assert queue.position("second", runs_root) == 0
    assert queue.dispatch(runs_root) == [second.name]


def test_a_run_deleted_after_it_was_stopped_in_the_queue_holds_nobody_up(runs_root: Path, workers: list[Any]) -> None:
    first, second = queue.enqueue(params("first")), queue.enqueue(params("second"))
    queue.stop(first)
    listing.delete(first)
    assert queue.dispatch(runs_root) == [second.name]


# ---- crashes and restarts --------------------------------------------------------------------------------------------


def test_a_lost_marker_is_put_back_and_a_kept_one_is_not_doubled(runs_root: Path, workers: list[Any]) -> None:
    lost, kept = queue.enqueue(params("lost")), queue.enqueue(params("kept"))
    done = queue.enqueue(params("done"))
    done.update_status(state=State.DONE)
    line.leave(runs_root, "lost")
    line.leave(runs_root, "done")
    (runs_root / "no run at all").mkdir()
    for _ in range(2):
        queue.recover(runs_root)
    assert line.waiting(runs_root) == ["kept", "lost"]
    assert queue.dispatch(runs_root) == [kept.name]
    assert queue.position(lost.name, runs_root) == 0


def test_recovering_a_folder_that_is_not_there_makes_none(tmp_path: Path) -> None:
    queue.recover(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_crash_between_mark_and_start_does_not_block_the_device(runs_root: Path, workers: list[Any]) -> None:
    run = queue.enqueue(params("run"))
    (line.folder(runs_root, ".active") / run.name).touch()  # as dispatch leaves it when the machine goes down there
    assert queue.dispatch(runs_root) == [run.name]


# ---- resume ----------------------------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_when_it_is_resumed(runs_root: Path, workers: list[Any], wait_until: Callable[..., None]) -> None:
    run = queue.enqueue(params("run"))
    queue.dispatch(runs_root)
    wait_until(lambda: run.status().state is State.TRAINING)
    run.update_status(pid=workers[0].pid, pid_started=time.time())
    with pytest.raises(RunActive):
        queue.resume(run)
    make_checkpoint(run, 1)
    finish(run, "stopped")
    wait_until(lambda: not run.alive)
    (run.path / "go").unlink()
    # nothing was dispatched in between, so the marker of its first start still lies there
    queue.resume(run)
    assert queue.dispatch(runs_root) == ["run"]
    wait_until(lambda: run.status().state is State.TRAINING)
    # a forced stop finds the new process, not the one of the first start
    launcher.stop(run, force=True)
    assert workers[1].wait(10) is not None
    assert run.status().state is State.STOPPED


@pytest.mark.parametrize(("state", "checkpoint"), [(State.DONE, True), (State.FAILED, False)])
def test_what_cannot_be_resumed_says_why(runs_root: Path, state: State, checkpoint: bool) -> None:
    run = queue.enqueue(params("run"))
    run.update_status(state=state)
    if checkpoint:
        make_checkpoint(run, 1)
    with pytest.raises(RunError) as caught:
        queue.resume(run)
    assert caught.value.hint
    assert run.written_status().state is state
