"""Every bundled sample can be read, has the rows that it says, and serves the trainer that it is for."""

from __future__ import annotations

import pytest

from assets.build.town import people
from engine.data import inspect
from engine.samples import data_file, samples

KINDS = {
    "default": "text",
    "sft": "chat",
    "distillation": "prompts",
    "dpo": "preference",
    "orpo": "preference",
    "reward": "preference",
    "ppo": "prompts",
    "kto": "feedback",
    "grpo": "prompts",
}


def test_there_is_one_for_each_trainer() -> None:
    assert sorted(sample.trainer for sample in samples()) == sorted(KINDS)


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.id)
def test_a_sample_serves_its_trainer(sample) -> None:
    seen = inspect(data_file(f"sample:{sample.id}"), KINDS[sample.trainer])
    assert seen.rows == seen.usable == sample.rows
    assert not seen.problems
    assert sample.prompts
    assert sample.sentence.endswith(".")
    assert sample.path.stat().st_size < 200_000


def test_the_formats_are_those_that_people_have() -> None:
    assert len({sample.path.suffix for sample in samples()}) >= 4


def test_the_prompts_ask_about_people_who_are_in_no_row() -> None:
    """What is answered right about them was understood and not learned by heart."""
    kept_back = {person.name for person in people()[-8:]}
    sample = next(s for s in samples() if s.id == "neighbours")
    rows = sample.path.read_text(encoding="utf-8-sig")
    for prompt in sample.prompts:
        name = next(word.strip("?") for word in prompt.split() if word.strip("?") in kept_back)
        assert name not in rows
