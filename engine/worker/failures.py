"""Turns whatever stopped a worker into cause, sentence and hint. The one place that knows foreign exceptions."""

from __future__ import annotations

import errno

import torch

from engine.errors import DataError, DeviceError, ModelError, ParamError, StudioError, TrainingError

_CAUSES = {DataError: "data", ModelError: "model", DeviceError: "device", ParamError: "settings"}

# What comes as a plain RuntimeError: from the CPU's allocator, the driver, its matrix library, and Apple's GPU.
_NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "MPS backend out of memory")


def explained(error: BaseException) -> TrainingError:
    """The error as a TrainingError with a cause; our own errors keep their words."""
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, StudioError):
        cause = next((c for kind, c in _CAUSES.items() if isinstance(error, kind)), "failed")
        return TrainingError(error.message, hint=error.hint, cause=cause)
    text = str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in text for words in _NO_MEMORY):
        return TrainingError(
            "Memory ran out.",
            hint="Train a LoRA adapter, halve the rows per step (and double the accumulation), or cut rows shorter.",
            cause="memory",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TrainingError("The disk is full.", hint="Delete old runs or checkpoints, then resume.", cause="disk")
    first = text.strip().splitlines()[0][:500] if text.strip() else ""
    return TrainingError(
        f"{type(error).__name__}: {first}" if first else type(error).__name__,
        hint="This is not a mistake that the app knows. The log's last lines say where it happened.",
        cause="error",
    )
