"""The order of the queue, its pause, its places, and starts that were broken off."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import device as device_module
from engine.errors import DeviceError, RunError
from engine.params import LLMTrainingParams
from engine.runs import launcher, line, listing, queue
from engine.runs.directory import RunDirectory
from engine.runs.places import places
from engine.runs.status import State


def waiting(*names: str) -> list[RunDirectory]:
    made = [LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name=name) for name in names]
    return [queue.enqueue(params) for params in made]


# ---- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "to", "order"),
    [
        ("c", "up", "acbd"),
        ("a", "up", "abcd"),
        ("b", "down", "acbd"),
        ("d", "down", "abcd"),
        ("d", "first", "dabc"),
        ("a", "last", "bcda"),
        ("a", 3, "bcad"),
        ("d", 2, "adbc"),
        ("b", 99, "acdb"),
    ],
)
def test_a_run_is_moved(runs_root: Path, name: str, to: str | int, order: str) -> None:
    waiting(*"abcd")
    queue.move(RunDirectory.open(name), to)
    assert queue.waiting(runs_root) == list(order)
    waiting("e")
    assert queue.waiting(runs_root) == [*order, "e"], "whoever comes then is the last"


def test_every_order_can_be_had_and_what_is_no_longer_waiting_is_passed_over(runs_root: Path) -> None:
    waiting("gone", *"abc")
    RunDirectory.open("gone").update_status(state=State.FAILED)  # its marker is still there
    for wished in itertools.permutations("abc"):
        for place, name in enumerate(wished, start=1):
            queue.move(RunDirectory.open(name), place)
        assert queue.waiting(runs_root) == list(wished)
        assert [queue.position(name, runs_root) for name in wished] == [0, 1, 2]


def test_a_move_that_is_broken_off_leaves_the_old_order_or_the_new(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename
    for killed_after in range(4):
        for name in queue.waiting(runs_root):
            queue.cancel(RunDirectory.open(name))
            listing.delete(RunDirectory.open(name))
        waiting(*"abcd")
        left = iter(range(killed_after))

        def dying(self: Path, target: Any, left: Any = left) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return rename(self, target)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Path, "rename", dying)
            queue.move(RunDirectory.open("d"), 4 if killed_after > 3 else 3)
            raise KeyboardInterrupt
        assert queue.waiting(runs_root) in ([*"abcd"], [*"abdc"])


def test_a_clock_that_goes_back_lets_nobody_in_first(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting("first")
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    waiting("second", "third")
    assert queue.waiting(runs_root) == ["first", "second", "third"]


def test_what_does_not_wait_is_neither_moved_nor_cancelled(
    runs_root: Path, workers: list[Any], wait_until: Callable[..., None]
) -> None:
    (run,) = waiting("begun")
    queue.dispatch(runs_root)
    wait_until(lambda: run.status().state is State.TRAINING)
    with pytest.raises(RunError, match="does not wait"):
        queue.move(run, "first")
    with pytest.raises(RunError, match="does not wait any more: it is training"):
        queue.cancel(run)
    assert run.alive and not run.stop_requested


# ---- pause -----------------------------------------------------------------------------------------------------------


def test_a_paused_queue_starts_nothing_and_lets_the_work_go_on(
    runs_root: Path, workers: list[Any], wait_until: Callable[..., None]
) -> None:
    first, second = waiting("first", "second")
    queue.dispatch(runs_root)
    wait_until(lambda: first.status().state is State.TRAINING)
    line.pause(runs_root)
    (first.path / "go").write_text("done")
    wait_until(lambda: not first.alive)
    assert first.status().state is State.DONE
    queue.recover(runs_root)  # what a server does when it is started
    assert queue.dispatch(runs_root) == []
    assert second.waits and len(workers) == 1
    line.go_on(runs_root)
    assert queue.dispatch(runs_root) == ["second"]


# ---- places ----------------------------------------------------------------------------------------------------------


def test_as_many_runs_as_places_and_each_is_told_its_own(
    runs_root: Path, workers: list[Any], wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, str]] = []
    cold = launcher._cold

    def noting(job: str, args: dict[str, Any], *given: Any, **rest: Any) -> Any:
        told.append(args["environment"])
        return cold(job, args, *given, **rest)

    monkeypatch.setattr(launcher, "_cold", noting)
    monkeypatch.setattr("engine.runs.places.gpus", lambda: ("GPU-a", "GPU-b"))
    runs = waiting("one", "two", "three")
    assert queue.dispatch(runs_root) == ["one", "two"]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in told] == ["GPU-a", "GPU-b"]
    assert queue.working(runs_root) == ["one", "two"]
    wait_until(lambda: runs[1].status().state is State.TRAINING)
    assert queue.dispatch(runs_root) == []
    (runs[1].path / "go").write_text("failed")
    wait_until(lambda: queue.dispatch(runs_root) == ["three"])
    assert told[2]["CUDA_VISIBLE_DEVICES"] == "GPU-b", "the one that became free"


def test_places_share_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("engine.runs.places.gpus", tuple)
    monkeypatch.setattr("engine.runs.places.cores", lambda: 8)
    assert [place.environment for place in places()] == [{}], "one run at a time, with all cores"
    monkeypatch.setenv("AITRAINING_PLACES", "3")
    assert [place.environment for place in places()] == [{"OMP_NUM_THREADS": "2"}] * 3
    monkeypatch.setattr("engine.runs.places.gpus", lambda: ("0", "1"))
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in places()] == ["0", "1", "0"]
    # a worker sees its own card alone, and still knows of the others when it starts the next run
    monkeypatch.setenv("AITRAINING_ALL_GPUS", places()[0].environment["AITRAINING_ALL_GPUS"])
    monkeypatch.setattr("engine.runs.places.gpus", lambda: ("0",))
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in places()] == ["0", "1", "0"]
    monkeypatch.setenv("AITRAINING_PLACES", "many")
    with pytest.raises(DeviceError, match="no number of runs"):
        places()


def test_the_cards_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\nprintf 'GPU-1\\nGPU-2\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(device_module, "_torch_knows_cuda", lambda: True)
    device_module._listed.cache_clear()
    for visible, seen in ((None, ("GPU-1", "GPU-2")), ("1,0", ("1", "0")), ("", ()), ("-1", ())):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert device_module.gpus() == seen
    device_module._listed.cache_clear()


# ---- starts that were broken off -------------------------------------------------------------------------------------


def test_a_start_that_was_broken_off_is_done_again_at_once(runs_root: Path, workers: list[Any]) -> None:
    """As it is left by a server that is killed between writing "launched" and having a process."""
    (run,) = waiting("run")
    (line.folder(runs_root, ".active") / run.name).write_text("1")
    run.update_status(launched=time.time())
    assert queue.dispatch(runs_root) == ["run"]
    assert len(workers) == 1


@pytest.mark.slow  # it loads torch
def test_a_worker_heeds_its_share_of_the_threads_and_leaves_when_it_was_launched_anew(runs_root: Path) -> None:
    import torch

    from engine.worker.train import main

    (run,) = waiting("run")
    run.update_status(launched=2.0)
    before, threads = run.status_file.read_text(), torch.get_num_threads()
    try:
        assert main({"run": str(run.path), "launched": 1.0, "environment": {"OMP_NUM_THREADS": "1"}}, None) == 1
        assert torch.get_num_threads() == 1, "its share of the processor, though PyTorch was loaded before"
    finally:
        torch.set_num_threads(threads)
    assert run.status_file.read_text() == before
    assert not run.alive


def test_a_lost_line_is_found_again_in_the_order_in_which_the_runs_were_made(runs_root: Path) -> None:
    names = ["mango", "apple", "zebra", "fig"]
    waiting(*names)
    for name in names:
        line.leave(runs_root, name)
    queue.recover(runs_root)
    assert queue.waiting(runs_root) == names


# ---- the list of runs ------------------------------------------------------------------------------------------------


def test_the_list_reads_only_what_was_written_anew(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = waiting("one", "two")
    one.update_status(state=State.DONE, ended=time.time())
    assert {run.name: run.state for run in listing.list_runs(runs_root)} == {"one": "done", "two": "queued"}
    read: list[str] = []
    written = RunDirectory.written_status

    def noting(self: RunDirectory) -> Any:
        read.append(self.name)
        return written(self)

    monkeypatch.setattr(RunDirectory, "written_status", noting)
    assert len(listing.list_runs(runs_root)) == 2
    assert read == []
    two.update_status(state=State.FAILED, ended=time.time(), reason="It was so.")
    read.clear()
    assert {run.name: run.reason for run in listing.list_runs(runs_root)}["two"] == "It was so."
    assert set(read) == {"two"}
    # the same name, made anew
    listing.delete(one)
    waiting("one")
    one.params_file.write_text(json.dumps({**one.params(), "trainer": "dpo"}))
    assert {run.name: (run.state, run.trainer) for run in listing.list_runs(runs_root)}["one"] == ("queued", "dpo")


def test_a_run_that_works_is_looked_at_each_time(runs_root: Path, wait_until: Callable[..., None]) -> None:
    (run,) = waiting("run")
    run.update_status(state=State.TRAINING, launched=1.0, started=1.0)
    with run.lock():
        assert [r.state for r in listing.list_runs(runs_root)] == ["training"]
    assert [r.state for r in listing.list_runs(runs_root)] == ["interrupted"]  # though no file has changed
