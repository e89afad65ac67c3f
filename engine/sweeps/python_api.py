"""Sweeps from Python: `run_sweep` waits until every run has ended, `start_sweep` does not; both give the runs as a table."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import TrainingError
from engine.params import LLMTrainingParams
from engine.paths import expanded
from engine.python_api import TrainedModel
from engine.runs import queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.sweeps.group import Group
from engine.sweeps.sweep import Sweep, built, from_mapping, from_yaml
from engine.sweeps.told import told

if TYPE_CHECKING:
    import pandas as pd

What = LLMTrainingParams | str | os.PathLike[str] | Mapping[str, Any]


class SweepRuns:
    """The runs of a sweep by its name, whoever started it: compare them, wait for them, take the best, stop them.

    Raises:
        RunNotFound: there is no sweep of that name.
    """

    def __init__(self, name: str) -> None:
        self._group = Group.open(name)

    def __repr__(self) -> str:
        return f"SweepRuns({self.name!r}, {self.state})"

    @property
    def name(self) -> str:
        return self._group.name

    @property
    def state(self) -> str:
        """`working`, `done`, `failed` (all of it), `stopped` or `interrupted`."""
        return self._group.progress().state

    def table(self) -> pd.DataFrame:
        """A row for each run, best first: its place (empty for one that has none), name, state, the values that it tried, and
        its held-out measurement in the column of that metric."""
        import pandas as pd

        progress, sweep = self._group.progress(), self._group.sweep()
        rows = [
            {
                "rank": one.rank,
                "run": one.run,
                "state": one.state,
                **{name: one.values.get(name) for name in sweep.axes},
                progress.metric: one.value,
                "steps": one.step,
                "seconds": one.seconds,
            }
            for one in progress.tries
        ]
        made = pd.DataFrame(rows)
        return made.astype({"rank": "Int64", progress.metric: "float64"}) if rows else made

    @property
    def best(self) -> TrainedModel:
        """The best run so far.

        Raises:
            TrainingError: none has come to a result.
        """
        progress = self._group.progress()
        if progress.best is None:
            raise TrainingError(f"No run of the sweep {self.name} has come to a result.", hint=" ".join(told(progress)))
        run = RunDirectory.open(progress.best.run, self._group.root)
        return TrainedModel(run.name, run.model_dir, dict(run.status().metrics))

    def stop(self, *, force: bool = False) -> None:
        """Take out of the queue what waits, and ask the run that trains to finish its step and save; `force`: at once."""
        from engine.sweeps import detached

        detached.stop(self.name, force=force, root=self._group.root)

    def wait(self, every: float = 0.5) -> SweepRuns:
        """Wait until every run has ended, saying on standard error how each one ended; looks every `every` seconds.

        Raises:
            TrainingError: no run has come to a result, or the sweep was stopped or cut off.
        """
        said: set[tuple[str, str]] = set()
        while True:
            progress = self._group.progress()
            for one in sorted(progress.tries, key=lambda one: one.number):
                if (one.run, one.state) not in said and not one.at_work:
                    said.add((one.run, one.state))
                    value = "" if one.value is None else f", {progress.metric} {one.value:.4g}"
                    print(
                        f"{one.run}: {one.state}{value} {one.reason if one.state == 'failed' else ''}".strip(), file=sys.stderr
                    )
            if progress.state != "working":
                break
            if not progress.driven:  # whoever waited for them was killed: they are not waited for in vain
                queue.dispatch(self._group.root)
            time.sleep(every)
        if progress.state != State.DONE.value:
            raise TrainingError(f"Sweep {self.name}: {progress.state}. {' '.join(told(progress))}", cause=progress.state)
        return self


def start_sweep(
    what: What,
    values: Mapping[str, Any] | None = None,
    *,
    random: int | None = None,
    adaptive: int | None = None,
    name: str | None = None,
) -> SweepRuns:
    """Queue a run for each combination and return at once; they train one after the other. See docs/sweeps.md.

    `what` are the settings that all runs share, and `values` gives what to try: {"lr": [1e-4, 3e-4], "lora_r": "8..64"}. A
    range needs `random` (that many combinations are drawn) or `adaptive` (each is chosen by what came of those before it);
    without either, every combination is tried. `what` may also be a sweep file, or a mapping of its shape, without `values`.

    Raises:
        ParamError: some combination cannot be used, or nothing is held out to tell which is best; nothing was queued.
        RunNameTaken: there is a sweep, or a run, of such a name.
    """
    from engine.sweeps import detached

    return SweepRuns(detached.start(_asked(what, values, random, adaptive, name)))


def run_sweep(
    what: What,
    values: Mapping[str, Any] | None = None,
    *,
    random: int | None = None,
    adaptive: int | None = None,
    name: str | None = None,
) -> SweepRuns:
    """As `start_sweep`, and wait until every run has ended. A run that fails stops no other, and is last in the table.

    Raises:
        ParamError: some combination cannot be used, or nothing is held out to tell which is best; nothing was queued.
        RunNameTaken: there is a sweep, or a run, of such a name.
        TrainingError: no run has come to a result, or the sweep was stopped or cut off.
    """
    return start_sweep(what, values, random=random, adaptive=adaptive, name=name).wait()


def _asked(what: What, values: Mapping[str, Any] | None, random: int | None, adaptive: int | None, name: str | None) -> Sweep:
    if isinstance(what, LLMTrainingParams):
        shared = {**what.model_dump(mode="json", exclude_defaults=True), "trainer": what.trainer}
        return built(shared, values or {}, name=name, random=random, adaptive=adaptive)
    if isinstance(what, Mapping) and "settings" not in what:
        return built(what, values or {}, name=name, random=random, adaptive=adaptive)
    sweep = from_mapping(what, name) if isinstance(what, Mapping) else from_yaml(read_file(Path(what)), name)
    return sweep if values is None else built(sweep.settings, values, name=sweep.name, random=random, adaptive=adaptive)


def read_file(path: Path) -> str:
    """The text of a sweep file.

    Raises:
        ParamError: it cannot be read.
    """
    from engine.errors import FieldProblem, ParamError

    try:
        return expanded(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ParamError([FieldProblem("", f"The sweep file {path} is not UTF-8 text.")]) from None
    except OSError as error:
        raise ParamError([FieldProblem("", f"The sweep file {path} cannot be read: {error.strerror}.")]) from None
