"""What the run page gets: only what is new, a long history thinned without losing its extremes, and resets when needed."""

from __future__ import annotations

import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from engine.runs import history
from engine.runs.directory import RunDirectory
from engine.runs.live import everything, live
from engine.runs.status import State


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, "one", tmp_path)
    made.update_status(state=State.DONE)
    return made


def metric(run: RunDirectory, step: int, **values: float) -> None:
    run.log_event("metric", step=step, values=values)


def test_a_run_that_has_written_nothing_yet_is_shown(run: RunDirectory) -> None:
    seen = live(run, 0, 0)
    assert (seen["events"], seen["log"], seen["curves"], seen["text"]) == (0, 0, {}, "")
    assert seen["first"] is seen["last"] is None
    assert not seen["more"]
    json.dumps(seen, allow_nan=False)


def test_later_answers_carry_only_what_is_new(run: RunDirectory) -> None:
    run.log_event("phase", phase="Training", state="training")
    metric(run, 1, loss=3.0, epoch=0.1)
    run.log_file.write_text("line 1\n")
    first = live(run, 0, 0)
    assert first["reset"]
    assert first["curves"] == {"loss": ([1], [3.0])}  # the epoch is no curve
    assert first["text"] == "line 1\n"

    nothing = live(run, first["events"], first["log"])
    assert (nothing["curves"], nothing["phases"], nothing["text"], nothing["reset"]) == ({}, [], "", False)

    metric(run, 2, loss=2.0, eval_loss=2.5)
    run.log_event("sample", step=2, prompt="a", answer="b")
    run.log_event("warning", message="careful", hint="")
    run.log_event("best", step=2, value=2.5)
    with run.log_file.open("a") as log:
        log.write("line 2\n")
    new = live(run, first["events"], first["log"])
    assert not new["reset"]
    assert new["curves"] == {"loss": ([2], [2.0]), "eval_loss": ([2], [2.5])}
    assert [len(new[kind]) for kind in ("samples", "warnings", "best", "phases")] == [1, 1, 1, 0]
    assert new["text"] == "line 2\n"
    assert new["last"][1] == 2


def test_deltas_joined_are_the_whole_history(run: RunDirectory) -> None:
    offset, steps, values = 0, [], []
    for step in range(1, 60):
        metric(run, step, loss=1 / step)
        if step % 7 == 0:
            seen = live(run, offset, 0)
            offset = seen["events"]
            steps += seen["curves"]["loss"][0]
            values += seen["curves"]["loss"][1]
    seen = live(run, offset, 0)
    steps += seen["curves"]["loss"][0]
    values += seen["curves"]["loss"][1]
    assert (steps, values) == live(run, 0, 0)["curves"]["loss"]


def test_a_torn_line_comes_with_the_next_answer(run: RunDirectory) -> None:
    metric(run, 1, loss=3.0)
    line = json.dumps({"t": 2.0, "type": "metric", "step": 2, "values": {"loss": 2.0}}) + "\n"
    with run.events_file.open("a") as half:
        half.write(line[:20])
    seen = live(run, 0, 0)
    assert seen["curves"]["loss"] == ([1], [3.0])
    with run.events_file.open("a") as rest:
        rest.write(line[20:])
    assert live(run, seen["events"], 0)["curves"]["loss"] == ([2], [2.0])


def test_a_hundred_thousand_points_are_thinned_and_keep_their_extremes(run: RunDirectory) -> None:
    count = 100_000
    low, high = 77_777, 12_345  # one step each, which a picture of every n-th point would miss
    with run.events_file.open("w") as file:
        for step in range(1, count + 1):
            loss = -5.0 if step == low else 50.0 if step == high else 2 + math.sin(step / 900)
            values = {"loss": loss, "learning_rate": step / count, "grad_norm": None if step % 3 else 1.0}
            file.write(json.dumps({"t": step / 10, "type": "metric", "step": step, "values": values}) + "\n")
    began = time.process_time()
    seen = live(run, 0, 0)
    took = time.process_time() - began
    assert took < 3, f"{took:.1f} CPU-s"
    assert seen["reset"]
    assert not seen["more"]
    assert seen["events"] == run.events_file.stat().st_size
    for steps, values in seen["curves"].values():
        assert len(steps) == len(values) < 8100
        assert len(steps) > 1000
        assert steps == sorted(set(steps))
    steps, values = seen["curves"]["loss"]
    assert values[steps.index(low)] == min(values) == -5.0
    assert values[steps.index(high)] == max(values) == 50.0
    assert (seen["first"][1], seen["last"][1]) == (1, count)
    # and a watcher who has seen it all pays for nothing but the new line
    metric(run, count + 1, loss=1.0)
    began = time.perf_counter()
    assert live(run, seen["events"], 0)["curves"] == {"loss": ([count + 1], [1.0])}
    assert time.perf_counter() - began < 0.5


def test_a_short_curve_is_given_whole_with_its_gaps(run: RunDirectory) -> None:
    for step in range(1, 5):
        metric(run, step, loss=float("nan") if step == 2 else 1.0)
    assert live(run, 0, 0)["curves"]["loss"] == ([1, 2, 3, 4], [1.0, None, 1.0, 1.0])


