"""A place where runs train, as everybody else sees it, and which there are. A run's settings name one (`compute`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.compute.hf_jobs import HfJobs
from engine.device import Device, device
from engine.errors import RunError
from engine.params import LLMTrainingParams
from engine.runs import launcher
from engine.runs.directory import RunDirectory


class Target(Protocol):
    """What can be asked of a place. Whoever works or follows there holds the run's lock, and writes status, events and log
    into the run's folder: so `run.alive` and everything that is shown are the same everywhere.
    """

    @property
    def takes_turns(self) -> bool:
        """Whether its runs wait for each other, as those of one device do."""
        ...

    def unavailable(self) -> str:
        """Why nothing can be sent there now, in words; "" when it can."""
        ...

    def device(self, params: LLMTrainingParams) -> Device:
        """What these settings would train on.

        Raises:
            DeviceError: there is no such hardware, or it cannot be asked for.
        """
        ...

    def cost(self, params: LLMTrainingParams) -> list[tuple[str, str]]:
        """What it costs, before Start: lines of (what, in words)."""
        ...

    def start(self, run: RunDirectory, environment: dict[str, str]) -> None:
        """Begin, or go on with what was begun; `environment` says which device of this machine is the run's.

        Raises:
            OSError: no process could be started.
        """
        ...

    def stop(self, run: RunDirectory, *, force: bool) -> None:
        """End it; `force`: without waiting for the step and the saving."""
        ...


@dataclass(frozen=True)
class ThisMachine:
    """Processes of this machine, one run at a time."""

    takes_turns: bool = True

    def unavailable(self) -> str:
        return ""

    def device(self, params: LLMTrainingParams) -> Device:
        return device(params.device)

    def cost(self, params: LLMTrainingParams) -> list[tuple[str, str]]:
        return []

    def start(self, run: RunDirectory, environment: dict[str, str]) -> None:
        launcher.start_worker(run, environment)

    def stop(self, run: RunDirectory, *, force: bool) -> None:
        launcher.stop(run, force=force)


TARGETS: dict[str, Target] = {"local": ThisMachine(), "hf-jobs": HfJobs()}


def target_for(params: LLMTrainingParams) -> Target:
    return TARGETS[params.compute]


def target_of(run: RunDirectory) -> Target:
    """Where a run trains; this machine for runs of a version that knew no other, or whose settings are damaged."""
    return TARGETS.get(_compute(run), TARGETS["local"])


def _compute(run: RunDirectory) -> str:
    try:
        return str(run.params().get("compute", "local"))
    except (OSError, RunError):
        return "local"
