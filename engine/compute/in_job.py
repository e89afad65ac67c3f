"""On the rented machine: trains the run that was sent, and says on standard output what happens, for whoever follows the job.

A line is MARK and one JSON object with a running number `n` (so that a follower which begins anew takes nothing twice) and
one of: `event` (a line of the run's events.jsonl), `status` (its status.json), `log` (a line of its log), `sent` (the model is
on its way back).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.compute.hub_answers import asked
from engine.compute.parcel import MODELS, RESULT
from engine.runs import events
from engine.runs.directory import RunDirectory, read_json

MARK = "@aitraining "
_POLL_S = 0.5


class Telling:
    """Says what is new in a run."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.n = self._events = self._log = 0
        self._status: Any = None

    def say(self, what: str, value: Any) -> None:
        self.n += 1
        print(MARK + json.dumps({"n": self.n, what: value}), flush=True)

    def news(self) -> None:
        """Everything since the last call; the status last, since what it says has happened is then among the events."""
        status = self.run.status()
        found, self._events = events.read(self.run.events_file, self._events)
        for event in found:
            self.say("event", event)
        for line in self._lines():
            self.say("log", line)
        if status != self._status:
            self._status = status
            self.say("status", status.to_dict())

    def _lines(self) -> list[str]:
        if not self.run.log_file.is_file():
            return []
        with self.run.log_file.open("rb") as file:
            file.seek(self._log)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._log += end
        return data[:end].decode("utf-8", "replace").splitlines()


def made_from(parcel: Path) -> RunDirectory:
    """The run that was sent in the folder `parcel`, under a root of its own."""
    params = read_json(parcel / "params.json")
    for name, value in params.items():
        if value == f"{MODELS}/{name}":
            params[name] = str(parcel / value)
    root = Path(os.environ.setdefault("AITRAINING_HOME", str(parcel.parent / "runs"))).resolve()
    run = RunDirectory.create(params, "run", root)
    shutil.copytree(parcel / "data", run.data_dir)
    shutil.copyfile(parcel / "data.json", run.data_file)
    return run


def main(parcel: Path, repo: str) -> int:
    """Train what lies in `parcel`, send the model back into `repo`; 0 when it is done."""
    run = made_from(parcel)
    telling = Telling(run)
    run.update_status(launched=time.time())
    with run.log_file.open("ab") as log:
        job = [sys.executable, "-m", "engine.worker", "train", json.dumps({"run": str(run.path)})]
        process = subprocess.Popen(job, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    while process.poll() is None:
        telling.news()
        time.sleep(_POLL_S)
    telling.news()
    if run.status().state.value != "done":
        return 1
    _send_back(run, repo)
    telling.say("sent", True)
    return 0


def _send_back(run: RunDirectory, repo: str) -> None:
    from huggingface_hub import HfApi

    wanted = [f"{name}/*" for name in ("model", "adapter")] + ["plan.json"]
    how = {"repo_type": "dataset", "path_in_repo": RESULT, "allow_patterns": wanted, "commit_message": "The finished model"}
    asked(HfApi().upload_folder, repo_id=repo, folder_path=run.path, **how)
