"""A sweep's runs, and how they compare. The sweep's folder under the runs folder's `.sweeps/` holds the declaration and which
combination each run tries; where a run stands and what it measured is what the run says.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.errors import ParamError, RunError, RunNameTaken, RunNotFound
from engine.params import NAME_PATTERN
from engine.runs.directory import RunDirectory
from engine.runs.errand import Errand
from engine.runs.listing import summary
from engine.runs.status import State, kept_measurement
from engine.spec import TrainerSpec
from engine.sweeps.sampling import Values
from engine.sweeps.sweep import Sweep, from_mapping

GONE, DAMAGED = "gone", "damaged"
_AT_WORK = frozenset(
    {State.QUEUED.value, State.PREPARING.value, State.TRAINING.value, State.EVALUATING.value, State.SAVING.value}
)
_KEPT = (State.DONE.value, State.STOPPED.value)


@dataclass(frozen=True)
class TryProgress:
    """One run of a sweep. `values` are those that it tries; `value` is its held-out measurement of the weights that it keeps,
    None before there is one; `rank` is its place, 1 for the best, None while it has none or never will."""

    number: int
    run: str
    values: Values
    state: str
    reason: str = ""
    hint: str = ""
    step: int = 0
    total_steps: int = 0
    seconds: float | None = None
    value: float | None = None
    rank: int | None = None

    @property
    def at_work(self) -> bool:
        """Whether it trains, or waits for its turn."""
        return self.state in _AT_WORK


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands: `working`, `done`, `failed` (all of it), `stopped` or `interrupted`. `tries` are best first: those
    with a place, those at work, the rest. `wanted` is how many there will be; `metric` is what they are judged by.
    """

    name: str
    state: str
    kind: str
    trainer: str
    metric: str
    higher_is_better: bool
    wanted: int
    driven: bool
    created: float
    tries: tuple[TryProgress, ...] = field(default=())
    stop_asked: bool = False
    trouble: str = ""

    @property
    def best(self) -> TryProgress | None:
        """The best run so far."""
        return next((one for one in self.tries if one.rank == 1), None)

    @property
    def at_work(self) -> bool:
        """Whether one of its runs trains or waits."""
        return any(one.at_work for one in self.tries)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "best": self.best.run if self.best else None, "at_work": self.at_work}


