"""The wall clock is set while runs wait, work and end: nothing is negative, nobody is passed over, nobody is taken for dead."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.params import LLMTrainingParams
from engine.runs import launcher, mishaps, process, queue
from engine.runs.directory import RunDirectory
from engine.runs.events import append
from engine.runs.listing import summary
from engine.runs.live import live
from engine.runs.status import State

DAY = 86_400.0


def params(name: str) -> LLMTrainingParams:
    return LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name=name)


def made(root: Path, **status: Any) -> RunDirectory:
    run = RunDirectory.create(params("run").model_dump(mode="json"), "run", root)
    run.update_status(**status)
    return run


@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY])
def test_a_clock_that_was_set_makes_no_negative_time(tmp_path: Path, jump: float) -> None:
    now = time.time()
    run = made(tmp_path, state=State.TRAINING, created=now + jump, started=now + jump, step=4, total_steps=10)
    for step, at in enumerate((now, now + jump, now + 2, now + jump), 1):
        append(run.events_file, "metric", step=step, values={"loss": 2.0}, m=100.0 + step, t=at)
    assert (summary(run).seconds or 0.0) >= 0.0
    seen = live(run, 0, 0)
    first, last = seen["first"], seen["last"]
    assert (last[0] - first[0]) / (last[1] - first[1]) == 1.0, "pace is measured on a clock that nobody can set"
    run.update_status(state=State.DONE, ended=now)
    assert (summary(run).seconds or 0.0) >= 0.0


def test_the_order_of_the_queue_survives_a_clock_that_is_set_back(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time_ns()
    for name, at in (("first", real), ("second", real - 10**17), ("third", real - 2 * 10**17), ("fourth", real + 10**17)):
        monkeypatch.setattr(time, "time_ns", lambda at=at: at)
        queue.enqueue(params(name), root=runs_root)
    assert [queue.position(name, runs_root) for name in ("first", "second", "third", "fourth")] == [0, 1, 2, 3]


@pytest.mark.parametrize("jump", [-DAY, DAY])
def test_a_worker_that_starts_while_the_clock_is_set_is_not_taken_for_dead(tmp_path: Path, jump: float) -> None:
    run = made(tmp_path, launched=time.time() + jump)
    run.pid_file.write_text(f"{os.getpid()} {process.began(os.getpid())}")
    assert run.status().state is State.QUEUED
    run.pid_file.write_text(f"{os.getpid()} {process.began(os.getpid()) - 100}")  # another process has its number now
    assert run.status().state is State.INTERRUPTED


def test_a_process_is_known_by_its_start_and_not_by_its_number() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        start = process.began(child.pid)
        assert start < 1e9 or not sys.platform.startswith("linux")
        assert process.is_same(child.pid, start) and process.lives(child.pid, start)
        assert not process.is_same(child.pid, start - 60)
        assert process.is_same(child.pid, psutil.Process(child.pid).create_time()), "as older versions wrote it"
        child.kill()
        child.wait()
    assert not process.lives(child.pid, start)


def test_a_silent_worker_is_given_its_time_whatever_the_clock_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path, state=State.TRAINING, started=1.0)
    ended: list[str] = []
    monkeypatch.setattr(launcher, "_end", lambda run, family: ended.append(run.name))
    monkeypatch.setattr(launcher, "GRACE_S", 1.0)
    looks = iter([False] * 3 + [True])
    monkeypatch.setattr(launcher, "_gone", lambda run, s: next(looks))
    signs = iter([10.0, 11.0, 12.0, 13.0, 14.0])  # far in the past, and still signs of life
    monkeypatch.setattr(RunDirectory, "last_sign_of_life", lambda self: next(signs))
    launcher._end_later(run, None)
    assert ended == []


def test_a_restart_is_told_by_the_machine_and_not_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = process.boot_id()
    if not boot:
        pytest.skip("This system does not say which start of the machine it is.")
    monkeypatch.setattr(psutil, "boot_time", lambda: 5e9)  # the clock was set forward
    assert not mishaps.restarted_since(time.time(), boot)
    assert mishaps.restarted_since(time.time(), "another")
