"""Whether a run may join the queue: asked from wherever it is started. It must have room on the disk, and on a server with
logins nobody may line up runs without end.
"""

from __future__ import annotations

import os

from rich.filesize import decimal

from engine.errors import ModelError, RunError
from engine.memory import checkpoint_bytes
from engine.models import ModelFacts, facts, resolve
from engine.params import LLMTrainingParams
from engine.people import logins
from engine.runs.directory import runs_root
from engine.runs.place import MAKE_ROOM
from engine.runs.queue import unfinished
from engine.runs.retention import held
from engine.runs.usage import free_bytes

# How many runs of one person may wait or work at once on a server with logins; AITRAINING_RUNS_EACH says another number.
_RUNS_EACH = 50


def admit(params: LLMTrainingParams) -> None:
    """
    Raises:
        RunError: the run may not join the queue now; says why, and what to do.
    """
    refuse_many()
    refuse_without_room(params)


def refuse_many(more: int = 1) -> None:
    """
    Raises:
        RunError: so many runs of whoever asks are not over that `more` would be too many on a server for others.
    """
    if not logins():
        return
    text, now = os.environ.get("AITRAINING_RUNS_EACH") or str(_RUNS_EACH), len(unfinished(runs_root()))
    if not text.isdecimal():
        raise RunError(
            f"AITRAINING_RUNS_EACH is {text!r}, which is not a number of runs.", hint="Whoever runs the studio sets it."
        )
    if now + more > int(text):
        raise RunError(
            f"{now} runs of yours wait or are at work, and this studio takes {text} of one person at a time.",
            hint="Wait until some have ended, or take some out of the queue on the page Runs.",
        )


def least_disk(params: LLMTrainingParams, model: ModelFacts) -> int:
    """Bytes that no run does without: one checkpoint, and its finished model."""
    alone = params.peft and (params.merge_adapter is False or params.quantization != "none")
    each = 2 if model.dtype in ("BF16", "F16") else 4
    return checkpoint_bytes(params, model) + (0 if alone else each * model.parameters)


def refuse_without_room(params: LLMTrainingParams) -> None:
    """Refuse a run that surely does not fit on the disk. A model that is still to be downloaded is not looked at here: the
    run looks for room itself before each save.

    Raises:
        RunError: it cannot fit; says how much is missing where, and what to remove.
    """
    try:
        if resolve(params.model).path is None:
            return
        model = facts(params.model)
    except (ModelError, OSError, ValueError):
        return  # what is wrong with the model is told by who reads it
    least, free = least_disk(params, model), free_bytes(runs_root())
    if least > free:
        raise RunError(f"The disk is too full for this run. {shortage(least, free, surely=True)}", hint=what_to_free())


def shortage(needed: int, free: int, *, surely: bool) -> str:
    """How much is needed and free, and where."""
    about = "at least" if surely else "about"
    return f"It needs {about} {decimal(needed)} for checkpoints and its model; {decimal(free)} are free in {runs_root()}."


def what_to_free() -> str:
    """What to do about it, with the runs that hold most."""
    largest = [f"{one.name} ({decimal(one.total)}, checkpoints {decimal(one.checkpoints)})" for one in held(runs_root())[:3]]
    return MAKE_ROOM + (f" The largest: {', '.join(largest)}." if largest else "")
