"""Training from Python: `train` blocks until the run is done and returns something that can be used as a model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import TrainingError
from engine.params import LLMTrainingParams
from engine.runs.status import State


@dataclass(frozen=True)
class TrainedModel(os.PathLike[str]):
    """A finished run: `os.fspath()` and `str()` give the model's folder, so it can be passed wherever a path can."""

    name: str
    model_path: Path
    metrics: dict[str, float]

    def __fspath__(self) -> str:
        return str(self.model_path)

    def __str__(self) -> str:
        return str(self.model_path)


def train(params: LLMTrainingParams) -> TrainedModel:
    """Train in a process of its own, show progress on standard error, and wait.

    Raises:
        ParamError: the settings cannot be used.
        TrainingError: the run failed, was stopped or was interrupted; message and hint say why.
    """
    from engine import api
    from engine.watch import watch

    name = api.start(params)
    status = watch(name)
    if status.state is not State.DONE:
        message = f"Run {name}: {status.state.value}. {status.reason}".strip()
        raise TrainingError(message, hint=status.hint, cause=status.cause or status.state.value)
    summary: Any = next(run for run in api.runs() if run.name == name)
    return TrainedModel(name, api.runs_root() / name / "model", dict(summary.metrics))
