"""How far a pipeline has come. Its folder under the runs folder's `.pipelines/` holds what cannot be read off the runs:
pipeline.json (the declaration, and which runs were made for each stage) and alive.lock (held by whoever drives it).

Where a stage stands is never written there: it is what the stage's newest run says.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import ParamError, RunActive, RunError, RunNameTaken, RunNotFound
from engine.params import NAME_PATTERN
from engine.pipelines.gate import judge
from engine.pipelines.pipeline import Pipeline, Stage, from_mapping
from engine.runs.directory import RunDirectory, make_root, read_json, runs_root, write_json
from engine.runs.lock import FileLock, is_held
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
    reason: str
    step: int
    total_steps: int
    gate: str
    reached: float | None


@dataclass(frozen=True)
class Progress:
    """Where a pipeline stands: `working`, `done`, or the state of the stage at which it ended.

    `driven`: a process is there that starts one stage after the other.
    """

    name: str
    state: str
    driven: bool
    created: float
    stages: tuple[StageProgress, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Course:
    """The folder of one pipeline. Holds no state of its own: two objects of the same name are the same pipeline."""

    def __init__(self, name: str, root: Path | None = None) -> None:
        self.name = name
        self.root = root or runs_root()
        self.folder = _folder(self.root) / name
        self.file = self.folder / "pipeline.json"
        self.lock_file = self.folder / "alive.lock"

    @classmethod
    def open(cls, name: str, root: Path | None = None) -> Course:
        """The pipeline called `name`.

        Raises:
            RunNotFound: there is none; the hint names those there are.
        """
        course = cls(name, root)
        if not re.fullmatch(NAME_PATTERN, name) or not course.file.is_file():
            known = ", ".join(names(root)) or "none yet"
            raise RunNotFound(f"There is no pipeline called {name!r} here.", hint=f"There are: {known}.")
        return course

    @contextmanager
    def driven(self) -> Iterator[None]:
        """Drive this pipeline: nobody else may, until it is over or the process dies.

        Raises:
            RunActive: another process does.
        """
        make_root(self.root)
        make_root(self.folder)
        lock = FileLock(self.lock_file)
        if not lock.acquire():
            raise RunActive(
                f"Another process goes through the pipeline {self.name!r}.",
                hint="Watch it with `aitraining pipelines`, or end that process first; the stage that trains goes on.",
            )
        try:
            yield
        finally:
            lock.release()

    @property
    def is_driven(self) -> bool:
        return is_held(self.lock_file)

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

    def create(self, pipeline: Pipeline) -> None:
        """Write a new pipeline down; to be called by whoever drives it. Raises as `must_be_new`."""
        self.must_be_new()
        self._write(pipeline, {}, time.time())

    def change(self, pipeline: Pipeline) -> None:
        """Replace the declaration; the runs that were made stay the stages' runs."""
        self._write(pipeline, self.attempts(), self.created())

    def add_run(self, stage: str, run: str) -> None:
        """Write down that `run` is the stage's newest."""
        attempts = self.attempts()
        self._write(self.pipeline(), {**attempts, stage: [*attempts.get(stage, []), run]}, self.created())

    def pipeline(self) -> Pipeline:
        """The declaration as it was written down.

        Raises:
            RunError: the file was damaged, or a trainer that it names is gone.
        """
        try:
            return from_mapping(self._read()["pipeline"])
        except (ParamError, TypeError, KeyError, AttributeError) as error:
            raise self._damaged(str(error)) from error

    def attempts(self) -> dict[str, list[str]]:
        """The names of the runs that were made for each stage, oldest first."""
        try:
            return {str(stage): [str(run) for run in runs] for stage, runs in self._read()["runs"].items()}
        except (TypeError, KeyError, AttributeError) as error:
            raise self._damaged(str(error)) from error

    def created(self) -> float:
        """When it was begun, in seconds since 1970."""
        return float(self._read().get("created") or 0.0)

    def progress(self) -> Progress:
        """Where it stands, read off the runs."""
        pipeline, attempts, driven = self.pipeline(), self.attempts(), self.is_driven
        stages = tuple(self._stage(stage, attempts.get(stage.name, [])) for stage in pipeline.stages)
        return Progress(self.name, _state(stages, driven), driven, self.created(), stages)

    def _stage(self, stage: Stage, attempts: list[str]) -> StageProgress:
        name = attempts[-1] if attempts else ""
        run = RunDirectory(self.root / name)
        gate = str(stage.gate or "")
        if not name or not run.status_file.is_file():
            reason = f"Its run {name} was deleted or renamed." if name else ""
            return StageProgress(stage.name, stage.trainer, name, GONE if name else WAITING, reason, 0, 0, gate, None)
        try:
            status = run.status()
        except RunError as error:
            return StageProgress(stage.name, stage.trainer, name, DAMAGED, str(error), 0, 0, gate, None)
        state, reason, reached = status.state.value, status.reason, None
        if status.state is State.DONE and stage.gate:
            verdict = judge(stage.gate, run)
            reached = verdict.value
            if not verdict.met:
                state, reason = GATED, verdict.sentence(stage.name)
        return StageProgress(stage.name, stage.trainer, name, state, reason, status.step, status.total_steps, gate, reached)

    def _read(self) -> Any:
        try:
            return read_json(self.file)
        except ValueError as error:
            raise self._damaged(str(error)) from error

    def _write(self, pipeline: Pipeline, attempts: dict[str, list[str]], created: float) -> None:
        write_json(self.file, {"created": created, "pipeline": pipeline.to_mapping(), "runs": attempts})

    def _damaged(self, why: str) -> RunError:
        return RunError(
            f"What is written down of the pipeline {self.name!r} cannot be used ({self.file}): {why}",
            hint="Its stages are ordinary runs and are still there; start it again under another name.",
        )


def progress_of_all(root: Path | None = None) -> list[Progress]:
    """Where every pipeline stands, newest first; one that is damaged is told and hides no other."""
    found = []
    for name in names(root):
        course = Course(name, root)
        try:
            found.append(course.progress())
        except RunError:
            found.append(Progress(name, DAMAGED, course.is_driven, course.file.stat().st_mtime, ()))
    return found


def names(root: Path | None = None) -> list[str]:
    """The names of all pipelines, newest first."""
    files = list(_folder(root or runs_root()).glob("*/pipeline.json"))
    return [path.parent.name for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)]


def free_name(wish: str, root: Path | None = None) -> str:
    """`rlhf-1`, `rlhf-2`, …: the first that no pipeline has."""
    number = 1
    while Course(f"{wish}-{number}", root).folder.exists():
        number += 1
    return f"{wish}-{number}"


def _folder(root: Path) -> Path:
    return root / ".pipelines"


def _state(stages: tuple[StageProgress, ...], driven: bool) -> str:
    """One word for all of them: what its first unfinished stage says, if nobody is at work on it."""
    left = [stage for stage in stages if stage.state != State.DONE.value]
    if not left:
        return State.DONE.value
    if driven:
        return "working"
    return left[0].state if left[0].state not in (WAITING, GONE) else State.INTERRUPTED.value
