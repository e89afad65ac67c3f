"""What a run was trained with: its settings with nothing left open, why each was chosen, its rows and its steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.device import device
from engine.errors import StudioError
from engine.models import facts
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, plan
from engine.registry import parse, spec_for
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.spec import TrainerSpec

# Rows that a plan is made for where a run ended before its own were counted.
_GUESSED = 1000
# What a program cannot do without, where not even a plan can be made.
_LEAST = {"max_length": 512, "batch_size": 8}


@dataclass(frozen=True)
class Settled:
    """One run as it is exported. `asked` are its settings as they were given, `params` with nothing left open, which are
    guesses unless `chosen`. `rows` and `valid` count its prepared rows; 0 and 0 before they were prepared.

    `planned` are the optimizer steps that were planned, `steps` those that the training itself counted (0: none began).
    `gained` is false where no measurement beat the one before the training.
    `note` says how the run ended, where that matters to whoever runs the export.
    """

    run: RunDirectory
    spec: TrainerSpec
    asked: LLMTrainingParams
    params: Any
    chosen: bool
    reasons: dict[str, str]
    rows: int
    valid: int
    planned: int
    steps: int
    gained: bool
    note: str

    @property
    def root(self) -> Path:
        """The folder of runs that it is in, and that models which it names are looked for in."""
        return self.run.path.parent

    @property
    def made(self) -> int:
        """Optimizer steps that are made, as far as is known."""
        return self.steps or self.planned

    @property
    def prepared(self) -> bool:
        return self.rows > 0

    def limit(self, batch: int, joined: int) -> int:
        """The limit on steps as the run had it: never more than the passes give."""
        passes = math.ceil(math.ceil(math.ceil(max(self.rows, 1) / batch) / joined) * self.params.epochs)
        return self.steps or min(self.params.max_steps or passes, passes)


def settled(run: RunDirectory) -> Settled:
    """What `run` was trained with, or would have been where it ended before that was chosen.

    Raises:
        ParamError: its settings are of another version and cannot be read.
    """
    asked, written, data, status = parse(run.params()), run.plan(), run.data(), run.status()
    rows, valid = int(data.get("train_rows", 0)), int(data.get("valid_rows", 0))
    note = ""
    if status.state is State.STOPPED and status.total_steps:
        note = f"The run was stopped at step {status.step} of {status.total_steps}; this goes on to the end."
    elif status.state is State.DONE and status.step < status.total_steps:
        note = f"The run ended early, at step {status.step} of {status.total_steps}."
    if written:
        params, reasons, planned = parse(written["params"]), dict(written["reasons"]), int(written["total_steps"])
    else:
        params, reasons, planned = _guessed(asked, rows, valid)
        note = "When this was exported the run had not chosen its settings yet: those left open are guesses, or left to TRL."
    gained, steps = status.best_step != 0, status.total_steps
    return Settled(
        run, spec_for(asked.trainer), asked, params, bool(written), reasons, rows, valid, planned, steps, gained, note
    )


def _guessed(asked: LLMTrainingParams, rows: int, valid: int) -> tuple[LLMTrainingParams, dict[str, str], int]:
    """The plan as it would be made on this machine; settings stay open where the model or the device cannot be had."""
    counted = DataFacts(rows=rows or _GUESSED, valid_rows=valid or None)
    try:
        made = plan(asked, counted, facts(asked.model), device(asked.device))
    except StudioError:  # most likely what ended the run: the settings are exported all the same
        least = {name: value for name, value in _LEAST.items() if getattr(asked, name) is None}
        return asked.model_copy(update=least), dict.fromkeys(least, "A guess."), 0
    return made.params, dict.fromkeys(made.reasons, "A guess."), made.total_steps
