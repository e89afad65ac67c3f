"""The state of a run, as it is written down and as it really is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from engine.runs.events import finite


class State(StrEnum):
    """Where a run stands. A worker writes all but `interrupted`, which is seen from its lock being free."""

    QUEUED = "queued"
    PREPARING = "preparing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SAVING = "saving"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


WORKING = frozenset({State.PREPARING, State.TRAINING, State.EVALUATING, State.SAVING})
ENDED = frozenset({State.DONE, State.FAILED, State.STOPPED, State.INTERRUPTED})

# A worker that was launched has this long to take its lock before it counts as dead (a cold start imports torch).
LAUNCH_GRACE_S = 120.0


_NUMBERS = ("created", "launched", "started", "ended", "step", "total_steps", "best_step", "best_value")
_NUMBERS += ("kept_step", "kept_value", "base_created", "pid", "memory_kills", "worked_before")


@dataclass(frozen=True)
class Status:
    """One snapshot of status.json. Times are seconds since 1970; `phase` is the state in finer words for the page."""

    state: State
    phase: str = ""
    reason: str = ""
    hint: str = ""
    cause: str = ""
    step: int = 0
    total_steps: int = 0
    created: float = 0.0
    launched: float | None = None
    started: float | None = None
    ended: float | None = None
    worked_before: float = 0.0  # seconds at work before it was resumed, in all its earlier parts
    best_step: int | None = None
    best_value: float | None = None
    kept_step: int | None = None  # the best of what was trained, which is saved; the best of all may be the start
    kept_value: float | None = None
    base_created: float | None = None  # when the run was made whose model this one began with
    pid: int | None = None
    pid_started: float | None = None
    boot: str = ""  # which start of the machine it worked in
    device: str = ""
    memory_kills: int | None = None  # by the system, of any process, when the run began; see engine/runs/mishaps.py
    resumable: bool = False
    checkpoints_removed: bool = False  # by somebody who wanted the room, so that it cannot go on
    metrics: dict[str, float] = field(default_factory=dict)
    # what is being fetched or sent: {"what", "done", "total", "per_second"}, in bytes; None while nothing is
    transfer: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "state": self.state.value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Status:
        """Read a snapshot; keys that a later version wrote are ignored, missing ones take their defaults.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: this is no snapshot.
        """
        known = {k: v for k, v in finite(values).items() if k in cls.__dataclass_fields__}
        metrics = {k: v for k, v in (known.get("metrics") or {}).items() if v is not None}
        wrong = [k for k in _NUMBERS if k in known and not isinstance(known[k], (int, float, type(None)))]
        if wrong or known.get("created", 0) is None:
            raise TypeError(f"no number: {', '.join(wrong) or 'created'}")
        if not isinstance(known.get("transfer"), (dict, type(None))):
            raise TypeError("transfer is no mapping")
        return cls(**{**known, "metrics": metrics, "state": State(values["state"])})

    @property
    def ended_state(self) -> bool:
        return self.state in ENDED


def truth(written: Status, *, alive: bool, launching: bool, stop_requested: bool) -> Status:
    """What is true of a run whose file says `written`.

    `alive`: a worker holds the lock. `launching`: a worker was started and may yet take it. `stop_requested`: somebody
    asked it to end, so that a worker which is gone was ended on purpose.
    """
    waiting = written.state is State.QUEUED and written.launched is None
    if alive or launching or waiting or written.state in ENDED:
        return written
    at = f"at step {written.step} of {written.total_steps}" if written.total_steps else "before the first step"
    if stop_requested:
        return replace(written, state=State.STOPPED, reason=f"It was ended by force {at}.", cause="stopped")
    return replace(
        written,
        state=State.INTERRUPTED,
        reason=f"The training process ended without a word {at}.",
        hint="It was killed, ran out of memory, or the machine restarted. The log's last lines may tell which.",
        cause="killed",
    )


def unfollowed(written: Status) -> Status:
    """What is true of a run on a rented machine when nobody here follows it."""
    if written.state in ENDED or (written.state is State.QUEUED and written.launched is None):
        return written
    return replace(
        written,
        state=State.INTERRUPTED,
        reason="The process that follows its rented machine has ended. The machine may still be at work, and cost.",
        hint="Resume follows it again and takes up what it has learned meanwhile; Stop after that ends it.",
        cause="unfollowed",
        resumable=True,
    )


def kept_measurement(status: Status) -> tuple[int, float] | None:
    """The step whose weights a run that keeps its best has saved, and what was measured then; None while it has none.

    A run of a version that did not write these down has kept its best, if that was not the start.
    """
    if status.kept_step is not None and status.kept_value is not None:
        return status.kept_step, status.kept_value
    return (status.best_step, status.best_value) if status.best_step and status.best_value is not None else None
