"""Saves the finished model: written beside, loaded back, compared, and only then moved into place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError

from engine.errors import TrainingError
from engine.models import resolve
from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory
from engine.worker.checkpointing import require_room
from engine.worker.merging import merge
from engine.worker.placing import put

# Safetensors' names of the formats that a base model may have on disk; the trained one is saved in the same.
_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16}


class Cards(NamedTuple):
    """The model card of a folder that holds a complete model, and that of one that holds an adapter."""

    model: str
    adapter: str


def save_model(
    run: RunDirectory,
    model: Any,
    tokenizer: Any,
    params: LLMTrainingParams,
    dtype: str,
    cards: Cards,
    *,
    stacked: bool = False,
) -> None:
    """Put a complete model into `model/`, its weights in the format `dtype`; a LoRA adapter also into `adapter/`.

    `model/` is the merged model, or the adapter alone when `merge_adapter` is off or the base was quantised. With `stacked`
    the base was an adapter itself and is on no disk as it was in memory: only the complete model says all, and there is no
    adapter, which by itself would be put on the wrong base.

    Raises:
        TrainingError: there is no room for it, or what was written cannot be loaded back as what was trained.
    """
    part, adapter = run.path / ".model.part", run.path / ".adapter.part"
    merged = params.peft and (stacked or (params.merge_adapter and params.quantization == "none"))
    apart = params.peft and not stacked
    require_room(run.path, _size(model, dtype, complete=merged or not params.peft), "The finished model")
    if apart:
        _write(model, tokenizer, adapter, cards.adapter)
        _check_saved(adapter, model, is_adapter=True)
    if merged:
        model = merge(model, resolve(params.model), _DTYPES.get(dtype, torch.float32))
    elif not params.peft:
        model = model.to(_DTYPES.get(dtype, torch.float32))
    alone = apart and not merged
    _write(model, tokenizer, part, cards.adapter if alone else cards.model)
    _check_saved(part, model, is_adapter=alone)
    if apart:
        put(adapter, run.path / "adapter")
    put(part, run.model_dir)


def _size(model: Any, dtype: str, *, complete: bool) -> int:
    """Bytes of what is written at least: all weights in the format of their file, or those that were trained."""
    each = 2 if dtype in _DTYPES else 4
    return each * sum(p.numel() for p in model.parameters() if complete or p.requires_grad)


def _write(model: Any, tokenizer: Any, folder: Path, card: str) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    model.config.use_cache = True
    if getattr(model.config, "_attn_implementation", "") == "documents":
        model.set_attn_implementation("sdpa")
    model.save_pretrained(folder, safe_serialization=True)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")  # last: peft writes a card of its own


def _check_saved(folder: Path, model: Any, *, is_adapter: bool) -> None:
    """Load what was written with plain transformers (or peft) and compare every tensor with the one in memory."""
    try:
        ours, kept = _adapter(folder, model) if is_adapter else _whole(folder, model)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"The saved model cannot be loaded again: {error}", hint="Please report this.", cause="save"
        ) from error
    wrong = [n for n, t in kept.items() if n in ours and not torch.equal(t.cpu(), ours[n].cpu().to(t.dtype))]
    broken = [n for n, t in ours.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if wrong or broken:
        raise TrainingError(
            f"The saved model is not what was trained: {', '.join((wrong or broken)[:3])}.",
            hint="Weights that are no numbers come from too high a learning rate." if broken else "Please report this.",
            cause="save",
        )


def _whole(folder: Path, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors as they load from the folder, and as they are in memory."""
    both: Any = type(model).from_pretrained(folder, dtype="auto", output_loading_info=True)
    loaded, report = both
    if report["missing_keys"] or report["unexpected_keys"]:
        raise ValueError(f"missing {report['missing_keys']}, unexpected {report['unexpected_keys']}")
    return loaded.state_dict(), model.state_dict()


def _adapter(folder: Path, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same for an adapter, without its base, which may not fit into memory in full numbers a second time."""
    from peft import PeftConfig, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    PeftConfig.from_pretrained(str(folder))
    loaded, kept = load_peft_weights(str(folder), device="cpu"), get_peft_model_state_dict(model)
    if loaded.keys() != kept.keys():
        raise ValueError(f"saved {sorted(loaded)[:3]}…, trained {sorted(kept)[:3]}…")
    return loaded, kept
