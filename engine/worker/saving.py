"""Saves the finished model: written beside, loaded back, compared, and only then moved into place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from engine.errors import TrainingError
from engine.models import ModelSource
from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory
from engine.worker.models import load_any, saved_dtype


def save_model(
    run: RunDirectory, model: Any, tokenizer: Any, params: LLMTrainingParams, source: ModelSource, card: str
) -> None:
    """Put a complete model into `model/`; a LoRA adapter also into `adapter/`.

    `model/` is the merged model, or the adapter alone when `merge_adapter` is off or the base was quantised.

    Raises:
        TrainingError: what was written cannot be loaded back as what was trained.
    """
    part = _fresh(run.path / ".model.part")
    merged = params.peft and params.merge_adapter and params.quantization == "none"
    if params.peft:
        adapter = _fresh(run.path / ".adapter.part")
        _write(model, tokenizer, adapter, source)
        (adapter / "README.md").write_text(card, encoding="utf-8")
        _put(adapter, run.path / "adapter")
    if merged:
        model = model.merge_and_unload()
    if merged or not params.peft:
        model = model.to(saved_dtype(source))
    _write(model, tokenizer, part, source)
    (part / "README.md").write_text(card, encoding="utf-8")
    _check_loads(part, model, is_adapter=params.peft and not merged)
    _put(part, run.model_dir)


def _write(model: Any, tokenizer: Any, folder: Path, source: ModelSource) -> None:
    model.config.use_cache = True
    if getattr(model.config, "_attn_implementation", "") == "documents":
        model.set_attn_implementation("sdpa")
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def _check_loads(folder: Path, model: Any, *, is_adapter: bool) -> None:
    """Load the folder with plain transformers (or peft) and compare every tensor with the one in memory."""
    try:
        if is_adapter:
            loaded = load_any(ModelSource("folder", str(folder), folder), dtype=torch.float32)
            tensors: dict[str, Any] = {}
        else:
            both: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
            loaded, report = both
            if report["missing_keys"] or report["unexpected_keys"]:
                raise ValueError(f"missing {report['missing_keys']}, unexpected {report['unexpected_keys']}")
            tensors = model.state_dict()
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"The saved model cannot be loaded again: {error}", hint="Please report this.", cause="save"
        ) from error
    ours = loaded.state_dict()
    wrong = [n for n, t in tensors.items() if n in ours and not torch.equal(t.cpu(), ours[n].cpu().to(t.dtype))]
    broken = [n for n, t in ours.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if wrong or broken:
        raise TrainingError(
            f"The saved model is not what was trained: {', '.join((wrong or broken)[:3])}.",
            hint="Weights that are no numbers come from too high a learning rate." if broken else "Please report this.",
            cause="save",
        )


def _fresh(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    return folder


def _put(part: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    os.replace(part, target)
