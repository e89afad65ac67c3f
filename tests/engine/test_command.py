"""The command line, the YAML and the settings are one thing: each turns into the others and back."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.command import command, to_argv
from engine.config_file import from_yaml, to_yaml
from engine.errors import ParamError
from engine.params import LLMTrainingParams
from engine.registry import specs

VALUES: dict[str, Any] = {
    "trainer": st.sampled_from(sorted(specs())),
    "model": st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30),
    "data_path": st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30),
    "epochs": st.floats(0.01, 900),
    "lr": st.none() | st.floats(1e-9, 0.5),
    "batch_size": st.none() | st.integers(1, 64),
    "peft": st.booleans(),
    "merge_adapter": st.booleans(),
    "column_mapping": st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    "sample_prompts": st.lists(st.text(max_size=20), max_size=3),
    "valid_fraction": st.none() | st.just(0.0) | st.floats(0, 0.5),
}

NEEDED = ("trainer", "model", "data_path")


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({k: VALUES[k] for k in NEEDED}, optional={k: v for k, v in VALUES.items() if k not in NEEDED}))
@example({"trainer": "default", "model": "1e5", "data_path": "0E0", "sample_prompts": ["0E0", "-1.5e-3", "1_0e+2"]})
def test_settings_survive_yaml_and_command_line(values: dict[str, Any]) -> None:
    from engine.cli import _parser
    from engine.flags import given_values
    from engine.registry import parse

    made = LLMTrainingParams(**specs()[values["trainer"]].example_settings, **values)
    assert from_yaml(to_yaml(made)) == made
    words = shlex.split(command(made))
    assert words == to_argv(made)
    assert parse(given_values(_parser(words[1:]).parse_args(words[1:])).values) == made


def test_defaults_are_not_spelled_out() -> None:
    made = LLMTrainingParams(trainer="sft", data_path="sample:sft")
    assert command(made) == "aitraining llm --trainer sft --model starter --data-path sample:sft"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainer: [sft", "not YAML (line"),
        ("- a\n- b", "one setting a line"),
        ("trainer: sft\ndata_path: x\nlearning_speed: 1", "no setting 'learning_speed'"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("[" * 5000, "not YAML"),
        ("x: " + "y" * 100_000, "characters long"),
        ("data_path: x", "no trainer"),
    ],
)
def test_yaml_that_is_no_settings_file_is_refused_with_a_sentence(text: str, words: str) -> None:
    with pytest.raises(ParamError, match=r".") as caught:
        from_yaml(text)
    assert words in caught.value.message


def test_small_numbers_in_yaml_are_numbers() -> None:
    assert from_yaml("trainer: sft\ndata_path: x\nlr: 2e-5").lr == 2e-5
