"""How far a pipeline has come. Its folder under the runs folder's `.pipelines/` holds what cannot be read off the runs:
pipeline.json (the declaration, and which runs were made for each stage), alive.lock (held by whoever drives it), stop (a
request to end), trouble.json (why a driver ended where no run says so) and driver.log (what it printed).

Where a stage stands is never written there: it is what the stage's newest run says.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import ParamError, RunError, RunNameTaken, RunNotFound
from engine.params import NAME_PATTERN
from engine.pipelines.gate import judge
from engine.pipelines.pipeline import Pipeline, Stage, from_mapping
from engine.runs.directory import RunDirectory
from engine.runs.errand import Errand
from engine.runs.status import State

WAITING, GONE, GATED, DAMAGED = "waiting", "gone", "gate not met", "damaged"


@dataclass(frozen=True)
class StageProgress:
    """Where one stage stands. `state` is its run's own, or `waiting` (no run yet), `gone` (its run was deleted or
    renamed) or `gate not met`; `reason` says why it is not done. `gate` and `reached` are a gate and what it measured."""

    stage: str
    trainer: str
    run: str
    state: str
    reason: str = ""
    step: int = 0
    total_steps: int = 0
    gate: str = ""
    reached: float | None = None
    verdict: str = ""  # what was reached and asked, in words
    hint: str = ""
    tries: tuple[str, ...] = ()  # every run that was made for it, oldest first


@dataclass(frozen=True)
class Progress:
    """Where a pipeline stands: `working`, `done`, or the state of the stage at which it ended.

    `driven`: a process is there that starts one stage after the other. `stop_asked`: it was asked to end. `trouble` is why
    that process ended where no run says so.
    """

    name: str
    state: str
    driven: bool
    created: float
    stages: tuple[StageProgress, ...]
    stop_asked: bool = False
    trouble: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Course(Errand):
    """The folder of one pipeline. Holds no state of its own: two objects of the same name are the same pipeline."""

    kind = "pipeline"
    goes_on = "the stage that trains goes on"

    @classmethod
    def open(cls, name: str, root: Path | None = None) -> Course:
        """The pipeline called `name`.

        Raises:
            RunNotFound: there is none; the hint names those there are.
        """
        course = cls(name, root)
        if not re.fullmatch(NAME_PATTERN, name) or not course.file.is_file():
            known = ", ".join(cls.names(root)) or "none yet"
            raise RunNotFound(f"There is no pipeline called {name!r} here.", hint=f"There are: {known}.")
        return course

    def must_be_new(self) -> None:
        """Refuse a name that is in use.

        Raises:
            RunNameTaken: there is a pipeline of this name.
        """
        if self.file.exists():
            raise RunNameTaken(
                f"There is a pipeline called {self.name!r} already.",
                hint=f"Go on with it: `aitraining pipeline {self.name} --resume`. Or give another name with --name.",
            )

    def create(self, pipeline: Pipeline, request: str = "") -> None:
        """Write a new pipeline down; to be called by whoever drives it. Raises as `must_be_new`.

        `request` tells one wish from another of the same name: see `asked_as`.
        """
        self.must_be_new()
        self.forget_the_end()
        self.write({"created": time.time(), "request": request, "pipeline": pipeline.to_mapping(), "runs": {}})

    def change(self, pipeline: Pipeline) -> None:
        """Replace the declaration, and forget how it ended; the runs that were made stay the stages' runs."""
        attempts = self.attempts()  # told first if the file is damaged
        self.forget_the_end()
        self.write({**self.read(), "pipeline": pipeline.to_mapping(), "runs": attempts})

    def add_run(self, stage: str, run: str) -> None:
        """Write down that `run` is the stage's newest."""
        attempts = self.attempts()
        self.write({**self.read(), "runs": {**attempts, stage: [*attempts.get(stage, []), run]}})

    def follow(self, old: str, new: str) -> None:
        """A run was renamed."""
        attempts = self.attempts()
        renamed = {stage: [new if run == old else run for run in runs] for stage, runs in attempts.items()}
        if renamed != attempts:
            self.write({**self.read(), "runs": renamed})

    def pipeline(self) -> Pipeline:
        """The declaration as it was written down.

        Raises:
            RunError: the file was damaged, or a trainer that it names is gone.
        """
        try:
            return from_mapping(self.read()["pipeline"])
        except (ParamError, TypeError, KeyError, AttributeError) as error:
            raise self.damaged(str(error)) from error

    def attempts(self) -> dict[str, list[str]]:
        """The names of the runs that were made for each stage, oldest first."""
        try:
            return {str(stage): [str(run) for run in runs] for stage, runs in self.read()["runs"].items()}
        except (TypeError, KeyError, AttributeError) as error:
            raise self.damaged(str(error)) from error

    def progress(self) -> Progress:
        """Where it stands, read off the runs."""
        driven = self.is_driven  # before the runs: else one that ends meanwhile looks as if nobody had gone on
        pipeline, attempts, stop_asked = self.pipeline(), self.attempts(), self.stop_file.exists()
        stages = tuple(self._stage(stage, attempts.get(stage.name, [])) for stage in pipeline.stages)
        trouble = "" if driven else self.trouble()
        state = _state(stages, driven, stop_asked, trouble)
        return Progress(self.name, state, driven, self.created(), stages, stop_asked, trouble)

    def _stage(self, stage: Stage, attempts: list[str]) -> StageProgress:
        name = attempts[-1] if attempts else ""
        run = RunDirectory(self.root / name)
        found = StageProgress(stage.name, stage.trainer, name, WAITING, gate=str(stage.gate or ""), tries=tuple(attempts))
        if not name:
            return found
        if not run.status_file.is_file():
            return replace(found, state=GONE, reason=f"Its run {name} was deleted or renamed.")
        try:
            status = run.status()
        except RunError as error:
            return replace(found, state=DAMAGED, reason=str(error))
        found = replace(found, state=status.state.value, reason=status.reason, hint=status.hint)
        found = replace(found, step=status.step, total_steps=status.total_steps)
        if status.state is not State.DONE or not stage.gate:
            return found
        verdict = judge(stage.gate, run)
        found = replace(found, reached=verdict.value, verdict=verdict.sentence(stage.name))
        return found if verdict.met else replace(found, state=GATED, reason=found.verdict)


def progress_of_all(root: Path | None = None) -> list[Progress]:
    """Where every pipeline stands, newest first; one that is damaged is told and hides no other."""
    found = []
    for name in Course.names(root):
        course = Course(name, root)
        try:
            found.append(course.progress())
        except FileNotFoundError:
            continue  # taken off the list while we looked
        except RunError:
            found.append(Progress(name, DAMAGED, course.is_driven, 0.0, ()))
    return found


def free_name(wish: str, root: Path | None = None) -> str:
    """`rlhf-1`, `rlhf-2`, …: the first that no pipeline has."""
    return Course.free_name(wish, root)


def _state(stages: tuple[StageProgress, ...], driven: bool, stop_asked: bool, trouble: str) -> str:
    """One word for all of them: what its first unfinished stage says, if nobody is at work on it."""
    left = [stage for stage in stages if stage.state != State.DONE.value]
    if not left:
        return State.DONE.value
    if driven:
        return "working"
    if left[0].state not in (WAITING, GONE):
        return left[0].state
    if trouble:
        return State.FAILED.value
    return State.STOPPED.value if stop_asked else State.INTERRUPTED.value
