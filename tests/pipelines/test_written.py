"""The command that the page shows makes the same pipeline again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from engine import api
from engine.cli import _parser
from engine.pipelines import command_line
from engine.pipelines.course import Course
from engine.pipelines.pipeline import Pipeline, from_mapping
from engine.registry import parse
from tests.pipelines.workers import PAIR

RLHF = {"sft": "sample:neighbours", "reward": "sample:good-cheer", "ppo": "sample:doorstep"}


def read(command: str) -> Pipeline:
    words = shlex.split(command)[1:]
    return command_line._asked(_parser(words).parse_args(words))[0]


@pytest.mark.parametrize(
    ("changes", "gates"),
    [
        ({}, {}),
        ({"sft": {"epochs": 2.5, "peft": True, "sample_prompts": ['What\'s "this"?', "-x"]}}, {"reward": "eval_loss <= 0.5"}),
        ({"ppo": {"column_mapping": {"prompt": "Question"}, "lr": 2e-5, "model": "reward"}}, {"sft": "eval_loss < 2"}),
    ],
)
def test_a_chain_by_its_name(runs_root: Path, changes: dict[str, Any], gates: dict[str, str]) -> None:
    wanted = api.pipelines.named("rlhf", "rlhf-1", RLHF).changed(changes, gates)
    command = api.pipelines.command(wanted)
    assert command.startswith("aitraining pipeline rlhf --data sft=sample:neighbours")
    assert "--name" not in command, "it would be called so anyway"
    again = read(command)
    for mine, theirs in zip(wanted.stages, again.stages, strict=True):
        assert parse(theirs.settings) == parse(mine.settings)
        assert mine.gate == theirs.gate


def test_another_name_and_another_base_are_said(runs_root: Path) -> None:
    command = api.pipelines.command(api.pipelines.named("rlhf", "town", RLHF, "org/base"))
    assert read(command) == api.pipelines.named("rlhf", "town", RLHF, "org/base")


def test_a_chain_of_ones_own_is_a_file(runs_root: Path) -> None:
    assert api.pipelines.command(PAIR) == "aitraining pipeline pair.yaml"
    bare = from_mapping({"pipeline": "bare", "stages": {"sft": {"trainer": "sft"}}})
    assert api.pipelines.command(bare) == "aitraining pipeline bare.yaml"


def test_going_on_says_what_changed(runs_root: Path) -> None:
    Course("pair").folder.mkdir(parents=True)
    Course("pair").create(PAIR.changed(gates={"first": "eval_loss < 2"}))
    changed = PAIR.changed({"second": {"epochs": 5}})
    assert api.pipelines.command(changed, "pair") == "aitraining pipeline pair --resume --gate first= --set second.epochs=5"
    assert read(api.pipelines.command(changed, "pair")) == changed.changed({"second": {"epochs": "5"}})