class Group(Errand):
    """The folder of one sweep. Holds no state of its own: two objects of the same name are the same sweep."""

    kind = "sweep"
    goes_on = "the run that trains goes on, and those that wait stay in the queue"

    @classmethod
    def open(cls, name: str, root: Path | None = None) -> Group:
        """The sweep called `name`.

        Raises:
            RunNotFound: there is none; the hint names those there are.
        """
        group = cls(name, root)
        if not re.fullmatch(NAME_PATTERN, name) or not group.file.is_file():
            known = ", ".join(cls.names(root)) or "none yet"
            raise RunNotFound(f"There is no sweep called {name!r} here.", hint=f"There are: {known}.")
        return group

    def must_be_new(self, runs: int) -> None:
        """Refuse a name that is in use, or whose runs' names are.

        Raises:
            RunNameTaken: there is a sweep, or a run, of such a name.
        """
        if self.file.exists():
            raise RunNameTaken(
                f"There is a sweep called {self.name!r} already.",
                hint=f"Go on with it: `aitraining sweep {self.name} --resume`. Or give another name with --name.",
            )
        taken = next((n for n in range(1, runs + 1) if (self.root / self.run_name(n)).exists()), None)
        if taken is not None:
            raise RunNameTaken(f"There is a run called {self.run_name(taken)!r} already.", hint="Give the sweep another name.")

    def run_name(self, number: int) -> str:
        """What the run of a combination is called: `sweep-1-3`."""
        return f"{self.name}-{number}"

    def create(self, sweep: Sweep, values: Sequence[Values], request: str = "") -> None:
        """Write a new sweep down with the combinations that are known; to be called by whoever drives it."""
        self.must_be_new(sweep.wanted)
        self.forget_the_end()
        tries = [{"run": self.run_name(number), "values": one, "queued": False} for number, one in enumerate(values, 1)]
        self.write({"created": time.time(), "request": request, "sweep": sweep.to_mapping(), "tries": tries})

    def add(self, values: Values) -> None:
        """Write a further combination down."""
        tries = self.tries()
        new = {"run": self.run_name(len(tries) + 1), "values": values, "queued": False}
        self.write({**self.read(), "tries": [*tries, new]})

    def note(self, place: int, run: str, *, queued: bool) -> None:
        """Write down which run tries the combination at `place`, and whether it was put in the queue."""
        tries = self.tries()
        tries[place] = {**tries[place], "run": run, "queued": queued}
        self.write({**self.read(), "tries": tries})

    def follow(self, old: str, new: str) -> None:
        """A run was renamed."""
        for place, one in enumerate(self.tries()):
            if one["run"] == old:
                self.note(place, new, queued=one["queued"])

    def sweep(self) -> Sweep:
        """The declaration as it was written down.

        Raises:
            RunError: the file was damaged, or its trainer is gone.
        """
        try:
            return from_mapping(self.read()["sweep"])
        except (ParamError, TypeError, KeyError, AttributeError) as error:
            raise self.damaged(str(error)) from error

    def tries(self) -> list[dict[str, Any]]:
        """Every combination that was written down: `run`, `values`, and whether it was `queued`.

        Raises:
            RunError: the file was damaged.
        """
        try:
            return [
                {"run": str(t["run"]), "values": dict(t["values"]), "queued": bool(t["queued"])} for t in self.read()["tries"]
            ]
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise self.damaged(str(error)) from error

    def progress(self) -> Progress:
        """Where it stands, read off the runs."""
        driven = self.is_driven  # before the runs: else one that ends meanwhile looks as if nobody had gone on
        sweep, stop_asked = self.sweep(), self.stop_file.exists()
        spec = sweep.spec
        tries = ranked([self._try(n, one, spec, driven) for n, one in enumerate(self.tries(), 1)], spec)
        trouble = "" if driven else self.trouble()
        wanted = len(tries) if sweep.kind != "adaptive" else sweep.wanted
        return Progress(
            name=self.name,
            state=_state(tries, wanted, driven, stop_asked, trouble),
            kind=sweep.kind,
            trainer=spec.id,
            metric=spec.judged_by,
            higher_is_better=spec.higher_is_better,
            wanted=wanted,
            driven=driven,
            created=self.created(),
            tries=tries,
            stop_asked=stop_asked,
            trouble=trouble,
        )

    def _try(self, number: int, written: dict[str, Any], spec: TrainerSpec, driven: bool) -> TryProgress:
        run = RunDirectory(self.root / written["run"])
        found = TryProgress(number, run.name, written["values"], State.QUEUED.value)
        if not run.status_file.is_file():
            if not written["queued"]:  # whoever puts it in the queue has not come to it, or was killed before that
                return found if driven else replace(found, state=State.INTERRUPTED.value, reason="It was not queued yet.")
            return replace(found, state=GONE, reason=f"Its run {run.name} was deleted or renamed.")
        try:
            status, about = run.status(), summary(run)
        except (RunError, OSError, ValueError) as error:
            return replace(found, state=DAMAGED, reason=str(error))
        found = replace(found, state=status.state.value, reason=status.reason, hint=status.hint, seconds=about.seconds)
        found = replace(found, step=status.step, total_steps=status.total_steps)
        value = status.metrics.get(spec.judged_by)
        if run.params().get("keep_best") and (kept := kept_measurement(status)):
            value = kept[1]
        return replace(found, value=value if value is not None and math.isfinite(value) else None)


def ranked(tries: Sequence[TryProgress], spec: TrainerSpec) -> tuple[TryProgress, ...]:
    """Best first. Only a run that has ended and keeps a model has a place; those at work follow, then what came to nothing."""
    placed = [one for one in tries if one.state in _KEPT and one.value is not None]
    placed.sort(key=lambda one: (-(one.value or 0.0) if spec.higher_is_better else one.value or 0.0, one.number))
    working = [one for one in tries if one.at_work]
    rest = [one for one in tries if one not in placed and one not in working]
    return (*(replace(one, rank=place) for place, one in enumerate(placed, 1)), *working, *rest)


def progress_of_all(root: Path | None = None) -> list[Progress]:
    """Where every sweep stands, newest first; one that is damaged is told and hides no other."""
    found = []
    for name in Group.names(root):
        group = Group(name, root)
        try:
            found.append(group.progress())
        except FileNotFoundError:
            continue  # taken off the list while we looked
        except RunError:
            found.append(Progress(name, DAMAGED, "", "", "", False, 0, group.is_driven, 0.0))
    return found


def runs_of_all(root: Path | None = None) -> dict[str, str]:
    """Run -> the sweep that it belongs to; asks no run where it stands."""
    made: dict[str, str] = {}
    for name in Group.names(root):
        try:
            made.update({one["run"]: name for one in Group(name, root).tries()})
        except (FileNotFoundError, RunError):
            continue  # told where sweeps are listed
    return made


def _state(tries: Sequence[TryProgress], wanted: int, driven: bool, stop_asked: bool, trouble: str) -> str:
    """One word for all of them."""
    states = {one.state for one in tries}
    if driven or any(one.at_work for one in tries):
        return "working"
    if trouble:
        return State.FAILED.value
    if State.STOPPED.value in states or (stop_asked and len(tries) < wanted):
        return State.STOPPED.value
    if State.INTERRUPTED.value in states or len(tries) < wanted:
        return State.INTERRUPTED.value
    return State.DONE.value if State.DONE.value in states else State.FAILED.value