def test_a_resumed_run_drops_the_points_after_its_checkpoint(run: RunDirectory) -> None:
    for step in range(1, 9):
        metric(run, step, loss=float(step))
    run.log_event("sample", step=8, prompt="p", answer="of the lost steps")
    run.log_event("best", step=8, value=0.1)
    before = live(run, 0, 0)
    time.sleep(0.01)  # times are kept in milliseconds; a real resume takes seconds
    run.log_event("resumed", step=5)
    metric(run, 6, loss=60.0)
    after = live(run, before["events"], 0)
    assert after["reset"]  # the watcher holds points that are no longer true
    assert after["curves"]["loss"] == ([1, 2, 3, 4, 5, 6], [1.0, 2.0, 3.0, 4.0, 5.0, 60.0])
    assert after["samples"] == after["best"] == []
    assert after["first"][1] == 6  # the pace is that of the resumed part
    metric(run, 7, loss=70.0)
    later = live(run, after["events"], 0)
    assert not later["reset"]
    assert later["curves"]["loss"] == ([7], [70.0])


def test_offsets_that_the_files_do_not_have_begin_again(run: RunDirectory) -> None:
    metric(run, 1, loss=3.0)
    run.log_file.write_text("hello\n")
    for offset in (10**9, -1):
        seen = live(run, offset, offset)
        assert seen["reset"]
        assert seen["curves"]["loss"] == ([1], [3.0])
        assert seen["text"] == "hello\n"
    assert (seen["events"], seen["log"]) == (run.events_file.stat().st_size, 6)


def test_a_long_log_is_shown_from_its_end_and_then_line_by_line(run: RunDirectory) -> None:
    lines = [f"line {n:06d} of the log\n" for n in range(30_000)]
    run.log_file.write_text("".join(lines))
    seen = live(run, 0, 0)
    assert 1000 < len(seen["text"]) <= 64_000
    assert seen["text"].endswith(lines[-1])
    assert seen["log"] == run.log_file.stat().st_size
    # one who stopped watching catches up in whole lines
    offset, text = len(lines[0]), ""
    while offset < run.log_file.stat().st_size:
        piece = live(run, 0, offset)
        assert piece["text"].endswith("\n")
        text, offset = text + piece["text"], piece["log"]
    assert text == "".join(lines[1:])


def test_a_log_that_is_no_text_is_shown_all_the_same(run: RunDirectory) -> None:
    run.log_file.write_bytes(b"good \xff\xfe bad\n")
    assert live(run, 0, 0)["text"] == "good \ufffd\ufffd bad\n"


def test_the_status_is_the_one_that_is_true(run: RunDirectory) -> None:
    assert live(run, 0, 0)["status"]["ended_state"]
    run.update_status(state=State.TRAINING, launched=1.0, started=1.0)
    assert live(run, 0, 0)["status"]["state"] == "interrupted"
    with run.lock():
        run.request_stop()
        status = live(run, 0, 0)["status"]
        assert (status["state"], status["working"], status["stop_asked"]) == ("training", True, True)
    assert not live(run, 0, 0)["status"]["has_model"]


# ---- a long history, read once for all who watch ---------------------------------------------------------------------------


def long(run: RunDirectory, first: int, last: int) -> None:
    """Some 100 bytes a point, written at once."""
    lines = (
        json.dumps({"t": step, "type": "metric", "step": step, "values": {"loss": 1.0 / step}}) for step in range(first, last)
    )
    with run.events_file.open("a") as file:
        file.write("".join(line + " " * 40 + "\n" for line in lines))


def followed(run: RunDirectory) -> list[int]:
    """The steps that a page has which is opened now and asks until there is no more."""
    steps: list[int] = []
    events = 0
    while True:
        seen = live(run, events, 0)
        steps = ([] if seen["reset"] else steps) + seen["curves"].get("loss", ([], []))[0]
        events = seen["events"]
        if not seen["more"]:
            return steps


def test_twenty_who_open_a_long_run_read_it_once(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    long(run, 1, 20_000)
    reads: list[int] = []
    read = history._read
    monkeypatch.setattr(history, "_read", lambda run: reads.append(1) or read(run))
    first = followed(run)
    with ThreadPoolExecutor(8) as pool:
        assert all(steps == first for steps in pool.map(lambda _: followed(run), range(20)))
    assert len(reads) == 1
    # what was added since is told to those who have it and to those who come
    long(run, 20_000, 20_010)
    assert followed(run)[-1] == 20_009 and len(reads) == 1
    assert everything(run)["curves"]["loss"][0] == followed(run)
    assert everything(run)["last"] == [20_009, 20_009, 20_009]
    long(run, 20_010, 40_000)
    assert followed(run)[-1] == 39_999 and len(reads) == 2, "and once so much is new, it is read again"


def test_those_who_waited_for_a_history_that_grew_read_it_not_again(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run trains on while one of them reads: what is read then reaches further than the file did when the others asked."""
    long(run, 1, 20_000)
    waiting, reads, read = threading.Barrier(8), list[int](), history._read

    def grown(run: RunDirectory) -> Any:
        reads.append(1)
        time.sleep(0.5)  # the others come to wait
        long(run, 20_000, 20_010)
        return read(run)

    def opened(_: int) -> list[int]:
        waiting.wait()
        return followed(run)

    monkeypatch.setattr(history, "_read", grown)
    with ThreadPoolExecutor(8) as pool:
        assert all(steps[-1] == 20_009 for steps in pool.map(opened, range(8)))
    assert len(reads) == 1


def test_a_long_history_is_forgotten_where_it_is_no_longer_true(run: RunDirectory) -> None:
    long(run, 1, 20_000)
    before = live(run, 0, 0)
    run.log_event("resumed", step=10_000)
    long(run, 10_001, 10_003)
    steps = followed(run)
    assert steps == sorted(set(steps)) and steps[-1] == 10_002, "none of the steps that were thrown away"
    assert live(run, before["events"], 0)["reset"]
    # another run of the name, and were it in the same place on the disk
    run.events_file.write_text("")
    long(run, 1, 30_000)
    run.update_status(created=1.0)
    assert followed(run)[-1] == 29_999
