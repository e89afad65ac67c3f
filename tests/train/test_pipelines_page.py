"""docs/pipelines.md does what it says: its file, its commands in their order, its gates and its program are run."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from engine import TrainedPipeline
from engine.cli import _parser, main
from engine.pipelines import drive
from engine.pipelines.course import progress_of_all
from engine.pipelines.gate import read_gate
from engine.pipelines.named import chains
from engine.pipelines.pipeline import Pipeline
from engine.runs import launcher
from engine.runs.directory import RunDirectory
from engine.trainers.ppo import PPOParams

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "pipelines.md").read_text(encoding="utf-8")
# As written, but for two steps: how much is learned in more of them, other tests show.
SHORT = {"max_steps": 2, "max_samples": 12, "valid_fraction": 0.25, "sample_tokens": 0, "batch_size": 3, "device": "cpu"}


def blocks(kind: str) -> list[str]:
    return [words for named, words in re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL) if named == kind]


@pytest.fixture
def worked(runs_root: Path, work: Callable[[RunDirectory], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Stages are trained within this process and for two steps; the names of the runs in their order."""
    names: list[str] = []

    def start(job: str, args: dict[str, Any], secrets: Any, *, output: Any = None, channel: Any = None) -> Any:
        names.append(Path(args["run"]).name)
        work(RunDirectory(Path(args["run"])))
        return SimpleNamespace(pid=os.getpid())

    def shortened(pipeline: Pipeline) -> Pipeline:
        writes = {"rl_max_new_tokens": 8, "rl_num_ppo_epochs": 1}
        own = {stage.name: writes if stage.trainer == "ppo" else {} for stage in pipeline.stages}
        return pipeline.changed({stage.name: {**SHORT, **own[stage.name]} for stage in pipeline.stages})

    checked = drive.begin, drive.resume
    monkeypatch.setattr(launcher, "_cold", start)
    monkeypatch.setattr(drive, "begin", lambda pipeline, tell: checked[0](shortened(pipeline), tell))
    monkeypatch.setattr(drive, "resume", lambda pipeline, tell: checked[1](shortened(pipeline), tell))
    monkeypatch.chdir(tmp_path)
    return names


@pytest.mark.long  # tests/train/test_pipelines.py runs their like
def test_its_commands_run_one_after_the_other(worked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = blocks("yaml")
    # two steps are no measure of what the judge learns in three passes
    Path("cheerful-town.yaml").write_text(file.replace("at_least: 0.8", "at_least: 0.0"))
    for line in "".join(blocks("bash")).splitlines():
        command, _, target = line.partition(" > ")
        program, *words = shlex.split(command)
        assert program == "aitraining"
        capsys.readouterr()
        assert main(words) == 0, (line, capsys.readouterr().err)
        if target:
            Path(target).write_text(capsys.readouterr().out)
    town = [f"cheerful-town-{stage}" for stage in ("answers", "judge", "cheerful", "judge-2", "cheerful-2")]
    assert worked == ["rlhf-1-sft", "rlhf-1-reward", "rlhf-1-ppo", *town], "what was done is kept, what builds on it follows"
    assert {progress.name: progress.state for progress in progress_of_all()} == {"cheerful-town": "done", "rlhf-1": "done"}


def test_its_program_runs(worked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks("python")
    shown: dict[str, Any] = {}
    exec(program, shown)
    assert worked == ["preference-1-sft", "preference-1-dpo"]
    assert isinstance(shown["result"], TrainedPipeline)
    assert str(shown["result"]) in capsys.readouterr().out


def test_its_names_and_gates_are_true() -> None:
    table = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert set(table) == set(chains())
    for name, stages in chains().items():
        assert re.findall(r"`([\w-]+)`", table[name]) == list(stages)
    for line in "".join(blocks("gates")).splitlines():
        assert read_gate(yaml.safe_load(line)).metric in line


def test_its_settings_are_those_of_the_trainer() -> None:
    words = shlex.split(blocks("bash")[0])[1:]
    given = [place.split("=")[0] for place in _parser(words).parse_args(words).set]
    assert {place.split(".")[1] for place in given} <= set(PPOParams.model_fields)
