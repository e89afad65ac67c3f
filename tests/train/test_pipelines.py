"""Pipelines that train: models go from stage to stage, and neither a failure nor a kill costs a stage that is done."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import run_pipeline
from engine.cli import main
from engine.errors import StageError
from engine.pipelines.course import Course
from engine.pipelines.pipeline import from_mapping
from engine.runs import launcher
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.train.toys import all_events, jsonl, qa

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("runs_root")]

SHORT = {"precision": "fp32", "device": "cpu", "sample_tokens": 0, "max_steps": 2, "batch_size": 2, "valid_fraction": 0.25}


@pytest.fixture
def within(work: Callable[[RunDirectory], int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages are trained by real workers inside this process, which saves the seconds of a cold start."""
    worked: list[str] = []

    def start(job: str, args: dict[str, Any], secrets: Any, *, output: Any = None, channel: Any = None) -> Any:
        worked.append(Path(args["run"]).name)
        work(RunDirectory(Path(args["run"])))
        return SimpleNamespace(pid=os.getpid())

    monkeypatch.setattr(launcher, "_cold", start)
    return worked


@pytest.fixture
def town(tmp_path: Path, tiny_model: Path) -> Callable[..., dict[str, Any]]:
    """A pipeline of a tiny model: answers, then a preference; `second` changes the second stage."""
    pairs = [{"prompt": f"When does gate {n} open?", "chosen": f"At {n}, my dear.", "rejected": "Why?"} for n in range(12)]

    def made(**second: Any) -> dict[str, Any]:
        answers = jsonl(tmp_path / "answers.jsonl", qa(12))
        liked = jsonl(tmp_path / "pairs.jsonl", pairs)
        return {
            "pipeline": "town",
            "stages": {
                "answers": {"trainer": "sft", "model": str(tiny_model), "data_path": answers, **SHORT},
                "polite": {"trainer": "dpo", "model": "answers", "data_path": liked, **SHORT, **second},
            },
        }

    return made


def weights(run: str) -> tuple[str, float]:
    """Digest and time of a run's finished model."""
    file = RunDirectory.open(run).model_dir / "model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime


def test_a_chain_from_a_file_ends_with_0(town: Callable[..., dict[str, Any]], runs_root: Path, tmp_path: Path) -> None:
    """With processes of its own from end to end, as a person runs it."""
    file = tmp_path / "town.yaml"
    file.write_text(from_mapping(town()).to_yaml())
    command = [sys.executable, "-m", "engine.cli", "pipeline", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Stage answers (1 of 2): start run town-answers",
        "Stage polite (2 of 2): start run town-polite",
        f"Done. The model is in {runs_root / 'town-polite' / 'model'}",
    ]
    polite = RunDirectory.open("town-polite")
    assert polite.params()["model"] == polite.plan()["params"]["model"] == "town-answers"
    assert "town-answers" in (polite.model_dir / "README.md").read_text()


def test_a_gate_that_is_not_met_starts_nothing_more(town: Callable[..., dict[str, Any]], within: list[str]) -> None:
    gates = {"answers": {"metric": "eval_loss", "at_most": 0.01}}
    with pytest.raises(StageError, match=r"^Stage answers reached eval_loss [\d.]+; at most 0\.01 was asked\.") as error:
        run_pipeline(town(), gates=gates, settings={"answers": {"eval_steps": 1}})
    assert within == ["town-answers"]
    run = RunDirectory.open("town-answers")
    best = run.status()
    assert f"its best checkpoint, which it kept (step {best.best_step})" in error.value.message
    assert Course.open("town").progress().stages[0].reached == best.best_value, "what is judged is what was kept"


