"""Whoever is killed in the midst of something leaves nothing that is half: no run, no request, no event, no lock."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunNameTaken
from engine.params import LLMTrainingParams
from engine.runs import directory, events, line, queue
from engine.runs.directory import RunDirectory
from engine.runs.listing import list_runs
from engine.runs.live import live
from engine.runs.lock import FileLock
from engine.runs.status import State


class Killed(BaseException):
    """The process ends here."""


def params(name: str | None = None) -> LLMTrainingParams:
    return LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name=name)


def killed_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, first: bool) -> None:
    """The process is killed when it calls this, before or after it was done."""
    real = getattr(owner, name)

    def dies(*given: Any, **named: Any) -> None:
        if not first:
            real(*given, **named)
        raise Killed

    monkeypatch.setattr(owner, name, dies)


# What is done for a new run, in its order.
STEPS = [(queue, "_replace"), (line, "join"), (directory, "write_json"), (RunDirectory, "write_status")]


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
@pytest.mark.parametrize("name", [None, "mine"])
def test_a_request_that_was_cut_off_and_is_asked_again_is_one_run(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, first: bool, name: str | None
) -> None:
    with monkeypatch.context() as patched:
        killed_at(patched, owner, step, first=first)
        with pytest.raises(Killed):
            queue.enqueue(params(name), request_id="click")
    assert list_runs(runs_root) == [], "nothing was promised yet"
    queue.recover(runs_root)  # the next server
    run = queue.enqueue(params(name), request_id="click")
    assert queue.enqueue(params(name), request_id="click").name == run.name == (name or "sft-starter-1")
    assert [one.name for one in list_runs(runs_root)] == [run.name]
    assert queue.position(run.name, runs_root) == 0
    assert not list(runs_root.glob(".new-*"))


def test_a_run_that_was_made_waits_in_line_whoever_dies_then(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        create = RunDirectory.create

        def dies(*given: Any) -> None:
            create(*given)
            raise Killed

        patched.setattr(RunDirectory, "create", dies)
        with pytest.raises(Killed):
            queue.enqueue(params(), request_id="click")
    # a server that was there all the time does not look for runs without a marker
    assert queue.position("sft-starter-1", runs_root) == 0
    assert queue.enqueue(params(), request_id="click").name == "sft-starter-1"
    assert len(list_runs(runs_root)) == 1


@pytest.mark.parametrize("there", ["file", "empty folder", "link to nothing"])
def test_whatever_has_the_name_already_stays_as_it_is(runs_root: Path, there: str) -> None:
    runs_root.mkdir()
    place = runs_root / "mine"
    make = {"file": place.touch, "empty folder": place.mkdir, "link to nothing": lambda: place.symlink_to(runs_root / "no")}
    make[there]()
    with pytest.raises(RunNameTaken):
        RunDirectory.create({"trainer": "sft"}, "mine", runs_root)
    assert [path.name for path in runs_root.iterdir()] == ["mine"]


# ---- before the first checkpoint ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.STOPPED, State.INTERRUPTED])
def test_a_run_that_was_cut_off_before_its_first_checkpoint_begins_again(runs_root: Path, state: State) -> None:
    run = queue.enqueue(params("run"))
    if state is State.STOPPED:
        run.update_status(state=state, launched=1.0, ended=2.0, reason="Stopped on request before the first step.")
    else:
        run.update_status(state=State.PREPARING, launched=1.0, started=1.0)
    assert run.status().state is state
    queue.resume(run)
    assert (run.status().state, run.status().reason, run.status().launched) == (State.QUEUED, "", None)
    assert queue.position("run", runs_root) == 0


def test_a_run_that_begins_again_has_each_step_once(runs_root: Path) -> None:
    run = RunDirectory.create({"trainer": "sft"}, "run", runs_root)
    run.log_event("metric", step=0, values={"eval_loss": 3.0})
    run.log_event("best", step=0, value=3.0)
    run.log_event("metric", step=1, values={"loss": 3.0})
    seen = live(run, 0, 0)
    run.log_event("resumed", step=0)
    run.log_event("metric", step=0, values={"eval_loss": 3.5})
    after = live(run, seen["events"], 0)
    assert after["reset"] and after["curves"] == {"eval_loss": ([0], [3.5])}
    assert (after["best"], after["resumed"]) == ([], [0])


# ---- a torn line -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b'{"t": 1, "ty', b"\x00" * 40, b""])
def test_a_torn_last_line_is_cut_off_before_the_next_event(tmp_path: Path, torn: bytes) -> None:
    file = tmp_path / "events.jsonl"
    events.mend(file)  # nothing is there yet
    events.append(file, "best", step=1, value=0.5)
    whole = file.read_bytes()
    file.write_bytes(whole + torn)
    events.mend(file)
    assert file.read_bytes() == whole
    events.append(file, "resumed", step=4)
    assert [event["type"] for event in events.read(file)[0]] == ["best", "resumed"]


# ---- locks -------------------------------------------------------------------------------------------------------------


def test_somebody_who_only_looks_and_is_stopped_does_not_keep_a_worker_from_its_run(tmp_path: Path) -> None:
    path = tmp_path / "alive.lock"
    with path.open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # a server that was stopped in `is_held`
        lock = FileLock(path)
        began = time.monotonic()
        threading.Timer(0.5, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        assert lock.acquire(timeout_s=0.1)
        assert time.monotonic() - began > 0.3
        other = FileLock(path)
        assert not other.acquire(timeout_s=0.1), "one who holds it is not waited for any longer"
        assert not other.acquire()
        lock.release()
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not other.acquire(), "and one who would not wait does not"


# ---- the standby -------------------------------------------------------------------------------------------------------


def test_a_standby_that_is_gone_is_replaced(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    from engine import lifetime

    monkeypatch.delenv("AITRAINING_STANDBY", raising=False)
    monkeypatch.setattr(lifetime, "_LOOK_S", 0.01)
    asked: list[bool] = []
    monkeypatch.setattr(lifetime.standby, "ensure_standby", lambda: asked.append(True) or True)
    lifetime.open_app()
    try:
        wait_until(lambda: len(asked) > 3, 10)
    finally:
        lifetime.close_app()
