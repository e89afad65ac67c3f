"""The queue when things go wrong at a start: workers that do not start, stops that come in between, runs that are gone."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.params import LLMTrainingParams
from engine.runs import launcher, line, listing, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State


def waiting(name: str | None = None, request_id: str | None = None) -> RunDirectory:
    params = LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name=name)
    return queue.enqueue(params, request_id=request_id)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the runs whose process was started; it is one that does nothing."""
    names: list[str] = []
    processes: list[subprocess.Popen[bytes]] = []

    def cold(job: str, args: dict[str, Any], *_: Any, **__: Any) -> subprocess.Popen[bytes]:
        names.append(Path(args["run"]).name)
        processes.append(subprocess.Popen(["sleep", "60"], start_new_session=True))
        return processes[-1]

    monkeypatch.setattr(launcher, "_cold", cold)
    yield names
    for process in processes:
        process.kill()
        process.wait()


def no_process_for(monkeypatch: pytest.MonkeyPatch, *unlucky: str) -> None:
    """The machine has no memory for the processes of these runs."""
    cold = launcher._cold

    def scarce(job: str, args: dict[str, Any], *given: Any, **rest: Any) -> Any:
        if Path(args["run"]).name in unlucky:
            raise OSError(12, "Cannot allocate memory")
        return cold(job, args, *given, **rest)

    monkeypatch.setattr(launcher, "_cold", scarce)


# ---- a stop of a run that waits --------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_while_it_waits_is_never_started(runs_root: Path, started: list[str]) -> None:
    run = waiting("one")
    queue.stop(run)
    status = run.status()
    assert (status.state, status.cause, status.reason) == (State.STOPPED, "stopped", "It was taken out of the queue.")
    assert status.ended is not None
    assert queue.dispatch(runs_root) == [] == started
    assert not run.stop_requested  # there is nobody who would read it
    queue.stop(run)  # once more is harmless
    assert run.status() == status


def test_a_stop_while_the_run_is_being_started_reaches_its_worker(
    runs_root: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start clears old requests to stop first, so a stop must come before it or after it, never within."""
    run, begin = waiting("one"), launcher.start_worker
    stopper = threading.Thread(target=lambda: queue.stop(run))
    waited: list[bool] = []

    def slow(run: RunDirectory, environment: dict[str, str]) -> int:
        stopper.start()
        stopper.join(0.3)
        waited.append(stopper.is_alive())
        return begin(run, environment)

    monkeypatch.setattr(launcher, "start_worker", slow)
    assert queue.dispatch(runs_root) == ["one"] == started
    stopper.join(10)
    assert waited == [True]
    assert run.stop_requested
    assert run.status().state is State.QUEUED  # it was not taken out of a queue that it is not in
    run.update_status(state=State.STOPPED)  # as its worker would, so that nobody waits for it


# ---- a worker that cannot be started ---------------------------------------------------------------------------------


def test_a_run_whose_worker_cannot_be_started_has_failed_and_the_next_gets_its_turn(
    runs_root: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_process_for(monkeypatch, "first")
    first, second, third = (waiting(name) for name in ("first", "second", "third"))
    assert queue.dispatch(runs_root) == ["second"] == started
    status = first.status()
    assert (status.state, status.cause) == (State.FAILED, "start")
    assert "could not be started" in status.reason
    assert "Cannot allocate memory" in status.reason
    assert status.ended is not None
    assert queue.position("first", runs_root) is None
    assert queue.position("third", runs_root) == 0

    second.update_status(state=State.DONE)
    assert queue.dispatch(runs_root) == ["third"]  # what failed does not count as at work
    third.update_status(state=State.DONE)
    assert queue.dispatch(runs_root) == []
    assert not line.waiting(runs_root)
    assert first.status() == status  # and nobody starts it again


def test_when_no_worker_can_be_started_every_run_says_so(
    runs_root: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        no_process_for(patched, "first", "second")
        runs = [waiting(name) for name in ("first", "second")]
        assert queue.dispatch(runs_root) == []
    assert [run.status().state for run in runs] == [State.FAILED, State.FAILED]
    later = waiting("later")  # when there is memory again, all is as ever
    assert queue.dispatch(runs_root) == ["later"] == started
    assert [marker.name for marker in (runs_root / ".active").iterdir()] == [later.name]


# ---- a request whose run is gone -------------------------------------------------------------------------------------


def test_a_request_whose_run_was_deleted_gives_a_new_run(runs_root: Path, started: list[str]) -> None:
    first = waiting(request_id="click")
    queue.stop(first)
    listing.delete(first)
    second = waiting(request_id="click")
    assert second.params_file.is_file()
    assert second.status().state is State.QUEUED
    assert [summary.name for summary in listing.list_runs(runs_root)] == [second.name]
    assert waiting(request_id="click").name == second.name  # and from now on that one
    assert queue.dispatch(runs_root) == [second.name]
    assert queue.dispatch(runs_root) == []
    assert started == [second.name]


def test_a_request_whose_run_was_renamed_gives_a_new_run_and_leaves_that_one_alone(runs_root: Path, started: list[str]) -> None:
    first = waiting(request_id="click")
    queue.stop(first)
    listing.rename(first, "kept")
    second = waiting(request_id="click")
    assert second.status().state is State.QUEUED
    assert RunDirectory.open("kept", runs_root).status().state is State.STOPPED
    assert {summary.name for summary in listing.list_runs(runs_root)} == {"kept", second.name}
    assert queue.dispatch(runs_root) == [second.name]


def test_a_request_for_a_name_whose_run_was_deleted_gives_that_name_again(runs_root: Path) -> None:
    first = waiting("mine", request_id="click")
    queue.stop(first)
    listing.delete(first)
    assert waiting("mine", request_id="click").status().state is State.QUEUED
    assert queue.position("mine", runs_root) == 0


def test_a_request_never_gives_another_requests_run(runs_root: Path) -> None:
    """The name of a run that was renamed may be another's by now."""
    first = waiting(request_id="one")
    queue.stop(first)
    listing.rename(first, "kept")
    second = waiting(request_id="two")
    assert second.name == first.name
    third = waiting(request_id="one")
    assert third.name != second.name
    assert waiting(request_id="two").name == second.name
