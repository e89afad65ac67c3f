"""Workers that write a run's status and train nothing, for tests of what happens between the runs of a pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engine.pipelines.pipeline import from_mapping
from engine.runs.directory import RunDirectory
from engine.runs.status import State

PAIR = from_mapping(
    {
        "pipeline": "pair",
        "stages": {
            "first": {"trainer": "sft", "data_path": "sample:neighbours"},
            "second": {"trainer": "dpo", "model": "first", "data_path": "sample:manners"},
        },
    }
)


class Workers:
    """What each run's worker does: `ends` maps a run to its last state, `metrics` to its held-out measurement."""

    def __init__(self) -> None:
        self.worked: list[str] = []
        self.ends: dict[str, State] = {}
        self.metrics: dict[str, dict[str, float]] = {}
        self.before: Callable[[RunDirectory], None] = lambda run: None

    def start(self, job: str, args: dict[str, Any], *_: Any, output: Any = None, channel: Any = None) -> Any:
        run = RunDirectory(Path(args["run"]))
        self.worked.append(run.name)
        self.before(run)
        state = self.ends.pop(run.name, State.DONE)
        if values := self.metrics.get(run.name):
            run.log_event("metric", step=4, values=values)
        run.update_status(state=state, started=time.time(), ended=time.time(), step=4, total_steps=4, reason="It was so.")
        if state is State.DONE:
            run.model_dir.mkdir(exist_ok=True)
        return SimpleNamespace(pid=1)
