"""Training from Python: `train` waits until the run is done, `start` does not; what they return can be used as a model."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.admission import admit
from engine.diagnosis import Finding, findings
from engine.errors import TrainingError
from engine.params import LLMTrainingParams
from engine.runs import queue
from engine.runs.directory import RunDirectory
from engine.runs.live import everything
from engine.runs.status import State, Status

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TrainedModel(os.PathLike[str]):
    """A finished run: `os.fspath()` and `str()` give the model's folder, so it can be passed wherever a path can.

    `name` is the run's, `model_path` the folder with safetensors and tokenizer, `metrics` the last value of each curve.
    """

    name: str
    model_path: Path
    metrics: dict[str, float]

    def __fspath__(self) -> str:
        return str(self.model_path)

    def __str__(self) -> str:
        return str(self.model_path)


class Run:
    """A run by its name, whoever started it: watch it, wait for it, stop it, read its curves.

    It stays the run that it was, also when the program goes to another folder, which has a `./runs` of its own.

    Raises:
        RunNotFound: there is no run of that name.
    """

    def __init__(self, name: str) -> None:
        self._directory = RunDirectory.open(name)

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.status.state.value})"

    @property
    def name(self) -> str:
        return self._directory.name

    @property
    def path(self) -> Path:
        """The run's folder; a finished model lies in `path / "model"`."""
        return self._directory.path

    @property
    def _root(self) -> Path:
        """The folder of runs that it was found in, wherever the program that asks has gone since."""
        return self.path.parent

    @property
    def status(self) -> Status:
        """What is true now: state, step of total_steps, the latest metrics, and the reason of an end."""
        return self._directory.status()

    def metrics(self) -> pd.DataFrame:
        """Every curve that the run page draws: a row for each logged step, a column for each metric, NaN where none is."""
        import pandas as pd

        curves = everything(self._directory)["curves"]
        columns = [pd.Series(values, index=steps, name=key, dtype=float) for key, (steps, values) in curves.items()]
        return (pd.concat(columns, axis=1) if columns else pd.DataFrame()).sort_index().rename_axis("step")

    def export(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Write the run as a program into `folder` (`./NAME-export`) and return its place: train.py, settings.yaml, data/.

        It needs nothing of ours: `pip install` what its head names, and run it anywhere. PPO and distillation, which TRL
        lacks, are a call of this engine.

        Raises:
            RunError: there is a train.py already, or the folder cannot be written.
        """
        from engine.export.bundle import export, folder_for

        return export(self._directory).write(Path(folder) if folder is not None else folder_for(self.name))

    def findings(self) -> list[Finding]:
        """What is wrong with it, the weightiest first, each with the one change most likely to help; empty when it is well."""
        return findings(self.name, self._root)

    def stop(self, *, force: bool = False) -> None:
        """Ask it to finish its step, save and end; `force` ends the process at once. Returns without waiting."""
        queue.stop(self._directory, force=force)

    def push(self, hub_model_id: str | None = None, *, private: bool | None = None) -> str:
        """Upload the finished model to the Hugging Face Hub and return its address; the token is that of the login.

        What is not given is as the run's settings say: its own name in your account, and private.

        Raises:
            RunError: it has no finished model.
            ModelError: nobody is logged in, the account may not write there, or the Hub cannot be reached.
        """
        from engine import api

        return api.hub.push(self.name, hub_model_id, private=private, root=self._root)

    def remove_checkpoints(self) -> int:
        """Delete what it only needs to go on and return the bytes freed; the model, curves and log stay.

        Raises:
            RunActive: it works or waits, or its pipeline is under way.
        """
        from engine import retention

        return retention.remove_checkpoints(self.name, self._root)

    def delete(self) -> None:
        """Delete it and all it wrote, its model too.

        Raises:
            RunActive: it works or waits, a run that has not ended needs its model, or its pipeline is under way.
        """
        from engine import retention

        retention.delete(self.name, root=self._root)

    def watch(self, every: float = 0.5) -> Iterator[Status]:
        """Its status now and after every change, until it has ended; looks every `every` seconds, and prints nothing.

        Starts it when the device becomes free, so that a queued run is not waited for in vain.
        """
        last: Status | None = None
        while last is None or not last.ended_state:
            now = self.status
            if now != last:
                yield now
            last = now
            if not now.ended_state:
                queue.dispatch(self._root)
                time.sleep(every)

    def wait(self) -> TrainedModel:
        """Show its progress until it has ended, in a terminal or a notebook.

        Raises:
            TrainingError: it failed, was stopped or was interrupted; message and hint say why.
        """
        from engine.watch import watch

        status = watch(self.name, root=self._root)
        if status.state is not State.DONE:
            message = f"Run {self.name}: {status.state.value}. {status.reason}".strip()
            raise TrainingError(message, hint=status.hint, cause=status.cause or status.state.value)
        return TrainedModel(self.name, self._directory.model_dir, dict(status.metrics))


def start(params: LLMTrainingParams) -> Run:
    """Queue a training and return at once; it begins as soon as the device is free, in a process of its own.

    `params` are settings of any trainer; without a `project_name` the run gets a name such as "sft-starter-1".

    Raises:
        RunNameTaken: there is a run of that name.
        RunError: the folder of the runs cannot be written, or its disk has no room for the run.
    """
    run = queue.enqueue(params, admit=admit)
    queue.dispatch(run.path.parent)
    return Run(run.name)


def train(params: LLMTrainingParams) -> TrainedModel:
    """Train in a process of its own, and wait: with a bar in a terminal, one drawn output in a notebook, else with lines.

    What it returns can be given as `model`, `model_ref` or `rl_reward_model_path` of the next training. Ctrl-C, or stopping
    the cell, ends the waiting and not the run: `Run(name)` finds it again.

    Raises:
        RunNameTaken: there is a run of that name.
        RunError: the folder of the runs cannot be written, or its disk has no room for the run.
        ParamError: the settings cannot be used.
        TrainingError: the run failed, was stopped or was interrupted; message and hint say why.
    """
    return start(params).wait()
