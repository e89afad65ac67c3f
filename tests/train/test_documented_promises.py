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
from engine.cli import main
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
