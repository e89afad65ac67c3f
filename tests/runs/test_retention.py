"""What runs take on disk, and taking a part of it away: what is refused, and that it is refused everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from engine import Run, api, retention
from engine.cli import main
from engine.errors import RunActive, RunError
from engine.params import LLMTrainingParams
from engine.pipelines.course import Course
from engine.pipelines.pipeline import from_mapping
from engine.runs import queue, usage
from engine.runs.directory import RunDirectory
from engine.runs.readers import readers
from engine.runs.status import State


def made(root: Path, name: str, state: State = State.DONE, **settings: Any) -> RunDirectory:
    values = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours", **settings}
    run = RunDirectory.create(LLMTrainingParams(**values).model_dump(mode="json"), name, root)
    for at in (run.checkpoints_dir / "checkpoint-4", run.model_dir):
        at.mkdir(parents=True)
        (at / "model.safetensors").write_bytes(b"x" * 100_000)
    (run.model_dir / "config.json").write_text("{}")
    (run.path / "best.safetensors").write_bytes(b"x" * 50_000)
    run.update_status(state=state, resumable=state is not State.DONE, step=4, total_steps=9)
    return run


def test_what_runs_take_is_told_the_largest_first_and_worked_out_once(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(runs_root, "small")
    (made(runs_root, "large").model_dir / "more.safetensors").write_bytes(b"x" * 400_000)
    told = retention.space()
    assert [run["name"] for run in told["runs"]] == ["large", "small"]
    assert told["root"] == str(runs_root) and told["free"] > 0
    assert 650_000 < told["runs"][0]["total"] < 720_000 and 150_000 <= told["runs"][0]["checkpoints"] < 170_000
    assert told["total"] == sum(run["total"] for run in told["runs"])
    walked: list[Path] = []
    monkeypatch.setattr(usage, "bytes_in", lambda path: walked.append(path) or 1)
    assert retention.space() == told and not walked, "nothing has changed, so nothing is walked through"


def test_removing_checkpoints_keeps_the_model_and_says_that_it_cannot_be_resumed(runs_root: Path) -> None:
    done, stopped = made(runs_root, "done"), made(runs_root, "stopped", State.STOPPED)
    freed = Run("done").remove_checkpoints()
    assert 150_000 <= freed < 170_000
    assert not done.checkpoints_dir.exists() and not (done.path / "best.safetensors").exists()
    assert (done.model_dir / "model.safetensors").is_file() and done.status().state is State.DONE
    assert Run("done").remove_checkpoints() == 0
    assert api.run_report("done")["disk"]["checkpoints"] == 0
    Run("stopped").remove_checkpoints()
    assert not stopped.status().resumable
    with pytest.raises(RunError, match="cannot be resumed: its checkpoints were removed"):
        api.resume("stopped")


@pytest.mark.parametrize("state", [State.QUEUED, State.TRAINING])
def test_a_run_that_waits_or_works_loses_nothing(runs_root: Path, state: State) -> None:
    run = made(runs_root, "busy", state)
    wishes: list[Callable[[], Any]] = [
        lambda: retention.remove_checkpoints("busy"),
        lambda: api.delete_run("busy"),
        lambda: Run("busy").delete(),
        lambda: api.rename_run("busy", "other"),
    ]
    with run.lock() if state is State.TRAINING else nullcontext():
        for wish in wishes:
            with pytest.raises(RunActive):
                wish()
        assert main(["delete", "busy"]) == 1 and main(["prune", "busy"]) == 1
        assert retention.space()["runs"][0]["removable"] is False
    assert (run.checkpoints_dir / "checkpoint-4" / "model.safetensors").is_file()


@pytest.mark.parametrize("names", ["by its name", "by its folder", "through an adapter"])
def test_a_model_that_a_waiting_run_reads_stays(runs_root: Path, names: str) -> None:
    base = made(runs_root, "base")
    model = "base" if names == "by its name" else str(base.model_dir)
    if names == "through an adapter":
        adapter = made(runs_root, "adapter")
        (adapter.model_dir / "config.json").unlink()
        (adapter.model_dir / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base.model_dir)}))
        model = "adapter"
    params = LLMTrainingParams(trainer="dpo", model=model, data_path="sample:manners", project_name="next")
    waiting = queue.enqueue(params, root=runs_root)
    assert readers(base) == ["next"]
    for wish in (lambda: api.delete_run("base"), lambda: api.rename_run("base", "other")):
        with pytest.raises(RunActive, match="The model of 'base' is needed by the run 'next'"):
            wish()
    retention.remove_checkpoints("base")  # of these nobody reads anything
    queue.stop(waiting)
    assert readers(base) == []
    api.delete_run("base")
    assert not base.path.exists()


def test_a_stage_of_a_pipeline_under_way_stays(runs_root: Path) -> None:
    run = made(runs_root, "pair-first")
    stages = {"first": {"trainer": "sft", "data_path": "sample:neighbours"}}
    course = Course("pair")
    with course.driven():
        course.create(from_mapping({"pipeline": "pair", "stages": stages}))
        course.add_run("first", "pair-first")
        for wish in (api.delete_run, retention.remove_checkpoints, lambda name: api.rename_run(name, "other")):
            with pytest.raises(RunActive, match="a stage of the pipeline 'pair', which is under way"):
                wish("pair-first")
    retention.remove_checkpoints("pair-first")
    api.delete_run("pair-first")
    assert not run.path.exists()


def test_prune_on_the_command_line_lists_removes_and_refuses(runs_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, state in (("a", State.DONE), ("b", State.DONE), ("c", State.STOPPED), ("d", State.QUEUED)):
        made(runs_root, name, state)
    assert main(["prune"]) == 0
    said = capsys.readouterr().out
    assert "a (done): 2" in said and "of which checkpoints 1" in said and "are free" in said
    assert main(["prune", "a", "d", "nothing"]) == 1
    told = capsys.readouterr()
    assert "a: 1" in told.out and "freed in all" in told.out
    assert "d: The run 'd' is queued. Stop it first." in told.err and "There is no run called 'nothing'" in told.err
    assert main(["prune", "--all", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["b"], "stopped ones are named by who means them"
    assert (runs_root / "c" / "checkpoints").is_dir() and (runs_root / "d" / "checkpoints").is_dir()
    assert main(["prune", "a", "--all"]) == 2
    assert main(["delete", "a", "c"]) == 0
    assert not (runs_root / "a").exists() and not (runs_root / "c").exists()