def test_a_failed_stage_is_repaired_and_retried(
    town: Callable[..., dict[str, Any]], within: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = town(drop_bad_rows=False)
    pairs = tmp_path / "pairs.jsonl"
    whole = pairs.read_text()
    pairs.write_text(whole + '{"prompt": "And gate 99?", "chosen": "", "rejected": ""}\n')
    (tmp_path / "town.yaml").write_text(from_mapping(asked).to_yaml())
    assert main(["pipeline", str(tmp_path / "town.yaml")]) == 1
    told = capsys.readouterr().err
    assert "Stage polite (town-polite): failed." in told and "aitraining pipeline town --resume" in told
    before = weights("town-answers")
    pairs.write_text(whole)
    assert main(["pipeline", "town", "--resume"]) == 0
    assert within == ["town-answers", "town-polite", "town-polite-2"]
    assert weights("town-answers") == before, "the stage that was done is not trained again"
    assert RunDirectory.open("town-polite").status().state is State.FAILED
    assert RunDirectory.open("town-polite-2").plan()["params"]["model"] == "town-answers"


def test_whoever_drives_it_may_be_killed(
    town: Callable[..., dict[str, Any]], tmp_path: Path, wait_until: Callable[..., None], runs_root: Path
) -> None:
    file = tmp_path / "town.yaml"
    file.write_text(from_mapping(town()).to_yaml())
    driver = subprocess.Popen([sys.executable, "-m", "engine.cli", "pipeline", str(file)], stdout=subprocess.DEVNULL)
    first = RunDirectory(runs_root / "town-answers")
    wait_until(lambda: first.alive, 60)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    progress = Course.open("town").progress()
    assert (progress.driven, progress.stages[1].state) == (False, "waiting")
    wait_until(lambda: first.status().state is State.DONE, 60)  # the stage that trains goes on without it
    before = weights("town-answers")
    result = run_pipeline("town", resume=True)
    assert weights("town-answers") == before
    assert [model.name for model in result.models.values()] == ["town-answers", "town-polite"]


def test_a_stage_whose_process_died_goes_on_from_its_checkpoint(
    town: Callable[..., dict[str, Any]], within: list[str], tmp_path: Path, wait_until: Callable[..., None], runs_root: Path
) -> None:
    asked = town()
    asked["stages"]["answers"] |= {"max_steps": 600, "epochs": 400, "save_steps": 20, "eval_steps": 600, "keep_best": False}
    file = tmp_path / "town.yaml"
    file.write_text(from_mapping(asked).to_yaml())
    command = [sys.executable, "-m", "engine.cli", "pipeline", str(file)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    run = RunDirectory(runs_root / "town-answers")
    wait_until(lambda: run.status_file.is_file() and run.status().resumable, 60)
    os.kill(run.status().pid or 0, signal.SIGKILL)
    _, told = driver.communicate(timeout=30)
    assert driver.returncode == 3
    assert "Stage answers (town-answers): interrupted." in told
    assert main(["pipeline", "town", "--resume"]) == 0
    assert within == ["town-answers", "town-polite"], "it is the same run that goes on"
    (resumed,) = all_events(run, "resumed")
    assert resumed["step"] >= 20 and run.status().step == 600


def test_the_whole_of_rlhf_by_its_name(within: list[str]) -> None:
    short = {**SHORT, "max_samples": 24}
    result = run_pipeline(
        "rlhf",
        data={"sft": "sample:neighbours", "reward": "sample:good-cheer", "ppo": "sample:doorstep"},
        model="starter",
        settings={
            "sft": short,
            "reward": short,
            "ppo": {**short, "rl_max_new_tokens": 8, "rl_num_ppo_epochs": 1},
        },
        gates={"reward": "eval_rewards/accuracies >= 0"},
    )
    assert within == ["rlhf-1-sft", "rlhf-1-reward", "rlhf-1-ppo"]
    assert (os.fspath(result), result.model.name) == (str(result.models["ppo"].model_path), "rlhf-1-ppo")
    assert (result.model.model_path / "model.safetensors").is_file()
    assert "rewards/model" in result.model.metrics, "the model of the stage `reward` judged the answers"
    assert RunDirectory.open("rlhf-1-reward").plan()["params"]["model"] == "rlhf-1-sft"
