"""DeepSpeed by its own configuration: what of it a run takes as it is, and what the run's settings say instead. No torch.

ZeRO (Rajbhandari et al. 2020) parts what the processes of a run hold beside the weights: what the optimizer remembers (stage
1), and the gradients as well (stage 2).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.params import LLMTrainingParams

# What the settings say, by the settings that do: "auto" stands for them, as in transformers.
_SAID = {
    "train_batch_size": "batch_size",
    "train_micro_batch_size_per_gpu": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "gradient_clipping": "max_grad_norm",
}
_SECTIONS = {"optimizer": "optimizer, lr and weight_decay", "scheduler": "scheduler and warmup_ratio"}
_NUMBERS = ("bf16", "fp16")


def judged(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it is.

    Raises:
        ValueError: it says what settings say already, or asks for what is not offered.
    """
    zero = config.get("zero_optimization")
    if not isinstance(zero, dict) or zero.get("stage") not in (1, 2):
        raise ValueError("its zero_optimization needs a stage, 1 or 2; what stage 3 does, FSDP does here (fsdp)")
    where = zero.get("offload_optimizer") or {}
    if not isinstance(where, dict) or where.get("device", "none") not in ("none", "cpu"):
        raise ValueError("its offload_optimizer needs a device, cpu or none")
    for section, settings in _SECTIONS.items():
        if section in config:
            raise ValueError(f"its {section} is said by the settings {settings}; leave that section out")
    for key, setting in _SAID.items():
        if config.get(key, "auto") != "auto":
            raise ValueError(f'its {key} is said by the setting {setting}; leave it out, or write "auto"')
    for kind in _NUMBERS:
        section = config.get(kind) or {}
        if not isinstance(section, dict) or section.get("enabled", "auto") != "auto":
            raise ValueError(f'its {kind} is said by the setting precision; leave it out, or write {{"enabled": "auto"}}')
    return config


def stage(params: LLMTrainingParams) -> int:
    """1 where what the optimizer remembers is parted, 2 where gradients are as well; 0 without DeepSpeed."""
    return int(params.deepspeed["zero_optimization"]["stage"]) if params.deepspeed else 0


def optimizer_on_cpu(params: LLMTrainingParams) -> bool:
    """Whether the optimizer works in the machine's memory and not in the GPU's."""
    zero = params.deepspeed.get("zero_optimization", {})
    return (zero.get("offload_optimizer") or {}).get("device") == "cpu"


def configuration(params: LLMTrainingParams) -> dict[str, Any]:
    """What DeepSpeed is told; transformers puts the run's settings where "auto" stands."""
    told: dict[str, Any] = {**copy.deepcopy(params.deepspeed), **dict.fromkeys(_SAID, "auto")}
    for kind in _NUMBERS:
        told[kind] = {**(told.get(kind) or {}), "enabled": "auto"}
    # PyTorch's optimizer does in the machine's memory as well: DeepSpeed's own would have to be compiled first
    return {"zero_force_ds_cpu_optimizer": False, **told}
