"""job.json: a run's rented machine, what it costs, and how much so far. Written before the job exists, so that none is lost."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.errors import RunError
from engine.runs.directory import RunDirectory, read_json, write_json


@dataclass(frozen=True)
class Rented:
    """`key` is a label by which the job is found even if nobody wrote its id down; prices are US dollars."""

    key: str
    namespace: str
    repo: str
    hardware: str
    title: str
    per_hour: float | None
    timeout_s: float
    id: str = ""
    url: str = ""
    started: float | None = None  # when the machine began to run, seconds since 1970
    ended: float | None = None

    @property
    def at_work(self) -> bool:
        """Whether it may still be there: begun, as far as anybody knows, and not ended."""
        return self.ended is None

    @property
    def most(self) -> float | None:
        """What it can cost at most."""
        return None if self.per_hour is None else self.per_hour * self.timeout_s / 3600

    @property
    def so_far(self) -> float | None:
        """What it has cost until now, from the time that the machine ran."""
        if self.per_hour is None:
            return None
        ran = (self.ended or time.time()) - self.started if self.started else 0.0
        return self.per_hour * max(0.0, min(ran, self.timeout_s)) / 3600

    def shown(self) -> dict[str, Any]:
        """What the page and other programs are told."""
        named = ("hardware", "title", "per_hour", "timeout_s", "id", "url", "started", "ended")
        return {**{name: getattr(self, name) for name in named}, "so_far": self.so_far, "most": self.most}


def rented(run: RunDirectory) -> Rented | None:
    """The machine that was rented for this run; None for none.

    Raises:
        RunError: job.json was damaged. It may be at work all the same, so that it is not taken for none.
    """
    if not run.job_file.is_file():
        return None
    try:
        return Rented(**read_json(run.job_file))
    except (ValueError, TypeError, RecursionError):
        raise RunError(
            f"Which machine was rented for the run {run.name!r} cannot be read: {run.job_file} is damaged.",
            hint="Look at https://huggingface.co/settings/jobs whether it is still at work, and end it there.",
        ) from None


def note(run: RunDirectory, job: Rented, **changes: Any) -> Rented:
    """Write down what is known of it."""
    job = replace(job, **changes)
    write_json(run.job_file, asdict(job))
    return job
