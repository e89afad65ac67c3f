"""What every run tells transformers' Trainer, from the run's settings; written down once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engine.params import LLMTrainingParams

# The same arithmetic in one pass over the weights: a third of the time on a CPU.
_OPTIMIZERS = {"adamw_torch": "adamw_torch_fused"}


def shared_arguments(
    p: LLMTrainingParams, folder: Path, batch_size: int, accumulation: int, planned_steps: int, has_valid: bool
) -> dict[str, Any]:
    """Keyword arguments for `TrainingArguments` and its kin. `p` has every automatic setting chosen."""
    return {
        "output_dir": str(folder),
        "num_train_epochs": p.epochs,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": batch_size,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": p.lr,
        "lr_scheduler_type": "constant_with_warmup" if p.scheduler == "constant" else p.scheduler,
        # transformers reads a number below one as a share of all steps and rounds it up: less than one step is none,
        # or the only step of a short run would be one of size zero
        "warmup_steps": p.warmup_ratio if p.warmup_ratio * planned_steps >= 1 else 0,
        "weight_decay": p.weight_decay,
        "max_grad_norm": p.max_grad_norm,
        "optim": _OPTIMIZERS.get(p.optimizer, p.optimizer),
        "seed": p.seed,
        # said even where there is nothing else: transformers refuses bf16 on a CPU that it was not told to use
        "use_cpu": p.device == "cpu" or not torch.accelerator.is_available(),
        "bf16": p.precision == "bf16",
        "fp16": p.precision == "fp16",
        "activation_checkpointing": bool(p.gradient_checkpointing),
        "logging_steps": p.logging_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # a loss that is no number must be seen
        "eval_strategy": "steps" if has_valid else "no",
        "eval_steps": p.eval_steps,
        "eval_on_start": has_valid,
        "save_strategy": "steps",
        "save_steps": p.save_steps,
        "save_total_limit": p.save_total_limit,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "label_names": ["labels"],
        "dataloader_pin_memory": False,
    }
