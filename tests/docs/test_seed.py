"""The documentation that users know from AutoTrain: its commands and programs run as they are written there.

`gpt2` is a folder of that name where the commands run, since tests reach no hub.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import engine
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.listing import list_runs
from tests.docs.blocks import ROOT, blocks, commands, run_command

KEPT = ROOT / "tests" / "docs" / "seed_blocks.txt"
SEED = ROOT.parent / "shared" / "seed" / "trainer-documentation.md"
BLOCKS = blocks(KEPT)
QUICK_REFERENCE, PREVIEWS = (list(commands(block.text)) for block in BLOCKS if block.kind == "bash")
BASIC, ALIGNMENT, RLHF = (block.text for block in BLOCKS if block.kind == "python")


def filled(program: str, *places: str) -> str:
    """A program with what the documentation leaves open with three dots."""
    given = iter(places)
    made = re.sub(r"\.\.\.", lambda _: next(given), program)
    assert next(given, None) is None, "more was given than is left open"
    return made


def run(program: str) -> dict[str, Any]:
    """What the names of a program stand for once it has been run; its imports are left out in the documentation."""
    names: dict[str, Any] = {"LLMTrainingParams": engine.LLMTrainingParams, "train": engine.train}
    exec(program, names)
    return names


def only_run(trainer: str) -> RunDirectory:
    (name,) = [run.name for run in list_runs(runs_root()) if run.trainer == trainer and run.state == "done"]
    return RunDirectory.open(name)


@pytest.mark.skipif(not SEED.is_file(), reason="the original is not beside this checkout")
def test_what_is_kept_is_what_the_documentation_says() -> None:
    assert [(block.kind, block.text) for block in BLOCKS] == [(block.kind, block.text) for block in blocks(SEED)]


@pytest.mark.slow
@pytest.mark.parametrize("words", QUICK_REFERENCE, ids=lambda words: words[3])
def test_the_quick_reference_trains(world: Path, words: list[str]) -> None:
    trainer = words[3]
    judged = "./reward_model" in words
    if judged:
        before = "aitraining llm --trainer reward --model gpt2 --data-path ./preferences.json --project-name reward_model"
        assert run_command(before.split()) == 0
    assert run_command(words) == 0
    run = only_run(trainer)
    assert run.path.parent == world / "runs"
    assert run.status().step > 0
    kind: Any = AutoModelForSequenceClassification if trainer == "reward" else AutoModelForCausalLM
    kind.from_pretrained(run.model_dir)
    if judged:
        assert run.data()["train_rows"] > 0 and "rewards/model" in run.status().metrics


@pytest.mark.parametrize("words", PREVIEWS, ids=lambda words: words[3])
def test_a_preview_is_grouped_help_and_changes_no_trainer(
    words: list[str], runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(words) == 0
    shown = capsys.readouterr().out
    previewed = words[3]
    assert f"The {previewed} trainer's own:" in shown
    assert ("--dpo-beta" in shown) is (previewed == "dpo")
    # without --help it changes nothing: what runs is the trainer that --trainer names
    assert run_command([*words[:4], "--trainer", "sft", "--data-path", "sample:neighbours", "--lr", "3"]) == 2
    assert "(--lr)" in capsys.readouterr().err


@pytest.mark.slow
def test_basic_fine_tuning(world: Path) -> None:
    made = engine.train(run(BASIC)["config"])
    assert made.name == "task-model" and (made.model_path / "model.safetensors").is_file()


@pytest.mark.slow
def test_preference_alignment(world: Path) -> None:
    first = 'model="gpt2", data_path="./data.json", project_name="sft_model"'
    names = run(filled(ALIGNMENT, first, 'data_path="./preferences.json"'))
    AutoModelForCausalLM.from_pretrained(names["aligned_model"].model_path)
    # the model that was returned may be named instead, and so may a folder
    sft_model = names["sft_model"]
    again = engine.LLMTrainingParams(trainer="dpo", model=sft_model, model_ref=sft_model, data_path=world / "preferences.json")
    assert again.model == again.model_ref == str(sft_model)


@pytest.mark.slow
def test_full_rlhf(world: Path) -> None:
    first = 'model="gpt2", data_path="./preferences.json", project_name="reward_model"'
    names = run(filled(RLHF, first, 'model="gpt2"'))
    assert names["reward_model"].metrics["loss"] > 0
    AutoModelForCausalLM.from_pretrained(names["rlhf_model"].model_path)
    assert "reward" in names["rlhf_model"].metrics
