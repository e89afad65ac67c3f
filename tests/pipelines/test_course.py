"""Going through a pipeline, with workers that write a run's status and train nothing: what is kept, retried, refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine import run_pipeline
from engine.cli import main
from engine.errors import ParamError, RunActive, RunError, RunNameTaken, RunNotFound, StageError
from engine.pipelines import drive
from engine.pipelines.course import Course, progress_of_all
from engine.pipelines.pipeline import Pipeline
from engine.runs import listing
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.checkpoint_files import make_checkpoint
from tests.pipelines.workers import PAIR, Workers


def states(name: str = "pair") -> dict[str, tuple[str, str]]:
    """Stage -> (state, run)."""
    return {stage.stage: (stage.state, stage.run) for stage in Course.open(name).progress().stages}


def begin(pipeline: Pipeline = PAIR) -> list[str]:
    told: list[str] = []
    drive.begin(pipeline, told.append)
    return told


def resume(**changes: Any) -> list[str]:
    told: list[str] = []
    drive.resume(Course.open("pair").pipeline().changed(**changes), told.append)
    return told


# ---- from the first to the last --------------------------------------------------------------------------------------


def test_stages_are_trained_in_order_on_each_others_models(workers: Workers, runs_root: Path) -> None:
    told = begin()
    assert workers.worked == ["pair-first", "pair-second"]
    assert RunDirectory.open("pair-second").params()["model"] == "pair-first"
    assert told == ["Stage first (1 of 2): start run pair-first", "Stage second (2 of 2): start run pair-second"]
    assert Course.open("pair").progress().state == "done"
    written = json.loads((runs_root / ".pipelines" / "pair" / "pipeline.json").read_text())
    assert written["runs"] == {"first": ["pair-first"], "second": ["pair-second"]}
    assert "state" not in json.dumps(written), "where a stage stands is written in its run and nowhere else"
    assert [run.name for run in listing.list_runs(runs_root)] == ["pair-second", "pair-first"], "its folder is no run"


def test_a_pipeline_stays_where_it_was_begun_when_the_program_goes_elsewhere(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AITRAINING_HOME")  # so that runs live in ./runs
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    workers.before = lambda run: os.chdir(tmp_path / "there")
    made = run_pipeline(PAIR.to_mapping())
    assert workers.worked == ["pair-first", "pair-second"]
    assert made.model.model_path == tmp_path / "here" / "runs" / "pair-second" / "model"
    assert list(made.models) == ["first", "second"] and made.model.name == "pair-second"


def test_a_name_that_is_taken_is_refused(workers: Workers) -> None:
    begin()
    with pytest.raises(RunNameTaken, match="pair --resume"):
        begin()
    assert workers.worked == ["pair-first", "pair-second"]


def test_a_run_that_has_the_name_already_is_left_alone(workers: Workers, runs_root: Path) -> None:
    RunDirectory.create({"trainer": "sft"}, "pair-first", runs_root)
    begin()
    assert states()["first"] == ("done", "pair-first-2")
    assert RunDirectory.open("pair-second").params()["model"] == "pair-first-2"
    assert RunDirectory.open("pair-first").params() == {"trainer": "sft"}


def test_a_wrong_later_stage_starts_nothing(workers: Workers, runs_root: Path) -> None:
    with pytest.raises(ParamError, match="stage second: "):
        begin(PAIR.changed({"second": {"lr": 3}}))
    assert not runs_root.exists()


# ---- what failed is retried, what is done is kept --------------------------------------------------------------------


def test_a_failed_stage_is_retried_as_another_run(workers: Workers) -> None:
    workers.ends = {"pair-second": State.FAILED}
    with pytest.raises(StageError, match=r"Stage second \(pair-second\): failed. It was so.") as error:
        begin()
    assert (error.value.stage, error.value.run) == ("second", "pair-second")
    assert "aitraining pipeline pair --resume" in error.value.hint
    assert (states()["second"], Course.open("pair").progress().state) == (("failed", "pair-second"), "failed")
    assert resume()[0] == "Stage first (1 of 2): done before, kept (run pair-first)"
    assert workers.worked == ["pair-first", "pair-second", "pair-second-2"]
    assert states() == {"first": ("done", "pair-first"), "second": ("done", "pair-second-2")}
    assert RunDirectory.open("pair-second").status().state is State.FAILED, "what failed is still there to be looked at"
    assert Course.open("pair").attempts()["second"] == ["pair-second", "pair-second-2"]


def test_a_pipeline_that_is_done_stays_as_it_is(workers: Workers) -> None:
    begin()
    assert all("kept" in words for words in resume())
    assert workers.worked == ["pair-first", "pair-second"]


@pytest.mark.parametrize("state", [State.INTERRUPTED, State.STOPPED])
@pytest.mark.parametrize("checkpoint", [True, False])
def test_an_interrupted_stage_goes_on_where_it_can(workers: Workers, state: State, checkpoint: bool) -> None:
    def leave(run: RunDirectory) -> None:
        if checkpoint:
            make_checkpoint(run, 2)

    workers.before, workers.ends = leave, {"pair-second": state}
    with pytest.raises(StageError) as error:
        begin()
    assert error.value.cause == state.value
    resume()
    again = "pair-second" if checkpoint else "pair-second-2"
    assert workers.worked == ["pair-first", "pair-second", again]
    assert states()["second"] == ("done", again)


def test_changed_settings_train_a_stage_and_what_builds_on_it_anew(workers: Workers) -> None:
    begin()
    resume(settings={"second": {"dpo_beta": 0.2}})
    assert workers.worked[2:] == ["pair-second-2"], "the stage before it has not changed"
    resume(settings={"first": {"epochs": 1}})
    assert workers.worked[3:] == ["pair-first-2", "pair-second-3"]
    assert RunDirectory.open("pair-second-3").params()["model"] == "pair-first-2"
    assert RunDirectory.open("pair-second-3").params()["dpo_beta"] == 0.2, "earlier changes are kept"


def test_a_deleted_run_is_told_and_made_anew(workers: Workers) -> None:
    begin()
    listing.delete(RunDirectory.open("pair-first"))
    assert states()["first"] == ("gone", "pair-first")
    resume()
    assert states() == {"first": ("done", "pair-first-2"), "second": ("done", "pair-second-2")}


def test_a_stage_at_work_is_waited_for(workers: Workers) -> None:
    """As after a kill of whoever drove it: the run is there, and works."""
    begin()
    RunDirectory.open("pair-second").update_status(state=State.QUEUED, launched=None, started=None, ended=None)
    with pytest.raises(RunActive, match="with other settings"):
        resume(settings={"second": {"dpo_beta": 0.2}})
    assert resume()[1] == "Stage second (2 of 2): wait for run pair-second"
    assert workers.worked == ["pair-first", "pair-second", "pair-second"]


def test_a_kill_before_the_run_is_written_down_makes_no_second_one(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(self: Course, stage: str, run: str) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Course, "add_run", die)
        begin()
    assert states()["first"] == ("waiting", "")
    resume()
    assert workers.worked == ["pair-first", "pair-second"]


def test_one_process_at_a_time_goes_through_it(workers: Workers) -> None:
    begin()
    with Course("pair").driven():
        assert Course("pair").progress().driven
        with pytest.raises(RunActive, match="Another process"):
            resume()
    assert not Course("pair").progress().driven


# ---- gates -----------------------------------------------------------------------------------------------------------


def test_a_gate_that_is_not_met_ends_it_there(workers: Workers) -> None:
    workers.metrics = {"pair-first": {"eval_loss": 2.5}}
    with pytest.raises(StageError, match=r"Stage first reached eval_loss 2\.5; less than 2 was asked\.") as error:
        begin(PAIR.changed(gates={"first": "eval_loss < 2"}))
    assert error.value.cause == "gate"
    assert workers.worked == ["pair-first"]
    assert states() == {"first": ("gate not met", "pair-first"), "second": ("waiting", "")}
    assert Course.open("pair").progress().state == "gate not met"
    with pytest.raises(StageError, match="less than 2 was asked"):
        resume()
    assert workers.worked == ["pair-first"], "the same training would give the same result"
    told = resume(gates={"first": "eval_loss < 3"})
    assert any("Stage first reached eval_loss 2.5; less than 3 was asked." in words for words in told)
    assert workers.worked == ["pair-first", "pair-second"]


def test_a_stage_that_did_not_pass_can_be_trained_longer(workers: Workers) -> None:
    workers.metrics = {"pair-first": {"eval_loss": 2.5}, "pair-first-2": {"eval_loss": 1.5}}
    with pytest.raises(StageError, match=r"reached eval_loss 2\.5"):
        begin(PAIR.changed(gates={"first": "eval_loss < 2"}))
    resume(settings={"first": {"epochs": 6}})
    assert states() == {"first": ("done", "pair-first-2"), "second": ("done", "pair-second")}
    assert RunDirectory.open("pair-second").params()["model"] == "pair-first-2"


# ---- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pipeline": {}, "runs": {}}', '{"pipeline": 3, "runs": 4}'])
def test_a_damaged_pipeline_is_told_and_hides_no_other(workers: Workers, text: str) -> None:
    begin()
    begin(PAIR.changed(name="other"))
    Course("pair").file.write_text(text)
    with pytest.raises(RunError, match="pair"):
        resume()
    assert {progress.name: progress.state for progress in progress_of_all()} == {"pair": "damaged", "other": "done"}


def test_a_damaged_run_is_told_in_the_list(workers: Workers) -> None:
    begin()
    RunDirectory.open("pair-first").status_file.write_text("{")
    assert states()["first"][0] == "damaged"


@pytest.mark.parametrize("name", ["none", "../pair", ""])
def test_a_pipeline_that_is_not_there_is_told(workers: Workers, name: str) -> None:
    begin()
    with pytest.raises(RunNotFound, match="There are: pair"):
        Course.open(name)


# ---- the command line ------------------------------------------------------------------------------------------------


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "pair.yaml"
    path.write_text(PAIR.to_yaml())
    return str(path)


def test_a_file_is_trained_and_listed(capsys: pytest.CaptureFixture[str], workers: Workers, runs_root: Path, file: str) -> None:
    assert shown(capsys, "pipelines")[1] == f"No pipelines in {runs_root} yet.\n"
    code, out, _ = shown(capsys, "pipeline", file, "--set", "second.dpo-beta=0.2", "--gate", "second=eval_loss < 9")
    assert (code, out.count("Stage ")) == (1, 2), "nothing was measured"
    workers.metrics = {"pair-second-2": {"eval_loss": 0.5}}
    again = ("pipeline", "pair", "--resume", "--set", "second.dpo_beta=0.3")
    code, out, _ = shown(capsys, *again)
    assert (code, out.splitlines()[-1]) == (0, f"Done. The model is in {runs_root / 'pair-second-2' / 'model'}")
    assert RunDirectory.open("pair-second-2").params()["dpo_beta"] == 0.3
    (row,) = json.loads(shown(capsys, "pipelines", "--json")[1])
    assert (row["name"], row["state"], row["stages"][1]["reached"]) == ("pair", "done", 0.5)
    listed = shown(capsys, "pipelines")[1]
    assert "second  done; run pair-second-2; step 4/4; gate eval_loss < 9.0, reached 0.5" in listed


def test_looking_starts_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], workers: Workers, runs_root: Path, file: str
) -> None:
    code, out, _ = shown(capsys, "pipeline", file, "--dry-run", "--gate", "first=eval_loss < 2")
    assert code == 0
    assert "model: pair-first (stage first)" in out and "start: run pair-second" in out and "eval_loss < 2.0" in out
    code, out, _ = shown(capsys, "pipeline", "preference", "--yaml")
    assert code == 0 and "data_path: sample:manners" in out
    assert not runs_root.exists()
    begin()
    out = shown(capsys, "pipeline", "pair", "--resume", "--dry-run", "--set", "second.epochs=1")[1]
    assert "keep: run pair-first" in out and "start: run pair-second-2" in out
    assert Course.open("pair").pipeline() == PAIR


def test_a_chain_goes_by_its_name_and_a_number(capsys: pytest.CaptureFixture[str], workers: Workers) -> None:
    words = ("pipeline", "preference", "--data", "sft=sample:neighbours", "--data", "dpo=sample:manners")
    assert [shown(capsys, *words)[0] for _ in range(2)] == [0, 0]
    assert workers.worked == ["preference-1-sft", "preference-1-dpo", "preference-2-sft", "preference-2-dpo"]


def test_an_edited_file_goes_on(capsys: pytest.CaptureFixture[str], workers: Workers, file: str) -> None:
    workers.ends = {"pair-second": State.FAILED}
    assert shown(capsys, "pipeline", file)[0] == 1
    Path(file).write_text(PAIR.changed({"second": {"dpo_beta": 0.4}}).to_yaml())
    code, _, err = shown(capsys, "pipeline", file)
    assert code == 1 and "--resume" in err, "without the word it is refused"
    assert shown(capsys, "pipeline", file, "--resume")[0] == 0
    assert workers.worked == ["pair-first", "pair-second", "pair-second-2"]
    assert RunDirectory.open("pair-second-2").params()["dpo_beta"] == 0.4


def test_a_stage_that_was_stopped_ends_with_3(capsys: pytest.CaptureFixture[str], workers: Workers, file: str) -> None:
    workers.ends = {"pair-first": State.STOPPED}
    code, _, err = shown(capsys, "pipeline", file)
    assert code == 3 and "Stage first (pair-first): stopped." in err


def test_for_scripts_there_is_one_object_whatever_comes(
    capsys: pytest.CaptureFixture[str], workers: Workers, file: str
) -> None:
    code, out, _ = shown(capsys, "pipeline", file, "--dry-run", "--json")
    plan = json.loads(out)
    assert code == 0 and [(one["stage"], one["run"]) for one in plan["stages"]] == [
        ("first", "pair-first"),
        ("second", "pair-second"),
    ]
    assert all(one["settings"]["data_path"] and one["move"] for one in plan["stages"])
    workers.ends = {"pair-second": State.FAILED}
    code, out, err = shown(capsys, "pipeline", file, "--json")
    assert code == 1 and "failed" in err
    assert [one["state"] for one in json.loads(out)["stages"]] == ["done", "failed"]
    workers.ends = {}
    code, out, err = shown(capsys, "pipeline", "pair", "--resume", "--json")
    assert code == 0 and [one["state"] for one in json.loads(out)["stages"]] == ["done", "done"] and "second" in err
    assert "--json" not in err and json.loads(out)["name"] == "pair"


def test_ctrl_c_says_how_it_goes_on(capsys: pytest.CaptureFixture[str], workers: Workers, file: str) -> None:
    def press(run: RunDirectory) -> None:
        raise KeyboardInterrupt

    workers.before = press
    code, _, err = shown(capsys, "pipeline", file)
    assert code == 130 and "`aitraining pipeline pair --resume`" in err


def test_what_was_begun_keeps_its_name_and_base(capsys: pytest.CaptureFixture[str], workers: Workers, file: str) -> None:
    begin()
    code, _, err = shown(capsys, "pipeline", "pair", "--resume", "--model", "starter")
    assert code == 2 and "keeps its name and its base model" in err
    assert shown(capsys, "pipeline", file, "--resume", "--name", "other")[0] == 1, "no pipeline of that name was begun"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "second=5"], "--set second=5: name the stage as well"),
        (["--set", "second.epochs"], "--set second.epochs cannot be read"),
        (["--set", "secnd.epochs=5"], "no stage 'secnd'. Did you mean second?"),
        (["--set", "second.epoch=5"], "stage second: There is no setting 'epoch'. Did you mean epochs"),
        (["--set", "second.column_mapping=x"], "takes JSON"),
        (["--data", "x.csv"], "--data x.csv cannot be read. Write --data sft=./chats.jsonl."),
        (["--gate", "second=good"], "stage second: gate 'good' cannot be read"),
        (["--model", "starter"], "names its models itself"),
        (["--banana"], "knows nothing of --banana"),
    ],
)
def test_wrong_words_end_with_2(
    capsys: pytest.CaptureFixture[str], workers: Workers, file: str, words: list[str], told: str
) -> None:
    try:
        code = main(["pipeline", file, *words])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    assert told in capsys.readouterr().err
    assert workers.worked == []
