"""The process that goes through a pipeline for a page: what it does (in this process), and that it outlives us (for real)."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engine import api
from engine.errors import ParamError, RunActive, RunNameTaken
from engine.pipelines import detached
from engine.pipelines.course import Course, Progress
from engine.runs import launcher
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.pipelines.workers import PAIR, Workers

pipelines = api.pipelines


@pytest.fixture
def here(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Workers:
    """The process's work is done at once, in this process, while the lock is held as it would be for it."""
    monkeypatch.setattr(launcher, "start_detached", lambda module, name, *, log, keep: detached.main([name]))
    monkeypatch.setattr(detached, "_COURTESY_S", 0.0)
    return workers


def said(name: str = "pair") -> str:
    return " ".join(pipelines.told(pipelines.progress(name)))


def test_the_same_wish_handed_in_twice_is_one_pipeline(here: Workers) -> None:
    assert [pipelines.start(PAIR, "wish"), pipelines.start(PAIR, "wish")] == ["pair", "pair"]
    assert here.worked == ["pair-first", "pair-second"]
    for other in ("another wish", ""):
        with pytest.raises(RunNameTaken):
            pipelines.start(PAIR, other)
    assert said().strip() == "Every stage is done."


def test_what_cannot_be_trained_is_refused_before_anything_is_written(here: Workers, runs_root: Path) -> None:
    with pytest.raises(ParamError, match="stage second: "):
        pipelines.start(PAIR.changed({"second": {"data_path": "no-such-file.csv"}}))
    assert not runs_root.exists()


def test_a_failed_stage_is_told_and_retried_alone(here: Workers) -> None:
    here.ends = {"pair-second": State.FAILED}
    pipelines.start(PAIR)
    assert said() == "Stage second (2 of 2) failed. It was so. Stages that are done are kept."
    pipelines.go_on("pair")
    assert here.worked == ["pair-first", "pair-second", "pair-second-2"]
    assert pipelines.progress("pair").stages[1].tries == ("pair-second", "pair-second-2")
    assert pipelines.of_runs() == {"pair-first": "pair", "pair-second": "pair", "pair-second-2": "pair"}


def test_a_gate_that_was_not_met_is_told_and_can_be_taken_away(here: Workers) -> None:
    here.metrics = {"pair-first": {"eval_loss": 2.5}}
    pipelines.start(PAIR.changed(gates={"first": "eval_loss < 2"}))
    assert said().startswith("Stage first reached a held-out “Loss” of 2.5; less than 2 was asked.")
    assert "So no later stage was started." in said()
    assert here.worked == ["pair-first"]
    pipelines.go_on("pair", gates={"first": None})
    assert here.worked == ["pair-first", "pair-second"]


def test_a_stop_between_two_stages_starts_no_other(here: Workers) -> None:
    """As when the stage that trains had its last step behind it already."""
    here.before = lambda run: Course("pair").stop_file.touch()
    pipelines.start(PAIR)
    assert here.worked == ["pair-first"]
    assert (pipelines.progress("pair").state, said()) == (
        "stopped",
        "It was stopped before stage second (2 of 2) began. Stages that are done are kept.",
    )
    here.before = lambda run: None
    pipelines.go_on("pair")
    assert here.worked == ["pair-first", "pair-second"], "a stop is over once somebody goes on"


def test_a_stop_that_found_no_run_yet_stops_the_one_that_is_coming(here: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    add_run = Course.add_run

    def late(self: Course, stage: str, run: str) -> None:
        self.stop_file.touch()
        add_run(self, stage, run)

    monkeypatch.setattr(Course, "add_run", late)
    pipelines.start(PAIR)
    assert here.worked == []
    assert pipelines.progress("pair").state == "stopped"


@pytest.mark.parametrize(("error", "words"), [(KeyError("x"), "by an error: KeyError"), (RunActive("Busy."), "Busy.")])
def test_whatever_ends_it_is_told(here: Workers, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    def fail(run: RunDirectory) -> None:
        raise error

    here.before = fail
    pipelines.start(PAIR)
    RunDirectory.open("pair-first").update_status(state=State.DONE, ended=1.0)
    assert words in said()
    assert pipelines.progress("pair").state == "failed"
    here.before = lambda run: None
    pipelines.go_on("pair")
    assert pipelines.progress("pair").state == "done"


def test_a_pipeline_is_taken_off_the_list_only_while_nobody_goes_through_it(here: Workers, runs_root: Path) -> None:
    here.before = lambda run: _refused()
    pipelines.start(PAIR)
    pipelines.forget("pair")
    assert pipelines.listed() == []
    assert (runs_root / "pair-first" / "model").is_dir(), "its runs stay"


def _refused() -> None:
    with pytest.raises(RunActive):
        pipelines.forget("pair")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_real_process_outlives_whoever_asked_and_a_kill_is_seen(runs_root: Path) -> None:
    """The device is kept busy, so that nothing is trained: the process waits for its first stage's turn."""
    busy = RunDirectory.create({"trainer": "sft"}, "busy", runs_root)
    busy.update_status(state=State.TRAINING, launched=time.time(), started=time.time())
    (runs_root / ".active").mkdir(exist_ok=True)
    (runs_root / ".active" / "busy").touch()
    with busy.lock():
        course_file = runs_root / "pair.yaml"
        course_file.write_text(PAIR.to_yaml())
        words = [sys.executable, "-m", "engine.cli", "pipeline", str(course_file), "--no-follow"]
        asked = subprocess.run(words, capture_output=True, text=True, check=True)
        assert asked.stdout == "pair: `aitraining pipelines` shows how far it is.\n"
        assert pipelines.progress("pair").driven, "whoever asked is gone"
        until(lambda: pipelines.progress("pair").stages[0].state == "queued")
        (driver,) = drivers(runs_root)
        with pytest.raises(RunActive):
            pipelines.go_on("pair")

        driver.kill()
        driver.wait(10)
        progress = pipelines.progress("pair")
        assert (progress.driven, progress.stages[0].state) == (False, "queued")
        assert "The process that goes from stage to stage has ended. Stage first (1 of 2) goes on by itself" in said()

        pipelines.go_on("pair")
        assert pipelines.progress("pair").driven
        until(lambda: bool(drivers(runs_root)))
        pipelines.stop("pair")
        until(lambda: not pipelines.progress("pair").driven)
        assert pipelines.progress("pair").state == "stopped"
        assert "was stopped. It was taken out of the queue." in said()


def drivers(home: Path) -> list[psutil.Process]:
    """The processes that go through a pipeline of this runs folder, whoever started them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = "engine.pipelines.detached" in process.cmdline() and process.environ().get("AITRAINING_HOME") == str(home)
            if ours and process.status() != "zombie":
                found.append(process)
    return found


def test_one_that_is_taken_off_while_we_look_hides_no_other(here: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    pipelines.start(PAIR)
    pipelines.start(PAIR.changed(name="other"))
    progress = Course.progress

    def late(self: Course) -> Progress:
        if self.name == "other":
            pipelines.forget("other")
        return progress(self)

    monkeypatch.setattr(Course, "progress", late)
    assert [found.name for found in pipelines.listed()] == ["pair"]
