"""Which runs at work or in line read the model of another: it must stay where it is until they are done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.bases import base_of
from engine.errors import ModelError, ParamError, RunActive, RunError
from engine.models import resolve
from engine.params import LLMTrainingParams, model_settings
from engine.registry import parse
from engine.runs import queue
from engine.runs.directory import RunDirectory


def refuse_needed(run: RunDirectory) -> None:
    """
    Raises:
        RunActive: a run that is at work or waits reads this one's model.
    """
    by = readers(run)
    if by:
        names = " and ".join(repr(name) for name in by[:3])
        raise RunActive(
            f"The model of {run.name!r} is needed by the run {names}, which has not ended.",
            hint="Wait until it has ended, or stop it first.",
        )


def readers(run: RunDirectory) -> list[str]:
    """The names of the runs that have not ended and read the model of `run`, or an adapter of it."""
    found = []
    for name in queue.unfinished(run.path.parent):
        if name == run.name:
            continue
        try:
            other = RunDirectory.open(name, run.path.parent)
            settings = parse(other.params())
            if not other.status().ended_state and any(
                run.path.resolve() in model.parents for model in _models(settings, run.path.parent)
            ):
                found.append(name)
        except (RunError, ParamError, OSError, ValueError):
            continue  # gone or damaged: it reads nothing
    return found


def _models(settings: LLMTrainingParams, root: Path) -> Iterator[Path]:
    """The folders of every model that a run of `root` reads, and of those that are adapters the folders of their bases."""
    for field in model_settings(type(settings)):
        named = getattr(settings, field)
        try:
            source = resolve(str(named), root) if named else None
            while source is not None and source.path is not None:
                yield source.path.resolve()
                source = base_of(source, root)
        except (ModelError, OSError, ValueError, KeyError):
            continue  # whoever loads it says what is wrong
