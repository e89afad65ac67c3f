"""What the page foresees of a pipeline that goes on: what is left of a stage, and not what lies in its checkpoint."""

from __future__ import annotations

from pathlib import Path

from engine import api
from engine.pipelines.course import Course
from engine.pipelines.steps import steps
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.checkpoint_files import make_checkpoint
from tests.pipelines.workers import PAIR
from ui.pipeline_review import review_html


def left_behind(root: Path, *, checkpoint: int) -> None:
    """A pipeline whose first stage is done and whose second was stopped after this step."""
    course = Course("pair")
    course.folder.mkdir(parents=True)
    course.create(PAIR)
    for step in steps(PAIR, {}, root):
        run = RunDirectory.create(step.params.model_dump(mode="json"), step.run, root)
        course.add_run(step.stage.name, step.run)
        run.update_status(
            state=State.STOPPED if step.run == "pair-second" else State.DONE, step=checkpoint, started=1.0, ended=2.0
        )
        run.model_dir.mkdir()
    make_checkpoint(RunDirectory(root / "pair-second"), checkpoint)


def test_steps_and_time_are_of_what_is_left(runs_root: Path) -> None:
    whole = api.pipelines.outlook(PAIR)[1]
    left_behind(runs_root, checkpoint=50)
    kept, left = api.pipelines.outlook(PAIR, "pair")
    assert (kept.move, left.move, left.done) == ("keep", "go on with", 50)
    assert left.estimate and left.plan and whole.estimate
    assert left.estimate.steps == left.plan.total_steps - 50 == whole.estimate.steps - 50
    assert left.estimate.seconds < whole.estimate.seconds
    shown = review_html([kept, left])
    assert f"{left.estimate.steps} of {left.plan.total_steps}" in shown and "goes on from its checkpoint" in shown
    fresh = review_html([whole])
    assert f">{whole.estimate.steps}<" in fresh, "where nothing is done there is one number"
