"""From a terminal and from Python: a plan without a start, a run that is started, watched, read and stopped."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine import LLMTrainingParams, Run, TrainedModel, start
from engine.errors import RunActive, RunError, RunNotFound, TrainingError
from engine.runs import launcher, line
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.sparkline import sparkline
from tests.pipelines.workers import Workers

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--max-steps", "3", "--sample-tokens", "0", "--logging-steps", "1"]
# What the tests start is asked of real processes: a bundled sample, a few steps.
SFT = ["llm", "--trainer", "sft", "--data-path", "sample:neighbours"]


@pytest.fixture
def small(tiny_model: Path, runs_root: Path) -> list[str]:
    return [*SFT, "--model", str(tiny_model), *QUICK]


def aitraining(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "engine.cli", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


# ---- a plan ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_dry_run_prints_the_plan_and_starts_nothing(runs_root: Path) -> None:
    done = aitraining(*SFT, "--dry-run", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    for word in ("Trainer", "Model", "Data", "Steps", "Memory", "Disk", "Time", "lr ", "Nothing was started."):
        assert f"{word}" in done.stdout
    assert not [path for path in runs_root.glob("*") if path.is_dir()], "no run was made"


@pytest.mark.slow
def test_the_plan_is_json_for_scripts_and_names_what_is_wrong(runs_root: Path, tmp_path: Path) -> None:
    made = json.loads(aitraining(*SFT, "--dry-run", "--json", "--epochs", "2", "--batch-size", "8").stdout)
    assert made["settings"]["lr"] and made["settings"]["batch_size"] == 8
    assert made["total_steps"] == -(-made["train_rows"] // 8) * 2
    assert made["memory"] == pytest.approx(sum(made["memory_items"].values())) and made["fits"]

    wrong = tmp_path / "wrong.json"
    wrong.write_text("{")
    done = aitraining("llm", "--trainer", "sft", "--data-path", str(wrong), "--dry-run", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["error"] in done.stderr
    done = aitraining(*SFT, "--dry-run", "--json", "--lr", "3")
    assert done.returncode == 2 and "lr must be" in json.loads(done.stdout)["settings"]["lr"]

    RunDirectory.create({"trainer": "sft"}, "taken", runs_root)
    done = aitraining(*SFT, "--dry-run", "--project-name", "taken")
    assert done.returncode == 1 and "'taken' exists" in done.stderr


# ---- a run -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_that_is_not_followed_goes_on_by_itself(small: list[str], runs_root: Path) -> None:
    done = aitraining(*small, "--no-follow", "--json", "--project-name", "alone")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["name"] == "alone" and row["model_path"] is None
    followed = aitraining("follow", "alone", "--json")
    assert followed.returncode == 0, followed.stderr
    row = json.loads(followed.stdout)
    assert (row["state"], row["step"], row["model_path"]) == ("done", 3, str(runs_root / "alone" / "model"))
    assert row["metrics"]["loss"] > 0
    assert "step 3  loss" in followed.stderr and "\x1b" not in followed.stderr, "plain lines when piped"


@pytest.mark.slow
def test_a_failure_is_no_success_for_a_script(runs_root: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "?", "completion": ""}\n')
    done = aitraining("llm", "--trainer", "sft", "--data-path", str(data), "--json", "--project-name", "nothing")
    assert done.returncode == 1
    row = json.loads(done.stdout)
    assert row["state"] == "failed" and row["reason"] and row["reason"] in done.stderr


@pytest.mark.slow
def test_python_starts_watches_reads_and_waits(tiny_model: Path, runs_root: Path) -> None:
    asked = {"max_steps": 4, "eval_steps": 2, "logging_steps": 1, "sample_tokens": 0}
    params = LLMTrainingParams(trainer="sft", model=str(tiny_model), data_path="sample:neighbours", **asked)
    run = start(params)
    assert isinstance(run, Run) and run.status.state is not State.DONE, "start does not wait"
    made = run.wait()
    assert isinstance(made, TrainedModel) and os.fspath(made) == str(run.path / "model")
    table = Run(run.name).metrics()
    assert table.index.name == "step" and list(table.loss.dropna().index) == [1, 2, 3, 4]
    assert list(table.eval_loss.dropna().index) == [0, 2, 4]
    assert table.loss[4] == pytest.approx(run.status.metrics["loss"])
    # what it returned is a base model for the next, as is its name written as a folder
    again = LLMTrainingParams(trainer="dpo", model=made, model_ref=f"./{made.name}", data_path="sample:manners", **asked)
    assert again.model == str(run.path / "model")
    assert "Run(" in repr(run) and "done" in repr(run)


@pytest.mark.slow
def test_python_stops_a_run_and_says_so(tiny_model: Path, runs_root: Path) -> None:
    asked = {"max_steps": 2000, "epochs": 1000, "sample_tokens": 0}
    run = start(LLMTrainingParams(trainer="sft", model=str(tiny_model), data_path="sample:neighbours", **asked))
    while not run.status.step:
        time.sleep(0.1)
    run.stop()
    seen = [status.state for status in run.watch(0.05)]
    assert seen[-1] is State.STOPPED and State.TRAINING in seen, "watched to its end, silently"
    with pytest.raises(TrainingError, match="stopped"):
        run.wait()
    assert 0 < run.status.step < 2000


def test_who_waited_for_a_run_may_delete_it_at_once(runs_root: Path) -> None:
    """Its process tells how it ended, clears up, and only then is gone."""
    run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, "clearing-up", runs_root)
    run.update_status(state=State.DONE)
    clearing = run.lock()
    assert clearing.acquire()
    leaving = threading.Timer(0.7, clearing.release)
    leaving.start()
    waited = Run("clearing-up")
    waited.wait()
    assert not run.alive
    waited.delete()
    leaving.join()


def test_a_run_that_is_not_there_cannot_be_watched(runs_root: Path) -> None:
    with pytest.raises(RunNotFound, match="no run called 'nobody'"):
        Run("nobody")


# ---- another folder --------------------------------------------------------------------------------------------------


def kept(folder: Path, *, loss: float = 1.0, state: State = State.DONE, model: bool = True, **settings: str) -> RunDirectory:
    """An ended run `sft-starter-1` in the folder's own ./runs, with a checkpoint."""
    settings = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours", **settings}
    run = RunDirectory.create(settings, "sft-starter-1", folder / "runs")
    for at in (run.checkpoints_dir / "checkpoint-4", *([run.model_dir] if model else [])):
        at.mkdir(parents=True)
        (at / "config.json").write_text("{}")
    ends = {} if state is State.DONE else {"cause": "killed", "reason": f"It was ended in {folder.name}."}
    run.update_status(state=state, metrics={"loss": loss}, ended=time.time(), **ends)
    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a program begins; `there`, beside it, is where it goes. Each has runs of its own, since nothing names a home."""
    monkeypatch.delenv("AITRAINING_HOME", raising=False)
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def there(here: Path) -> Path:
    return here.parent / "there"


def test_a_run_stays_itself_when_the_program_goes_to_another_folder(here: Path, there: Path) -> None:
    mine, other = kept(here, loss=1.0), kept(there, loss=2.0)
    run = Run("sft-starter-1")
    os.chdir(there)
    made = run.wait()
    assert (made.model_path, made.metrics) == (mine.model_dir, {"loss": 1.0})
    assert run.remove_checkpoints() > 0
    assert not mine.checkpoints_dir.exists() and other.checkpoints_dir.is_dir()
    run.delete()
    assert not mine.path.exists() and other.model_dir.is_dir()


def test_what_is_said_of_a_run_is_not_said_of_its_namesake(here: Path, there: Path) -> None:
    kept(here, state=State.FAILED, model=False)
    kept(there)
    run = Run("sft-starter-1")
    os.chdir(there)
    with pytest.raises(TrainingError, match="It was ended in here"):
        run.wait()
    assert [found.kind for found in run.findings()] == ["killed"]
    with pytest.raises(RunError, match="no finished model"):
        run.push()


def test_a_model_that_a_run_needs_is_kept_from_any_folder(here: Path, there: Path) -> None:
    kept(here)
    base = Run("sft-starter-1")
    line.pause(here / "runs")
    waits = start(LLMTrainingParams(trainer="dpo", model="sft-starter-1", data_path="sample:manners"))
    os.chdir(there)
    with pytest.raises(RunActive, match=waits.name):
        base.delete()
    waits.stop()
    program = waits.export(there / "program").read_text()
    assert str(here / "runs" / "sft-starter-1" / "model") in program


def test_a_run_that_is_waited_for_is_started_where_it_is(here: Path, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers, told = Workers(), list[Any]()

    def cold(job: str, args: dict[str, Any], *more: Any, **named: Any) -> Any:
        told.append(args["environment"]["AITRAINING_HOME"])
        return workers.start(job, args, *more, **named)

    monkeypatch.setattr(launcher, "_cold", cold)
    line.pause(here / "runs")
    run = start(LLMTrainingParams(trainer="sft", data_path="sample:neighbours"))
    os.chdir(there)
    line.go_on(here / "runs")
    assert run.wait().model_path == here / "runs" / run.name / "model"
    assert told == [str(here / "runs")], "and whatever it reads by name is looked for there"


# ---- a terminal ------------------------------------------------------------------------------------------------------


def on_a_terminal(words: list[str], answers: list[tuple[str, str]], seconds: float = 90) -> tuple[int, str]:
    """Run `aitraining` with a terminal of its own, giving each answer when its question appears; (exit code, screen)."""
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "engine.cli", *words])
    shown, seen, deadline = "", 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([screen], [], [], 0.2)[0]:
            try:
                shown += os.read(screen, 1 << 16).decode(errors="replace")
            except OSError:  # the program has ended
                break
        if answers and re.search(answers[0][0], shown[seen:]):
            seen = len(shown)
            os.write(screen, (answers.pop(0)[1] + "\n").encode())
    os.close(screen)
    _, status = os.waitpid(pid, 0)
    assert not answers, f"never asked: {answers[0][0]}\n{shown}"
    return os.waitstatus_to_exitcode(status), shown


def test_the_wizard_asks_in_the_terminal(runs_root: Path) -> None:
    answers = [("labeled examples", "yes"), ("preference pairs", "yes"), ("custom rewards", "no"), ("reference model", "no")]
    answers += [("Your data", "nowhere.json"), ("start from", ""), ("no file", ""), ("start from", ""), ("Start it", "n")]
    code, screen = on_a_terminal([], answers)
    assert code == 0
    assert "Use ORPO" in screen and "Nothing was started." in screen
    assert re.search(r"aitraining llm --trainer orpo .*--data-path\s+sample:whole-sentences", screen)
    assert not list(runs_root.glob("*")), "no run was made"


def test_the_wizard_offers_a_sample_to_those_who_have_no_data_yet(runs_root: Path) -> None:
    answers = [("labeled examples", "no"), ("raw text", "no"), ("long prompt", "no"), ("Your data", ""), ("start from", "")]
    code, screen = on_a_terminal([], [*answers, ("Start it", "n")])
    assert code == 0 and "Collect data first" in screen
    assert re.search(r"--trainer sft .*--data-path\s+sample:neighbours", screen)


@pytest.mark.slow
def test_a_terminal_shows_a_bar_and_the_curve(small: list[str], runs_root: Path) -> None:
    code, screen = on_a_terminal([*small, "--project-name", "drawn"], [])
    assert code == 0, screen
    assert "3/3" in screen and re.search(r"loss \d\.\d{4} [▁▂▃▄▅▆▇█]", screen), screen


def test_a_curve_is_a_row_of_bars() -> None:
    assert sparkline([0, 1, 2, 3], 4) == "▁▃▆█"
    assert sparkline(range(100), 3) == "▁▄█"
    assert sparkline([2, 2], 8) == "▁▁" and sparkline([], 8) == ""
