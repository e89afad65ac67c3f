"""Where a pipeline stands, in a sentence and what to do now: for the page and the terminal."""

from __future__ import annotations

from engine.pipelines.course import DAMAGED, GATED, GONE, WAITING, Progress, StageProgress
from engine.pipelines.gate import read_gate, titles
from engine.runs.status import State

_ENDED = (State.FAILED.value, State.STOPPED.value, State.INTERRUPTED.value)


def told(progress: Progress) -> tuple[str, str]:
    """What is the case, and a hint ("" when nothing is to be done)."""
    if progress.state == DAMAGED and not progress.stages:
        return "What is written down of this pipeline is damaged.", "Its stages are ordinary runs and are still there."
    place = next((n for n, stage in enumerate(progress.stages) if stage.state != State.DONE.value), None)
    if place is None:
        return "Every stage is done.", ""
    stage, where = progress.stages[place], f"{place + 1} of {len(progress.stages)}"
    if progress.driven:
        return _working(progress, stage, where)
    if progress.trouble:
        return progress.trouble, "Resume goes on from here; stages that are done are kept."
    return _ended(progress, stage, where)


def _working(progress: Progress, stage: StageProgress, where: str) -> tuple[str, str]:
    if progress.stop_asked:
        return f"Stage {stage.stage} finishes its step and saves, as you asked; no other stage is started.", ""
    if stage.state in (*_ENDED, WAITING, GONE):
        return f"Stage {stage.stage} ({where}) is about to begin.", ""
    return f"Stage {stage.stage} ({where}): {stage.state}.", ""


def _plain(stage: StageProgress) -> str:
    """Why a gate was not met, with the words that the charts have for what it measures."""
    metric = read_gate(stage.gate).metric
    title = titles(stage.trainer).get(metric, metric)
    said = stage.reason.replace(f"reached {metric} ", f"reached a held-out “{title}” of ")
    return said.replace(f"measured no {metric} ", f"measured no “{title}” ")


def _ended(progress: Progress, stage: StageProgress, where: str) -> tuple[str, str]:
    name, rest = stage.stage, "Stages that are done are kept."
    if stage.state == GATED:
        return (
            f"{_plain(stage)} So no later stage was started.",
            f"Train {name} differently (longer, on more rows), ask less of it, or go on without the gate. {rest}",
        )
    if stage.state == State.FAILED.value:
        return f"Stage {name} ({where}) failed. {stage.reason}".strip(), f"{stage.hint} {rest}".strip()
    if stage.state in (State.STOPPED.value, State.INTERRUPTED.value):
        return f"Stage {name} ({where}) was {stage.state}. {stage.reason}".strip(), f"{stage.hint} {rest}".strip()
    if stage.state in (GONE, DAMAGED):
        return f"Stage {name} ({where}): {stage.reason}", "Resume trains it again, and every stage after it."
    if stage.state == WAITING:
        if progress.stop_asked:
            return f"It was stopped before stage {name} ({where}) began.", rest
        return (
            f"The process that goes from stage to stage ended before stage {name} ({where}) began.",
            f"Resume goes on. {rest}",
        )
    return (
        f"The process that goes from stage to stage has ended. Stage {name} ({where}) goes on by itself, but no later stage "
        "will be started.",
        f"Resume waits for {name} and goes on from there.",
    )
