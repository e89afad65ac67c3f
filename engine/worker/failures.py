"""Turns whatever stopped a worker into cause, sentence and hint. The one place that knows foreign exceptions."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from engine.errors import (
    DataError,
    DeviceError,
    ModelError,
    ModelGated,
    ModelMissing,
    ModelOffline,
    ParamError,
    StudioError,
    TrainingError,
)
from engine.runs import checkpoints
from engine.runs.directory import RunDirectory
from engine.runs.place import MAKE_ROOM
from engine.runs.queue import has_progress
from engine.runs.status import State, Status

# The narrower kinds first.
_CAUSES = {
    ModelGated: "gated",
    ModelMissing: "missing",
    ModelOffline: "offline",
    DataError: "data",
    ModelError: "model",
    DeviceError: "device",
    ParamError: "settings",
}
# Libraries in other languages say it in a RuntimeError: PyTorch on CPU and GPU, cuBLAS, C++, Rust.
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "std::bad_alloc",
    "Cannot allocate memory",
)
# safetensors speaks of the error by its number. PyTorch's writer says nothing of a disk at all: then the disk is looked at.
_FULL = "The disk is full."
_NO_ROOM = ("No space left on device", "(os error 28)", "Disk quota exceeded")


def explained(error: BaseException, *, disk_full: bool = False) -> TrainingError:
    """The error as a TrainingError with a cause; our own errors keep their words.

    `disk_full`: nothing can be written where the run lies, which explains an error that nothing else does.
    """
    chain = list(_chain(error))
    known = isinstance(error, StudioError) or any(_is_memory(one) for one in chain)
    if any(_is_full_disk(one) for one in chain) or (disk_full and not known):
        hint = "Remove checkpoints of ended runs, or delete old runs, then resume."
        return TrainingError("The disk is full.", hint=hint, cause="disk")
    if any(_is_memory(one) for one in chain):
        return TrainingError(
            "Memory ran out.",
            hint="Train a LoRA adapter, halve the rows per step (and double the accumulation), or cut rows shorter.",
            cause="memory",
        )
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, StudioError):
        cause = next((c for kind, c in _CAUSES.items() if isinstance(error, kind)), "failed")
        return TrainingError(error.message, hint=error.hint, cause=cause)
    text = str(error)
    first = text.strip().splitlines()[0][:500] if text.strip() else ""
    return TrainingError(
        f"{type(error).__name__}: {first}" if first else type(error).__name__,
        hint="This is not a mistake that the app knows. The log's last lines say where it happened.",
        cause="error",
    )


def out_of_room(run: RunDirectory, status: Status, error: TrainingError) -> tuple[State, TrainingError]:
    """How a run ends that found the disk full: stopped, where it left something to go on from; else it has failed."""
    detail = "" if error.message == _FULL else error.message
    step = checkpoints.look(run).newest
    if step is None and not has_progress(run):
        return State.FAILED, TrainingError(f"{_FULL} {detail}".strip(), hint=MAKE_ROOM, cause="disk")
    at = f" at step {status.step} of {status.total_steps}" if status.total_steps else ""
    goes_on = f"Then Resume: it goes on from step {checkpoints.step_of(step)}." if step else "Then Resume."
    reason = f"Stopped{at}: the disk is full. {detail}".strip()
    return State.STOPPED, TrainingError(reason, hint=f"{MAKE_ROOM} {goes_on}", cause="disk")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that led to it."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, StudioError):
        return False
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return any(words in str(error) for words in _NO_MEMORY)


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, StudioError):
        return False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(words in str(error) for words in _NO_ROOM)


class LastWords:
    """Room on the disk for what a run that found the disk full still has to say: without it, it would end in silence.

    A few kilobytes of noise (a file of zeros may take no room) that are given back when they are needed.
    """

    _BYTES = 64_000

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / ".room"

    def keep_room(self) -> None:
        """
        Raises:
            OSError: there is no room, which is then told before any work was done.
        """
        self.file.write_bytes(os.urandom(self._BYTES))

    @property
    def no_room(self) -> bool:
        """Whether the disk is full now: what failed to be written has taken the last of it."""
        return shutil.disk_usage(self.folder).free < self._BYTES

    def make_room(self) -> None:
        """Give the room back, and that of what was being written: half a checkpoint is of no use to anybody."""
        self.end()
        for half in [*self.folder.glob(".*.part"), *self.folder.glob("*.part"), *self.folder.glob("checkpoints/*")]:
            if half.is_file():
                half.unlink(missing_ok=True)
            elif not (half / "trainer_state.json").is_file():
                shutil.rmtree(half, ignore_errors=True)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.file.unlink(missing_ok=True)
