"""The commands that stand on the pages of the older tools are understood as they are written there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from engine.cli import _read
from engine.data import inspect
from engine.flags import given_values
from engine.registry import parse, spec_for
from tests.train.toys import jsonl

# One line of each page of the older tools' documentation, the form in which its data is read, and what became of flags.
OLDER_COMMANDS = [
    (
        "aitraining llm --model gpt2 --trainer default --data-path ./corpus.txt --text-column text "
        "--project-name my-lm-model --epochs 3 --batch-size 8 --lr 5e-5",
        "text",
        {"batch_size": 8, "lr": 5e-5},
    ),
    (
        "aitraining llm --model gpt2 --trainer sft --data-path ./chats.jsonl --text-column messages --chat-template chatml "
        "--project-name sft-lora --peft --lora-r 16 --lora-alpha 32 --quantization int4 --epochs 3",
        "messages",
        {"chat_template": "chatml", "peft": True, "quantization": "int4"},
    ),
    (
        "aitraining llm --model gpt2 --trainer distillation --teacher-model gpt2-large --teacher-prompt-template "
        "'Be brief. {input}' --student-prompt-template '{input}' --data-path ./queries.json --text-column text "
        "--project-name distilled-model --distill-temperature 3.0 --distill-alpha 0.7",
        "prompts",
        {"distill_temperature": 3.0, "distill_alpha": 0.7},
    ),
    (
        "aitraining llm --model gpt2 --trainer dpo --data-path ./preferences.json --prompt-text-column prompt "
        "--text-column chosen --rejected-text-column rejected --project-name my-dpo-model --dpo-beta 0.1 --epochs 3 "
        "--batch-size 4 --model-ref gpt2",
        "preference",
        {"dpo_beta": 0.1, "model_ref": "gpt2"},
    ),
    (
        "aitraining llm --model gpt2 --trainer orpo --data-path ./preferences.json --prompt-text-column prompt "
        "--text-column chosen --rejected-text-column rejected --orpo-alpha 1.0",
        "preference",
        {"orpo_weight": 1.0},
    ),
    (
        "aitraining llm --train --trainer ppo --model gpt2 --rl-reward-model-path ./reward_model --data-path prompts.csv "
        "--text-column text --project-name ppo_model --rl-multi-objective true",
        "prompts",
        {"rl_reward_model_path": "./reward_model"},
    ),
    (
        "aitraining llm --model gpt2 --trainer reward --data-path ./preferences.json --prompt-text-column prompt "
        "--text-column chosen --rejected-text-column rejected --project-name my-reward-model --epochs 3 --batch-size 8",
        "preference",
        {"column_mapping": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}},
    ),
]


@pytest.mark.parametrize(
    ("line", "form", "settings"), OLDER_COMMANDS, ids=[line.split("--trainer ")[1].split()[0] for line, *_ in OLDER_COMMANDS]
)
def test_the_commands_of_the_older_tools_pages_are_understood(
    world: Path, line: str, form: str, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """As written there; the data's columns play the roles that the flags name."""
    (world / "corpus.txt").write_text("The harbour opens at six.\n\nThe keeper lights the lamp.\n", encoding="utf-8")
    jsonl(world / "queries.json", [{"text": f"When does gate {n} open?"} for n in range(4)])
    (world / "prompts.csv").write_text("text\nWhen does the gate open?\nWho lights the lamp?\n", encoding="utf-8")
    talks = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"{n}"}] for n in range(4)]
    jsonl(world / "chats.jsonl", [{"messages": talk, "text": "not this"} for talk in talks])
    words = shlex.split(line)[1:]
    given = given_values(_read(words))
    params = parse(given.values)
    seen = inspect(params.data_path, spec_for(params.trainer).rows, mapping=params.column_mapping or None)
    assert seen.form == form and not seen.problems and seen.usable
    assert {name: getattr(params, name) for name in settings} == settings
    assert "--train" not in words or any(said.startswith("train:") for said in given.lines)
