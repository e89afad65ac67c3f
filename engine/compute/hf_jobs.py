"""Hugging Face Jobs as a place to train: which machines there are and what they cost, starting and stopping.

Everything that goes on is told by a process of its own (engine/compute/follow.py). The token is read by the Hub's own client
and handed to the job as a secret; it stands in no argument, file or log.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.compute.hub_answers import asked
from engine.compute.rented import note, rented
from engine.device import Device
from engine.errors import DeviceError
from engine.hub.account import logged_in
from engine.hub_upload import HOW_TO_LOG_IN
from engine.params import LLMTrainingParams
from engine.runs import launcher
from engine.runs.directory import RunDirectory
from engine.runs.status import State

FOLLOWER = "engine.compute.follow"
# The share of a machine's memory that is free when a program starts.
_FREE = 0.94
_UNITS = {"second": 3600, "minute": 60, "hour": 1}
_OLD = ("T4", "P100", "V100")  # no bfloat16
_KEPT_S = 600


@dataclass(frozen=True)
class Hardware:
    """A machine that can be rented. Memory in bytes: of one GPU, or of the machine where it has none; dollars an hour."""

    name: str
    title: str
    gpu: str
    count: int
    memory: int
    cores: int
    per_hour: float | None

    @property
    def words(self) -> str:
        size = f"{self.memory / (1 << 30):.0f} GB"
        what = f"{self.count} × {self.gpu} with {size}" if self.gpu else f"{self.cores} cores, {size}"
        return f"{self.title}: {what}, {dollars(self.per_hour)} an hour"


@dataclass(frozen=True)
class HfJobs:
    """See the module."""

    takes_turns: bool = False

    def unavailable(self) -> str:
        return "" if logged_in() else f"Nobody is logged in to Hugging Face. {HOW_TO_LOG_IN}"

    def hardware(self) -> list[Hardware]:
        """The machines there are, cheapest first, as the Hub lists them.

        Raises:
            DeviceError: nobody is logged in, or the Hub gives no answer.
        """
        if not logged_in():
            raise DeviceError("Nobody is logged in to Hugging Face.", hint=HOW_TO_LOG_IN)
        return _listed(int(time.time() / _KEPT_S))

    def chosen(self, params: LLMTrainingParams) -> Hardware:
        """The machine that the settings name.

        Raises:
            DeviceError: there is none of that name, or none was named.
        """
        there = {one.name: one for one in self.hardware()}
        found = there.get(params.job_hardware or "")
        if found is None:
            what = f"There is no machine called {params.job_hardware!r}" if params.job_hardware else "No machine is chosen"
            gpus = ", ".join(name for name, one in there.items() if one.gpu)
            raise DeviceError(f"{what} at Hugging Face Jobs.", hint=f"Choose one (--job-hardware): {gpus}.")
        return found

    def device(self, params: LLMTrainingParams) -> Device:
        machine = self.chosen(params)
        _check_rewards(params)
        free = int(machine.memory * _FREE)
        kind, new = ("cuda", machine.gpu not in _OLD) if machine.gpu else ("cpu", False)
        name = f"{machine.title} at Hugging Face"
        return Device(kind, name, machine.cores, machine.memory, free, new, quantization=bool(machine.gpu), count=machine.count)

    def cost(self, params: LLMTrainingParams) -> list[tuple[str, str]]:
        machine = self.chosen(params)
        most = None if machine.per_hour is None else machine.per_hour * params.job_hours
        return [
            ("Where", f"Hugging Face Jobs, {machine.words}"),
            ("Cost", f"at most {dollars(most)}, since it is ended after {params.job_hours:g} hours; Stop ends it at once"),
        ]

    def start(self, run: RunDirectory, environment: dict[str, str]) -> None:
        launcher.start_follower(run, FOLLOWER)

    def stop(self, run: RunDirectory, *, force: bool) -> None:
        run.request_stop()
        if not run.alive:  # nobody follows it: whoever asks ends it
            cancel(run)


def cancel(run: RunDirectory) -> None:
    """End the job of a run that nobody follows.

    Raises:
        DeviceError: the Hub does not let us, or gives no answer.
    """
    from huggingface_hub import HfApi

    job = rented(run)
    if job is None or not job.id or job.ended:
        return
    asked(HfApi().cancel_job, job_id=job.id, namespace=job.namespace)
    note(run, job, ended=time.time())
    reason = "Its job was cancelled; what it had learned is lost."
    run.update_status(state=State.STOPPED, reason=reason, hint="", cause="stopped", ended=time.time(), phase="")


@lru_cache(maxsize=4)
def _listed(_tick: int) -> list[Hardware]:
    from huggingface_hub import HfApi

    found = [_hardware(one) for one in asked(HfApi().list_jobs_hardware)]
    return sorted(found, key=lambda one: one.per_hour or 0.0)


def _hardware(one: Any) -> Hardware:
    accelerator = one.accelerator
    count = max(1, _number(accelerator.quantity)) if accelerator else 1
    memory = _number(accelerator.vram) // count if accelerator else _number(one.ram)
    unit = _UNITS.get(one.unit_label)
    price = one.unit_cost_usd * unit if unit else None
    gpu = accelerator.model if accelerator else ""
    return Hardware(one.name, one.pretty_name, gpu, count, memory << 30, _number(one.cpu), price)


def _number(text: Any) -> int:
    found = re.search(r"\d+", str(text))
    return int(found[0]) if found else 1


def _check_rewards(params: LLMTrainingParams) -> None:
    rules = getattr(params, "rl_rewards", None) or []
    if any(".py:" in rule for rule in rules):
        raise DeviceError(
            "A reward that is a Python file of this machine is not sent to Hugging Face.", hint="Train on this machine."
        )


def dollars(amount: float | None) -> str:
    """A price in words."""
    return "an unknown price" if amount is None else f"${amount:.2f}"


TARGET = HfJobs()
