"""DeepSpeed between the processes of a run: what transformers is told of it."""

from __future__ import annotations

from typing import Any

from engine.deepspeed import configuration
from engine.params import LLMTrainingParams


def zero_arguments(params: LLMTrainingParams, *, on_cpu: bool) -> dict[str, Any]:
    """What `TrainingArguments` is told besides; nothing for a run without DeepSpeed."""
    if not params.deepspeed:
        return {}
    if on_cpu:
        _compile_nothing()
    return {"deepspeed": configuration(params)}


def _compile_nothing() -> None:
    """Let processes without a GPU exchange numbers as PyTorch does. DeepSpeed has a way of its own, which it compiles first:
    45 seconds, and a failure where there is no compiler.
    """
    from deepspeed import ops  # type: ignore[import-not-found]  # an extra

    ops.__compatible_ops__["deepspeed_shm_comm"] = False
