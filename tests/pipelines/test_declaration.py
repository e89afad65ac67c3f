"""Pipelines as people write them: files, chains by name, changes, and sentences for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.advisor import pipelines as documented
from engine.errors import ParamError
from engine.params import model_settings
from engine.pipelines.asked import asked
from engine.pipelines.gate import Gate
from engine.pipelines.named import chains, example_command, named, sample_data
from engine.pipelines.pipeline import from_mapping, from_yaml
from engine.pipelines.steps import check, steps
from engine.registry import specs

pytestmark = pytest.mark.usefixtures("runs_root")

TOWN = """
pipeline: cheerful-town
stages:
  answers:
    trainer: sft
    data_path: sample:neighbours
  judge:
    trainer: reward
    model: answers
    data_path: sample:good-cheer
    lr: 2e-4
    gate: {metric: eval_rewards/accuracies, at_least: 0.8}
  cheerful:
    trainer: ppo
    model: answers
    rl_reward_model_path: judge
    data_path: sample:doorstep
"""


def test_a_file_is_read_in_its_order() -> None:
    town = from_yaml(TOWN)
    assert (town.name, [stage.name for stage in town.stages]) == ("cheerful-town", ["answers", "judge", "cheerful"])
    assert town.stage("judge").gate == Gate("eval_rewards/accuracies", ">=", 0.8)
    assert town.references(town.stage("cheerful")) == {"model": "answers", "rl_reward_model_path": "judge"}


def test_what_is_written_is_read_back_the_same() -> None:
    words = "two\nlines: \u2028 and # more"
    town = from_yaml(TOWN).changed({"cheerful": {"rl_rewards": ["length: 4", "2 * keyword: a, b"]}, "judge": {"x": words}})
    assert from_yaml(town.to_yaml()) == town
    assert from_mapping(town.to_mapping()) == town


def test_every_setting_that_takes_a_model_may_name_a_stage() -> None:
    named_by_forms = {name for spec in specs().values() for name in model_settings(spec.params)}
    assert named_by_forms == {"model", "model_ref", "rl_reward_model_path", "teacher_model"}


def test_relative_data_is_kept_with_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("prompt,completion\nA?,B.\n")
    stage = {"trainer": "sft", "data_path": "./a.csv", "valid_path": "nowhere.csv", "model": "starter"}
    settings = from_mapping({"pipeline": "p", "stages": {"s": stage}}).stage("s").settings
    assert settings == {**stage, "data_path": str(tmp_path / "a.csv")}, "what is not there stays as it was written"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "A pipeline file holds"),
        ("- a", "A pipeline file holds"),
        ("trainer: sft", "has no 'trainer'"),
        ("stages: {}", "needs a name"),
        ("pipeline: ../up\nstages: {a: {trainer: sft}}", "cannot be a pipeline's name"),
        ("pipeline: 7\nstages: {a: {trainer: sft}}", "cannot be a pipeline's name"),
        ("pipeline: p", "has no stages"),
        ("pipeline: p\nstages: [a]", "has no stages"),
        ("pipeline: p\nstages: {a: }", "stage a: which trainer?"),
        ("pipeline: p\nstages: {a: {data_path: x}}", "stage a: which trainer?"),
        ("pipeline: p\nstages: {a: {trainer: sfd}}", "stage a: There is no trainer 'sfd'. Did you mean 'sft'?"),
        ("pipeline: p\nstages: {a.b: {trainer: sft}}", "'a.b' cannot be a stage's name"),
        ("pipeline: p\nstages: {1: {trainer: sft}}", "1 cannot be a stage's name"),
        ("pipeline: p\nstages: {a: {trainer: sft, 1: 2}}", "stage a: 1 is no setting's name"),
        ("pipeline: p\nstages: {a: {trainer: sft, project_name: x}}", "stage a: leave project_name out"),
        ("pipeline: p\nstages: {a: {trainer: sft, gate: good}}", "stage a: gate 'good' cannot be read"),
        (f"pipeline: {'p' * 60}\nstages: {{{'a' * 30}: {{trainer: sft}}}}", "too long"),
        ("pipeline: p\nstages: {a: {trainer: sft}, a: {trainer: dpo}}", "'a' stands there twice"),
        ("pipeline: p\nstages: {a: {trainer: sft, lr: 1, lr: 2}}", "'lr' stands there twice"),
    ],
)
def test_what_is_no_pipeline_is_told(written: str, told: str) -> None:
    with pytest.raises(ParamError) as error:
        from_yaml(written)
    assert told in str(error.value)


def test_stages_are_changed_by_name() -> None:
    town = from_yaml(TOWN).changed({"judge": {"epochs": 5}}, {"judge": None, "answers": "eval_loss < 3"}, "other")
    assert (town.name, town.stage("judge").settings["epochs"]) == ("other", 5)
    assert (town.stage("judge").gate, town.stage("answers").gate) == (None, Gate("eval_loss", "<", 3.0))
    assert town.changed({"answers": {"gate": "eval_loss < 4"}}).stage("answers").gate == Gate("eval_loss", "<", 4.0)
    for changes in ({"jugde": {"epochs": 5}}, None), (None, {"jugde": "eval_loss < 3"}):
        with pytest.raises(ParamError, match=r"no stage 'jugde'\. Did you mean judge"):
            town.changed(*changes)


# ---- by name ---------------------------------------------------------------------------------------------------------


def test_the_documented_chains_go_by_their_names() -> None:
    assert chains()["basic"] == ("sft",)
    assert chains()["preference"] == ("sft", "dpo")
    assert chains()["single-stage"] == ("orpo",)
    assert chains()["rlhf"] == ("sft", "reward", "ppo")
    assert set(chains()) == {pipeline.id for pipeline in documented()}


def test_the_models_of_rlhf_go_where_its_picture_says() -> None:
    rlhf = named("rlhf", "r", sample_data("rlhf"), "some/base")
    chosen = {stage.name: {k: stage.settings.get(k) for k in ("model", "rl_reward_model_path")} for stage in rlhf.stages}
    assert chosen == {
        "sft": {"model": "some/base", "rl_reward_model_path": None},
        "reward": {"model": "sft", "rl_reward_model_path": None},
        "ppo": {"model": "sft", "rl_reward_model_path": "reward"},
    }


@pytest.mark.parametrize("chain", chains())
def test_every_chain_can_be_begun_with_samples(chain: str, runs_root: Path) -> None:
    pipeline = named(chain, "p", sample_data(chain))
    if chain == "distillation":  # has nothing to teach without a long prompt, which nobody can guess
        pipeline = pipeline.changed({"distillation": {"teacher_prompt_template": "Be brief. {input}"}})
    check(pipeline, steps(pipeline, {}, runs_root))
    assert from_yaml(pipeline.to_yaml()) == pipeline
    assert f"aitraining pipeline {chain} --data" in example_command(chain)


def test_a_chain_without_data_says_which_and_how() -> None:
    with pytest.raises(ParamError) as error:
        asked("rlhf", data={"sft": "a.csv", "dpo": "b.csv"})
    assert "no stage 'dpo'" in error.value.message
    assert "stage reward (" in error.value.message
    assert "--data reward=sample:good-cheer" in error.value.hint


def test_a_base_model_is_for_chains_alone(tmp_path: Path) -> None:
    file = tmp_path / "town.yaml"
    file.write_text(TOWN)
    with pytest.raises(ParamError, match="names its models itself"):
        asked(file, model="starter")
    assert asked(file, name="x", data={"judge": "b.csv"}).stage("judge").settings["data_path"] == "b.csv"
    with pytest.raises(ParamError, match=r"By name there are: basic, preference"):
        asked("rhlf")


# ---- all stages are judged before the first starts -------------------------------------------------------------------


def changed(**stages: dict[str, Any]) -> Any:
    """The town with some settings changed; None takes one out."""
    values = yaml.safe_load(TOWN)
    for stage, settings in stages.items():
        values["stages"].setdefault(stage, {}).update(settings)
        values["stages"][stage] = {k: v for k, v in values["stages"][stage].items() if v is not None}
    values["stages"]["judge"]["lr"] = float(values["stages"]["judge"]["lr"])
    return from_mapping(values)


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ({"judge": {"lr": 3}}, "stage judge: lr must be more than 0 and less than 1, got 3"),
        ({"judge": {"packing": True}}, "stage judge: packing belongs to the trainer sft"),
        ({"cheerful": {"data_path": None}}, "stage cheerful: data_path is missing"),
        ({"cheerful": {"data_path": "sample:none"}}, "stage cheerful: data_path: There is no bundled sample 'none'"),
        ({"cheerful": {"data_path": "/nowhere.jsonl"}}, "stage cheerful: data_path: "),
        ({"judge": {"data_path": "sample:neighbours"}}, "stage judge: data_path: "),
        ({"judge": {"valid_path": "/nowhere.jsonl"}}, "stage judge: valid_path: "),
        ({"answers": {"model": "judge"}}, "stage answers: model names the stage judge, which comes after it"),
        ({"answers": {"model": "answers"}}, "stage answers: model names the stage itself"),
        ({"cheerful": {"model": "judge"}}, "stage cheerful: model names the stage judge, whose model gives scores"),
        ({"cheerful": {"rl_reward_model_path": "answers"}}, "names the stage answers, whose model writes text"),
        ({"cheerful": {"rl_reward_model_path": "starter"}}, "names 'starter', whose model writes text"),
        ({"cheerful": {"rl_reward_model_path": "jugde"}}, "Did you mean the stage judge?"),
        ({"cheerful": {"model": "answer"}}, "stage cheerful: model names 'answer', which is no stage"),
        ({"cheerful": {"model": "./nowhere"}}, "stage cheerful: model: There is no model './nowhere' on this machine"),
        ({"judge": {"gate": "eval_accuracies > 1"}}, "stage judge: gate: the trainer reward measures no"),
        ({"starter": {"trainer": "sft", "data_path": "sample:neighbours"}}, "stage starter: starter is the name of the"),
    ],
)
def test_whatever_is_wrong_with_a_stage_is_told_with_its_name(
    stages: dict[str, dict[str, Any]], told: str, runs_root: Path
) -> None:
    pipeline = changed(**stages)
    with pytest.raises(ParamError) as error:
        check(pipeline, steps(pipeline, {}, runs_root))
    assert told in str(error.value)
    assert not runs_root.exists(), "nothing was begun"


def test_every_wrong_stage_is_told_at_once(runs_root: Path) -> None:
    with pytest.raises(ParamError) as error:
        steps(changed(answers={"epochs": 0}, judge={"lr": 3}, cheerful={"model": "cheerful"}), {}, runs_root)
    assert [problem.field for problem in error.value.problems] == ["answers.epochs", "judge.lr", "cheerful.model"]


def test_stages_become_the_names_of_their_runs(runs_root: Path) -> None:
    made = {step.stage.name: step for step in steps(from_yaml(TOWN), {}, runs_root)}
    assert made["cheerful"].params.model == made["answers"].run == "cheerful-town-answers"
    assert made["cheerful"].params.project_name == "cheerful-town-cheerful"
    assert vars(made["cheerful"].params)["rl_reward_model_path"] == made["judge"].run == "cheerful-town-judge"


def test_a_gate_needs_rows_that_are_held_out(tmp_path: Path, runs_root: Path) -> None:
    (tmp_path / "few.csv").write_text("prompt,completion\n" + "".join(f"Q{n}?,A{n}.\n" for n in range(12)))
    few = changed(answers={"data_path": str(tmp_path / "few.csv"), "gate": "eval_loss < 2"})
    with pytest.raises(ParamError, match="stage answers: gate: of 12 rows none would be held out"):
        check(few, steps(few, {}, runs_root))
    enough = few.changed({"answers": {"valid_fraction": 0.2}})
    check(enough, steps(enough, {}, runs_root))
