"""The machine was started anew: no process of before is there, no lock is held, and old numbers belong to others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engine import api, cli
from engine.diagnosis import findings
from engine.params import LLMTrainingParams
from engine.runs import launcher, queue
from engine.runs.directory import RunDirectory
from engine.runs.listing import list_runs
from engine.runs.status import State
from tests.checkpoint_files import make_checkpoint


@pytest.fixture
def cut_off(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunDirectory]:
    """A run that was at step 6 of 20 when the machine went down an hour ago; its number is another process's now."""
    monkeypatch.setattr(psutil, "boot_time", lambda: time.time() - 60)

    def make(name: str, *, checkpoint: bool = True, state: State = State.TRAINING) -> RunDirectory:
        run = queue.enqueue(LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name=name))
        long_ago = time.time() - 3600
        run.update_status(
            state=state, step=6, total_steps=20, launched=long_ago, started=long_ago, pid=os.getpid(), pid_started=long_ago,
            resumable=checkpoint,
        )  # fmt: skip
        run.pid_file.write_text(str(os.getpid()))
        run.lock_file.touch()
        (runs_root / ".active").mkdir(exist_ok=True)
        (runs_root / ".active" / name).touch()
        (runs_root / ".queue.lock").touch()
        if checkpoint:
            make_checkpoint(run, 4)
        for path in [*run.path.rglob("*"), run.path]:
            os.utime(path, (long_ago, long_ago))
        return run

    return make


@pytest.mark.parametrize("state", [State.PREPARING, State.TRAINING, State.EVALUATING, State.SAVING])
def test_a_run_of_before_is_interrupted_at_its_last_step(
    cut_off: Callable[..., RunDirectory], runs_root: Path, state: State
) -> None:
    cut_off("old", state=state)
    queue.recover(runs_root)  # the studio is started again
    (listed,) = list_runs(runs_root)
    assert (listed.state, listed.step) == ("interrupted", 6) and "at step 6 of 20" in listed.reason
    (found,) = findings("old")
    assert "machine was restarted" in found.what and found.action == "resume"
    assert api.told_findings("old")[0]["command"] == "aitraining resume old"
    assert api.live("old")["status"]["resumable"]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_it_is_resumed_from_the_terminal_and_does_not_hold_up_the_queue(
    cut_off: Callable[..., RunDirectory],
    runs_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    checkpoint: bool,
) -> None:
    started: list[str] = []

    def start(run: RunDirectory, *given: object) -> int:
        started.append(run.name)
        run.update_status(launched=time.time(), started=time.time(), state=State.DONE)
        return 0

    monkeypatch.setattr(launcher, "start_worker", start)
    run = cut_off("old", checkpoint=checkpoint)
    queue.recover(runs_root)
    assert cli.main(["resume", "old", "--no-follow"]) == 0
    assert started == ["old"]
    capsys.readouterr()
    assert cli.main(["resume", "old", "--no-follow"]) == 1
    assert "is done" in capsys.readouterr().err, "and why not is said"
    run.update_status(state=State.QUEUED, launched=None, started=None)
    assert cli.main(["resume", "old", "--no-follow"]) == 1
    assert "needs no resuming" in capsys.readouterr().err
    assert cli.main(["resume", "older", "--no-follow"]) == 1
    assert "no run called 'older'" in capsys.readouterr().err
