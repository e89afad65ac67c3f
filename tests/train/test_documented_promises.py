"""The quick reference and the common workflows that users know from the documentation, as written there.

`gpt2` is a folder of that name where the commands run, since tests reach no hub.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from engine import LLMTrainingParams, train
from engine.cli import _read, main
from engine.data import inspect
from engine.flags import given_values
from engine.registry import parse, spec_for
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.listing import list_runs
from tests.train.toys import jsonl, qa

QUICK_REFERENCE = """
aitraining llm --trainer sft --model gpt2 --data-path ./data
aitraining llm --trainer dpo --model gpt2 --data-path ./preferences.json
aitraining llm --trainer orpo --model gpt2 --data-path ./preferences.json
aitraining llm --trainer ppo --model gpt2 --rl-reward-model-path ./reward_model
aitraining llm --trainer reward --model gpt2 --data-path ./preferences.json
"""
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
PREVIEWS = ("aitraining llm --preview-trainer sft --help", "aitraining llm --preview-trainer dpo --help")
PAIRS = [{"prompt": f"When does gate {n} open?", "chosen": f"At {n}, my friend.", "rejected": "Go away."} for n in range(12)]


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the documentation's commands name, where runs go to ./runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AITRAINING_HOME", raising=False)
    shutil.copytree(tiny_model, tmp_path / "gpt2")
    (tmp_path / "data").mkdir()
    jsonl(tmp_path / "data" / "questions.jsonl", qa(12))
    (tmp_path / "data.json").write_text(json.dumps(qa(12)), encoding="utf-8")
    (tmp_path / "preferences.json").write_text(json.dumps(PAIRS), encoding="utf-8")
    return tmp_path


def aitraining(line: str) -> int:
    program, *words = shlex.split(line)
    assert program == "aitraining"
    return main(words)


def only_run(trainer: str) -> RunDirectory:
    (name,) = [run.name for run in list_runs(runs_root()) if run.trainer == trainer and run.state == "done"]
    return RunDirectory.open(name)


@pytest.mark.slow
@pytest.mark.parametrize("line", QUICK_REFERENCE.strip().splitlines(), ids=lambda line: line.split()[3])
def test_the_quick_reference_trains(folder: Path, line: str) -> None:
    trainer = line.split()[3]
    if "reward_model" in line:
        before = "aitraining llm --trainer reward --model gpt2 --data-path ./preferences.json --project-name reward_model"
        assert aitraining(before) == 0
    assert aitraining(line) == 0
    run = only_run(trainer)
    assert run.path.parent == folder / "runs"
    assert run.status().step > 0
    kind: Any = AutoModelForSequenceClassification if trainer == "reward" else AutoModelForCausalLM
    kind.from_pretrained(run.model_dir)
    if "reward_model" in line:
        assert run.data()["train_rows"] > 0 and "rewards/model" in run.status().metrics


@pytest.mark.parametrize("line", PREVIEWS)
def test_a_preview_is_grouped_help_and_changes_no_trainer(folder: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        aitraining(line)
    shown = capsys.readouterr().out
    assert end.value.code == 0
    previewed = line.split()[3]
    assert f"The {previewed} trainer's own:" in shown
    assert ("--dpo-beta" in shown) is (previewed == "dpo")
    # without --help it changes nothing: what runs is the trainer that --trainer names
    assert aitraining(f"aitraining llm --preview-trainer {previewed} --trainer sft --data-path ./data --lr 3") == 2
    assert "(--lr)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "form", "settings"), OLDER_COMMANDS, ids=[line.split("--trainer ")[1].split()[0] for line, *_ in OLDER_COMMANDS]
)
def test_the_commands_of_the_older_tools_pages_are_understood(
    folder: Path, line: str, form: str, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """As written there; the data's columns play the roles that the flags name."""
    (folder / "corpus.txt").write_text("The harbour opens at six.\n\nThe keeper lights the lamp.\n", encoding="utf-8")
    jsonl(folder / "queries.json", [{"text": f"When does gate {n} open?"} for n in range(4)])
    (folder / "prompts.csv").write_text("text\nWhen does the gate open?\nWho lights the lamp?\n", encoding="utf-8")
    talks = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"{n}"}] for n in range(4)]
    jsonl(folder / "chats.jsonl", [{"messages": talk, "text": "not this"} for talk in talks])
    words = shlex.split(line)[1:]
    given = given_values(_read(words))
    params = parse(given.values)
    seen = inspect(params.data_path, spec_for(params.trainer).rows, mapping=params.column_mapping or None)
    assert seen.form == form and not seen.problems and seen.usable
    assert {name: getattr(params, name) for name in settings} == settings
    assert "--train" not in words or any(said.startswith("train:") for said in given.lines)


@pytest.mark.slow
def test_basic_fine_tuning(folder: Path) -> None:
    config = LLMTrainingParams(
        trainer="sft",
        model="gpt2",
        data_path="./data.json",
        project_name="task-model",
    )
    made = train(config)
    assert made.name == "task-model" and (made.model_path / "model.safetensors").is_file()


@pytest.mark.slow
def test_preference_alignment(folder: Path) -> None:
    # the places that the documentation leaves open with three dots
    sft_config = LLMTrainingParams(trainer="sft", model="gpt2", data_path="./data.json", project_name="sft_model")
    sft_model = train(sft_config)
    dpo_config = LLMTrainingParams(
        trainer="dpo", model="./sft_model", model_ref="./sft_model", data_path="./preferences.json", max_steps=3
    )
    aligned_model = train(dpo_config)
    AutoModelForCausalLM.from_pretrained(aligned_model.model_path)
    # the model that was returned may be named instead, and so may a folder
    again = LLMTrainingParams(trainer="dpo", model=sft_model, model_ref=sft_model, data_path=folder / "preferences.json")
    assert again.model == again.model_ref == str(sft_model)


@pytest.mark.slow
def test_full_rlhf(folder: Path) -> None:
    reward_config = LLMTrainingParams(
        trainer="reward", model="gpt2", data_path="./preferences.json", project_name="reward_model"
    )
    reward_model = train(reward_config)
    assert reward_model.metrics["loss"] > 0
    ppo_config = LLMTrainingParams(
        trainer="ppo", rl_reward_model_path="./reward_model", model="gpt2", rl_max_new_tokens=8, max_steps=2
    )
    rlhf_model = train(ppo_config)
    AutoModelForCausalLM.from_pretrained(rlhf_model.model_path)
    assert "reward" in rlhf_model.metrics
