"""What another program asks about a run: where it stands, what has happened since it last asked, the files of its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.diagnosis.remedy import told_findings
from engine.errors import RunError, RunNotFound
from engine.runs import events
from engine.runs.directory import RunDirectory
from engine.runs.listing import summary
from engine.runs.usage import usage


def run_report(name: str) -> dict[str, Any]:
    """One run as the list has it, with what to do about its reason, whether it has ended, and where its model lies.

    `disk` says how many bytes it takes, and how many of them are checkpoints.
    Once it has ended, `findings` says what was wrong with it and which change would help (see engine/diagnosis/finding.py).

    Raises:
        RunNotFound: there is none of that name.
    """
    run = RunDirectory.open(name)
    status = run.status()
    model = str(run.model_dir) if run.model_dir.is_dir() else None
    found = told_findings(name) if status.ended_state else []
    told = {"hint": status.hint, "ended": status.ended_state, "model_path": model, "findings": found}
    told["disk"] = usage(run).to_dict()
    return {**summary(run).to_dict(), **told}


def run_events(name: str, after: int = 0) -> dict[str, Any]:
    """What has happened since byte `after` of the run's events (see engine/runs/events.py), and what to ask from next time.

    `ended` is true once everything there will ever be has been told, until the run is resumed.
    """
    run = RunDirectory.open(name)
    status = run.status()  # before the events, so that an ended run's last ones are all among them
    size = run.events_file.stat().st_size if run.events_file.is_file() else 0
    found, reached = events.read(run.events_file, after if 0 <= after <= size else 0)
    return {"events": found, "next": reached, "state": status.state.value, "ended": status.ended_state and reached >= size}


def model_files(name: str) -> list[dict[str, Any]]:
    """The files of the run's finished model: names and sizes in bytes.

    Raises:
        RunError: it has no finished model.
    """
    folder = _model(name)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [{"name": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size} for path in paths]


def model_file(name: str, file: str) -> Path:
    """Where one of `model_files` lies; nothing else can be named.

    Raises:
        RunError: it has no finished model, or the model has no such file.
    """
    if file not in [known["name"] for known in model_files(name)]:
        raise RunNotFound(f"The model of {name!r} has no file {file!r}.", hint="Ask for the list of its files.")
    return _model(name) / file


def _model(name: str) -> Path:
    run = RunDirectory.open(name)
    if not run.model_dir.is_dir():
        raise RunError(f"The run {name!r} has no finished model.", hint="Wait until it is done; its state says how far it is.")
    return run.model_dir
