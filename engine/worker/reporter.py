"""The worker's one voice: writes events and status for everybody who watches."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from engine.errors import TrainingError
from engine.runs import events
from engine.runs.directory import RunDirectory
from engine.runs.status import State, Status
from engine.worker.ranks import ALONE, Ranks
from engine.worker.training_clock import TrainingClock

# The rest is in the charts.
_IN_LOG = ("reward", "eval_reward", "kl", "loss", "eval_loss", "learning_rate", "token_accuracy", "eval_token_accuracy")

SHUT_DOWN = "The machine was shut down"


class StopRequested(TrainingError):
    """Not an error: the way out of work that is not worth finishing."""


class Onlooker(RunDirectory):
    """A run as the further processes of its training see it: they read it, remember what they would write, and follow the
    first one in when to stop.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._status: Status | None = None

    def written_status(self) -> Status:
        return self._status or super().written_status()

    def write_status(self, status: Status) -> None:
        self._status = status

    def log_event(self, kind: str, /, **values: Any) -> None:
        pass

    @property
    def stop_requested(self) -> bool:
        return False


class Reporter:
    """Reports on one run. Remembers the last status, so that progress costs one file replace and no read."""

    def __init__(self, run: RunDirectory, ranks: Ranks = ALONE) -> None:
        self.run, self.ranks = run, ranks
        self.status: Status = run.written_status()
        self.clock = TrainingClock()
        events.mend(run.events_file)

    @property
    def has_points(self) -> bool:
        """Whether this run's curves have points: it was begun before, and cut off before its first checkpoint."""
        return any(event["type"] == "metric" for event in events.read(self.run.events_file)[0])

    def set(self, **changes: Any) -> None:
        """Change the status."""
        self.status = self.run.update_status(**changes)

    def beat(self) -> None:
        """Show that the work goes on, for whoever waits for it to stop."""
        os.utime(self.run.lock_file)

    def stop_asked(self) -> bool:
        """Whether somebody asked the run to end; all processes that train it get the same answer."""
        return self.ranks.agreed(self.run.stop_requested)

    def heed_stop(self, *, together: bool = False) -> None:
        """End the run here if somebody asked for it; for the work before the first step, which saves nothing. `together`: all
        processes are here, and all end.

        Raises:
            StopRequested: somebody did.
        """
        self.beat()
        if not (self.stop_asked() if together else self.run.stop_requested):
            return
        if self.run.shut_down:
            raise StopRequested(f"{SHUT_DOWN} before the first step.", hint="Start it again.", cause="shutdown")
        raise StopRequested("Stopped on request before the first step.", cause="stopped")

    def phase(self, state: State, phase: str, **detail: Any) -> None:
        """Begin a phase: a state for programs, words for people."""
        print(f"[{time.strftime('%H:%M:%S')}] {phase}", flush=True)
        self.set(state=state, phase=phase)
        self.run.log_event("phase", phase=phase, state=state.value, **detail)

    def warn(self, message: str, hint: str = "", **facts: Any) -> None:
        """Tell of something that does not end the run; `facts` are for whoever looks for causes (engine/diagnosis/)."""
        print(f"Warning: {message} {hint}".rstrip(), flush=True)
        self.run.log_event("warning", message=message, hint=hint, **facts)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Add a point to the charts, and keep the latest of each for the list of runs."""
        shown = "  ".join(f"{key} {value:.4g}" for key, value in values.items() if key in _IN_LOG)
        print(f"[{time.strftime('%H:%M:%S')}] step {step}  {shown}", flush=True)
        self.run.log_event("metric", step=step, values=values, m=round(time.monotonic(), 3))
        self.set(step=step, metrics={**self.status.metrics, **values})

    def sample(self, step: int, prompt: str, answer: str) -> None:
        self.run.log_event("sample", step=step, prompt=prompt, answer=answer)
