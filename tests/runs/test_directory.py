"""A run's directory: which state is true, what an event file survives, and that no name or link leads out of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ParamError, RunActive, RunError, RunNameTaken, RunNotFound
from engine.params import LLMTrainingParams
from engine.runs import events
from engine.runs.directory import RunDirectory, read_json, write_json
from engine.runs.listing import delete, list_runs, rename
from engine.runs.lock import FileLock, is_held
from engine.runs.status import ENDED, LAUNCH_GRACE_S, WORKING, State, Status, truth

OUTSIDE = ["../up", "a/b", "/etc", "..", ".", "", ".hidden", "a\\b/..", "fine\n", "-x", "ä", "x" * 81, "a\0b"]


def make_run(root: Path, name: str = "one", **status: Any) -> RunDirectory:
    run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, name, root)
    if status:
        run.update_status(**status)
    return run


# ---- which state is true ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("launching", [True, False])
@pytest.mark.parametrize("stop", [True, False])
def test_what_is_written_is_true_unless_its_worker_is_gone(state: State, alive: bool, launching: bool, stop: bool) -> None:
    # launched long ago, so that a queued run is one whose worker was started
    written = Status(state, launched=1.0, step=3, total_steps=10)
    seen = truth(written, alive=alive, launching=launching, stop_requested=stop)
    if alive or launching or state in ENDED:
        assert seen == written
    else:
        assert seen.state is (State.STOPPED if stop else State.INTERRUPTED)
        assert "step 3 of 10" in seen.reason
        assert seen.hint or stop


def test_a_run_in_the_queue_is_queued_however_long_it_waits() -> None:
    written = Status(State.QUEUED, created=1.0)
    assert truth(written, alive=False, launching=False, stop_requested=False) is written


def test_every_state_is_working_or_ended_or_queued() -> None:
    assert WORKING | ENDED | {State.QUEUED} == set(State)
    assert not WORKING & ENDED


def test_a_worker_that_was_just_launched_may_still_take_its_lock(tmp_path: Path) -> None:
    run = make_run(tmp_path, launched=time.time())
    assert run.status().state is State.QUEUED
    run.update_status(launched=time.time() - LAUNCH_GRACE_S - 1)
    assert run.status().state is State.INTERRUPTED


def test_a_launched_process_that_is_gone_counts_at_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, launched=time.time())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    run.pid_file.write_text(str(child.pid))
    assert run.status().state is State.INTERRUPTED
    run.pid_file.write_text(str(os.getpid()))
    assert run.status().state is State.QUEUED


def test_the_lock_is_proof_of_life(tmp_path: Path) -> None:
    run = make_run(tmp_path, state=State.TRAINING, launched=1.0, started=1.0, step=5, total_steps=9)
    lock = run.lock()
    assert lock.acquire()
    assert run.alive
    assert run.status().state is State.TRAINING
    lock.release()
    assert not run.alive
    assert run.status().state is State.INTERRUPTED
    run.request_stop()
    assert run.status().state is State.STOPPED


def test_looking_at_a_lock_never_looks_like_holding_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path):
        pass
    seen: list[bool] = []
    lookers = [threading.Thread(target=lambda: seen.extend(is_held(path) for _ in range(200))) for _ in range(4)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join()
    assert not any(seen)


def test_a_status_of_another_version_is_read(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_json(run.status_file, {"state": "training", "a_later_field": 1})
    assert run.written_status() == Status(State.TRAINING)


def test_threads_that_write_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    target, failed = tmp_path / "x.json", []

    def write(number: int) -> None:
        for _ in range(100):
            try:
                write_json(target, {"number": number})
                assert "number" in read_json(target)
            except (OSError, ValueError, AssertionError) as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert os.listdir(tmp_path) == ["x.json"]


# ---- events ----------------------------------------------------------------------------------------------------------


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    events.append(file, "phase", phase="Reading")
    whole = file.stat().st_size
    line = json.dumps({"t": 1, "type": "best", "step": 2}).encode() + b"\n"
    with file.open("ab") as half:
        half.write(line[:9])
    found, offset = events.read(file)
    assert [e["type"] for e in found] == ["phase"]
    assert offset == whole
    with file.open("ab") as rest:
        rest.write(line[9:])
    found, offset = events.read(file, offset)
    assert [e["type"] for e in found] == ["best"]
    assert offset == file.stat().st_size == whole + len(line)
    assert events.read(file, offset) == ([], offset)


def test_a_line_torn_by_a_crash_costs_no_other_line(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"t": 1, "type": "phase"}\n{"t": 2, "ty\n[1]\n\n')
    events.append(file, "saved", step=1, path="model")
    assert [e["type"] for e in events.read(file)[0]] == ["phase", "saved"]


def test_offsets_count_bytes_and_pieces_join_without_loss(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    for step in range(200):
        events.append(file, "sample", step=step, prompt="Größe? 🐟\r\n\u2028", answer="ß" * (step % 7))
    offset, steps = 0, []
    while offset < file.stat().st_size:
        found, offset = events.read(file, offset, limit_bytes=300)
        steps += [e["step"] for e in found]
    assert steps == list(range(200))


def test_no_file_yet_is_no_event(tmp_path: Path) -> None:
    assert events.read(tmp_path / "none") == ([], 0)


def _append_many(file: str, who: int) -> None:
    for number in range(300):
        events.append(Path(file), "sample", step=number, prompt=str(who), answer="x" * 3000)


def test_many_processes_append_without_mixing(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(str(file), who)) for who in range(3)]
    for writer in writers:
        writer.start()
    _append_many(str(file), 9)
    for writer in writers:
        writer.join(60)
    found, offset = events.read(file)
    assert offset == file.stat().st_size
    for who in (0, 1, 2, 9):
        assert [e["step"] for e in found if e["prompt"] == str(who)] == list(range(300))


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    events.append(file, "metric", step=1, values={"loss": float("nan"), "lr": float("inf"), "other": [float("-inf"), 1.5]})
    text = file.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert events.read(file)[0][0]["values"] == {"loss": None, "lr": None, "other": [None, 1.5]}


# ---- names, links, rename, delete ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_the_runs_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / "runs"
    run = make_run(root, state=State.DONE)
    write_json(tmp_path / "status.json", {"state": "done"})  # what `..` would find
    with pytest.raises(RunNotFound):
        RunDirectory.open(name, root)
    with pytest.raises(RunError):
        rename(run, name)
    if name:  # an empty name asks for one to be made
        with pytest.raises(ParamError):
            LLMTrainingParams(trainer="sft", data_path="x.csv", project_name=name)
    assert run.path.is_dir()


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    make_run(tmp_path)
    with pytest.raises(RunNameTaken) as caught:
        make_run(tmp_path)
    assert caught.value.hint


def test_a_runs_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        make_run(tmp_path / "file")


@pytest.mark.parametrize("status", [{}, {"state": State.TRAINING, "launched": 1.0}])
def test_a_run_that_waits_or_works_is_neither_deleted_nor_renamed(tmp_path: Path, status: dict[str, Any]) -> None:
    run = make_run(tmp_path, **status)
    with run.lock():
        with pytest.raises(RunActive):
            delete(run)
        with pytest.raises(RunActive):
            rename(run, "other")
    assert run.path.is_dir()


def test_delete_removes_the_run_and_nothing_that_it_points_to(tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "file").write_text("keep")
    root = tmp_path / "runs"
    run = make_run(root, state=State.DONE)
    run.data_dir.symlink_to(outside)
    (run.path / "link").symlink_to(outside / "file")
    other = make_run(root, "two", state=State.FAILED)
    delete(run)
    assert (outside / "file").read_text() == "keep"
    assert sorted(os.listdir(root)) == [".queue.lock", "two"]
    assert other.written_status().state is State.FAILED


def test_delete_of_a_link_to_a_run_removes_the_link(tmp_path: Path) -> None:
    elsewhere = make_run(tmp_path / "elsewhere", state=State.DONE)
    root = tmp_path / "runs"
    root.mkdir()
    (root / "linked").symlink_to(elsewhere.path)
    delete(RunDirectory.open("linked", root))
    assert os.listdir(root) == [".queue.lock"]
    assert elsewhere.status_file.is_file()


def test_what_an_interrupted_delete_left_is_no_run_and_in_nobodys_way(tmp_path: Path) -> None:
    run = make_run(tmp_path, state=State.DONE)
    run.path.rename(tmp_path / ".deleted-one")
    assert list_runs(tmp_path) == []
    delete(make_run(tmp_path, state=State.DONE))
    assert os.listdir(tmp_path) == [".queue.lock"]


def test_rename_keeps_everything_and_overwrites_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, state=State.DONE, best_value=1.5)
    make_run(tmp_path, "taken", state=State.DONE)
    with pytest.raises(RunNameTaken):
        rename(run, "taken")
    rename(run, "new")
    assert RunDirectory.open("new", tmp_path).written_status().best_value == 1.5
    with pytest.raises(RunNotFound):
        RunDirectory.open("one", tmp_path)
    assert {s.name for s in list_runs(tmp_path)} == {"new", "taken"}
