"""A run that is renamed is followed wherever it was named; one that is deleted is not mistaken for another of its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import api, renaming, retention
from engine.bases import base_of
from engine.errors import ModelError, RunActive
from engine.hub.needs import lacks
from engine.models import facts, resolve
from engine.params import LLMTrainingParams
from engine.pipelines.course import Course
from engine.runs import readers
from engine.runs.directory import RunDirectory, read_json, write_json
from engine.runs.status import State
from engine.samples import ASSETS
from engine.sweeps.group import Group
from engine.worker.planning import remember_base
from engine.worker.reporter import Reporter
from tests.checkpoint_files import make_checkpoint
from tests.pipelines.workers import PAIR

Make = Callable[..., RunDirectory]


@pytest.fixture
def made(runs_root: Path) -> Make:
    """A finished run with a complete model, or with an adapter on the model of another run."""

    def make(name: str, on: RunDirectory | None = None, **settings: Any) -> RunDirectory:
        values = LLMTrainingParams(trainer="sft", data_path="sample:neighbours").model_dump(mode="json")
        values |= {"model": on.name if on else "starter", **settings}
        run = RunDirectory.create(values, name, runs_root)
        if on is None:
            shutil.copytree(ASSETS / "starter", run.model_dir)
        else:
            for folder in (run.model_dir, run.path / "adapter"):
                folder.mkdir()
                (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(on.model_dir)}))
            write_json(run.plan_file, {"params": values, "reasons": {}})
            run.update_status(base_created=on.status().created)
        run.update_status(state=State.DONE, launched=1.0, started=1.0, ended=2.0)
        return run

    return make


def test_what_was_trained_on_a_model_follows_its_new_name(made: Make, runs_root: Path) -> None:
    base = made("base")
    first, second = made("first", base), made("second", model_ref=str(base.model_dir), trainer="dpo")
    other = made("other")
    before = {file: file.read_bytes() for file in other.path.rglob("*") if file.is_file()}
    renaming.rename(base, "ground")
    ground = RunDirectory.open("ground")
    assert (first.params()["model"], read_json(first.plan_file)["params"]["model"]) == ("ground", "ground")
    assert second.params()["model_ref"] == str(ground.model_dir)
    for reference in ("first", str(first.path / "adapter")):
        found = base_of(resolve(reference))
        assert found is not None and found.path == ground.model_dir
    assert facts("first").base_of_adapter
    made("base")
    assert base_of(resolve("first")).path == ground.model_dir, "a new run of the old name is another model"  # type: ignore[union-attr]
    assert before == {file: file.read_bytes() for file in other.path.rglob("*") if file.is_file()}


def test_pipelines_and_sweeps_follow_a_new_name(made: Make, runs_root: Path) -> None:
    run = made("old")
    course = Course("one", runs_root)
    with course.driven():
        course.create(PAIR)
        course.add_run("first", "older")
        course.add_run("first", "old")
    group = Group("tries", runs_root)
    with group.driven():
        group.create(
            api.sweeps.built({"trainer": "sft", "data_path": "sample:neighbours"}, {"lr": "1e-4,1e-3"}), [{"lr": 1e-4}]
        )
        group.note(0, "old", queued=True)
        with pytest.raises(RunActive, match="of the sweep 'tries', which is under way"):
            renaming.rename(run, "new")
    (runs_root / ".pipelines" / "torn").mkdir()
    (runs_root / ".pipelines" / "torn" / "pipeline.json").write_text("{")
    renaming.rename(run, "new")
    assert course.attempts() == {"first": ["older", "new"]}
    assert group.tries()[0]["run"] == "new"


def test_an_adapter_whose_base_was_deleted_does_not_take_another_of_its_name(made: Make) -> None:
    base = made("base")
    made("first", base)
    retention.delete("base")
    made("base")
    for wanted in (lambda: facts("first"), lambda: base_of(resolve("first"))):
        with pytest.raises(ModelError, match=r"was deleted; what is in its place .* is another model"):
            wanted()


def test_an_adapter_that_takes_its_bases_name_hangs_nobody(made: Make) -> None:
    base = made("base")
    first = made("first", base)
    first.update_status(base_created=None)  # as a version left it that did not write it down
    retention.delete("base")
    renaming.rename(first, "base")
    with pytest.raises(ModelError, match="whose base is that adapter itself"):
        facts("base")
    assert not lacks("base")
    waits = made("waits", model="base")
    assert readers.readers(RunDirectory.open("base")) == []
    retention.delete(waits.name)


def test_a_run_does_not_go_on_with_another_model_of_the_name_it_began_with(made: Make, runs_root: Path) -> None:
    base, run = made("base"), made("first")
    reporter = Reporter(run)
    remember_base(run, reporter, resolve("base"))
    assert run.status().base_created == base.status().created
    make_checkpoint(run, 5)
    remember_base(run, reporter, resolve("base"))
    retention.delete("base")
    made("base")
    with pytest.raises(ModelError, match="is not the model that this run began with"):
        remember_base(run, reporter, resolve("base"))
