"""What every run tells transformers' Trainer, from the run's settings; written down once, for the worker and for exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.params import LLMTrainingParams

# The same arithmetic in one pass over the weights: a third of the time on a CPU.
_OPTIMIZERS = {"adamw_torch": "adamw_torch_fused"}
# Answers that a measurement should rest on.
_MEASURED = 64


def shared_arguments(
    p: LLMTrainingParams,
    folder: Path,
    batch_size: int,
    accumulation: int,
    steps: int,
    has_valid: bool,
    on_cpu: bool,
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
        "warmup_steps": p.warmup_ratio if p.warmup_ratio * steps >= 1 else 0,
        "weight_decay": p.weight_decay,
        "max_grad_norm": p.max_grad_norm,
        "optim": _OPTIMIZERS.get(p.optimizer, p.optimizer),
        "seed": p.seed,
        # said even where there is nothing else: transformers refuses bf16 on a CPU that it was not told to use
        "use_cpu": on_cpu,
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


def group_settings(
    rows: int,
    valid: int,
    batch: int,
    joined: int,
    *,
    answers: int,
    rounds: int,
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    loss: str,
    clip: float,
) -> dict[str, Any]:
    """What TRL's GRPOConfig is told for `batch` prompts a forward pass, `joined` passes a step, `rounds` steps a round.

    TRL counts answers where everybody else counts rows, wants whole groups everywhere, and leaves prompts out that do not
    fill a round: so a round is never greater than the data.
    """
    measured = max(1, min(answers, _MEASURED // max(valid, 1)))
    return {
        "per_device_train_batch_size": batch * answers,
        "per_device_eval_batch_size": measured * max(1, batch * answers // measured),
        "num_generations": answers,
        "num_generations_eval": measured,
        "steps_per_generation": joined * max(1, min(rounds, rows // (batch * joined))),
        "max_completion_length": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "disable_dropout": True,
        "loss_type": loss,
        "epsilon": clip,
        "beta": 0.0,  # TRL would load a reference by the model's name; ours is given to it afterwards
    }
