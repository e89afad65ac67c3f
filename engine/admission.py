"""Whether a run has room on the disk: asked before it is put in the queue, from wherever it is started."""

from __future__ import annotations

from rich.filesize import decimal

from engine.errors import ModelError, RunError
from engine.memory import checkpoint_bytes
from engine.models import ModelFacts, facts, resolve
from engine.params import LLMTrainingParams
from engine.runs.directory import runs_root
from engine.runs.place import MAKE_ROOM
from engine.runs.retention import held
from engine.runs.usage import free_bytes


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
