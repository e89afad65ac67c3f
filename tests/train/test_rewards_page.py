"""docs/rewards.md does what it says: its own blocks, safety rewards and custom metrics among them, are trained with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.cli import _parser
from engine.flags import given_values
from engine.params import LLMTrainingParams
from engine.rewards import read
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.train.toys import series

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
# As written, but for two steps: how much is learned in more of them, other tests show.
SHORT = {"max_steps": 2, "max_samples": 6, "valid_fraction": 0.0, "sample_tokens": 0, "batch_size": 3, "device": "cpu"}
WRITTEN = {"rl_max_new_tokens": 12, "rl_num_ppo_epochs": 1}


def blocks(section: str, kind: str) -> list[str]:
    """The blocks of one kind in one section of the page."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return [words for named, words in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) if named == kind]


@pytest.fixture
def train_shortly(runs_root: Path, work: Callable[..., int]) -> Callable[..., RunDirectory]:
    """Trains with these settings for two steps; the run must be done."""

    def trained(params: LLMTrainingParams, name: str) -> RunDirectory:
        short = {**SHORT, **{key: value for key, value in WRITTEN.items() if key in type(params).model_fields}}
        run = RunDirectory.create({**params.model_dump(mode="json"), **short}, params.project_name or name, runs_root)
        assert work(run) == 0, run.status()
        assert (run.status().state, run.status().step) == (State.DONE, 2)
        return run

    return trained


@pytest.mark.parametrize("trainer", ["ppo", "grpo"])
def test_safety_rewards_are_trained_with(trainer: str, train_shortly: Callable[..., RunDirectory]) -> None:
    (program,) = blocks("Safety rewards", "python")
    shown: dict[str, Any] = {}
    exec(program.replace('trainer="ppo"', f'trainer="{trainer}"'), shown)
    run = train_shortly(shown["params"], "safe")
    each = {"rewards/keyword", "rewards/length", "rewards/no-repeat"}
    assert set(_parts(run)) == each, "each reward has a curve of its own"


def test_what_must_not_be_said_costs_and_help_is_worth_something() -> None:
    (lines,) = blocks("Safety rewards", "rewards")
    rewards = read(lines.splitlines())

    def worth(answer: str) -> float:
        return rewards.total(rewards(["?"], [answer], [{"prompt": "?"}]))[0]

    helpful = "Sorry, that is something I cannot tell you; ask the harbour master instead."
    assert worth(helpful) > worth("No.") > worth("Shut up, you idiot.")
    assert worth("Her number is 123-45-6789, as everybody in the town knows well.") < worth(helpful) - 2
    assert worth("sorry sorry sorry " * 10) < worth(helpful), "to say nothing again and again is no way out"


def test_a_custom_metric_is_trained_with(
    train_shortly: Callable[..., RunDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, alone = blocks("Custom metrics", "python")
    monkeypatch.chdir(tmp_path)
    shown: dict[str, Any] = {}
    exec(program, shown)
    run = train_shortly(shown["params"], "custom")
    assert set(_parts(run)) == {"rewards/python", "rewards/no-repeat"}
    for step, share in series(run, "rewards/python").items():
        assert 0 <= share <= 1
        total = 2 * share + series(run, "rewards/no-repeat")[step]
        assert series(run, "reward")[step] == pytest.approx(total, abs=1e-5)
    exec(alone, {})


def test_the_commands_train_one_after_the_other(train_shortly: Callable[..., RunDirectory]) -> None:
    made = []
    for line in "".join(blocks("People's preferences", "bash")).splitlines():
        program, *words = shlex.split(line)
        assert program == "aitraining"
        params = LLMTrainingParams(**given_values(_parser(words).parse_args(words)).values)
        made.append(train_shortly(params, f"{params.trainer}-run"))
    first, scorer, learner, _ = made
    assert (first.name, scorer.name) == ("polite", "cheer")
    assert learner.params()["model"] == first.name
    assert "rewards/model" in _parts(learner), "the reward model of the second run judges the third"


def _parts(run: RunDirectory) -> list[str]:
    return [name for name in run.status().metrics if name.startswith("rewards/")]
