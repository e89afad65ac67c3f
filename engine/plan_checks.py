"""What cannot be done with these settings, this model and this device, said before anything is loaded. No torch."""

from __future__ import annotations

from engine.device import Device
from engine.errors import DeviceError, ModelError
from engine.models import ModelFacts
from engine.parallel import check_deepspeed, check_processes, check_split
from engine.params import LLMTrainingParams
from engine.registry import spec_for


def check_device(params: LLMTrainingParams, device: Device) -> None:
    """
    Raises:
        DeviceError: a setting asks for hardware that is not here.
    """
    here = trains_on_cpu(params, device)
    check_processes(params, device, on_cpu=here)
    if params.quantization != "none" and (here or not device.quantization):
        raise DeviceError(
            f"quantization={params.quantization} needs an NVIDIA GPU and the package bitsandbytes; this run would train on "
            f"{'the CPU' if here else device.name}.",
            hint="Set quantization to none (--quantization none).",
        )
    if params.device not in ("auto", "cpu", device.kind):
        raise DeviceError(f"There is no {params.device} device here, only {device.kind}.", hint="Use --device auto.")
    if params.precision == "fp16" and here:
        raise DeviceError("fp16 needs a GPU.", hint="Leave precision empty, so that the right one is chosen.")
    if params.attention == "flash_attention_2" and (here or not device.flash_attention):
        raise DeviceError(
            "flash_attention_2 needs an NVIDIA GPU (Ampere or newer) and the package flash-attn.",
            hint="Leave attention empty, so that the right one is chosen.",
        )


def check_base(params: LLMTrainingParams, model: ModelFacts) -> None:
    """
    Raises:
        ModelError: a base of a few bits would be trained itself, or an adapter be merged into one.
    """
    if params.quantization != "none" and not params.peft:
        raise ModelError(
            f"quantization={params.quantization} is for a base that stays as it is, and this run would train all its weights.",
            hint="Train a LoRA adapter (--peft), or set quantization to none (--quantization none).",
        )
    if params.quantization != "none" and model.base_of_adapter:
        raise ModelError(
            f"{params.model} is an adapter on {model.base_of_adapter}, and an adapter cannot be merged into weights that are "
            f"held in {params.quantization.removeprefix('int')} bits.",
            hint="Set quantization to none (--quantization none), or start from a model that was saved complete.",
        )


def check_together(filled: LLMTrainingParams, model: ModelFacts) -> None:
    """Settings that are fine alone and not together, once all are chosen.

    Raises:
        DeviceError: the attention cannot compute in the precision.
        ModelError: rows would be longer than the model can read.
        And what `check_split` and `check_deepspeed` raise.
    """
    check_split(filled, model)
    check_deepspeed(filled)
    if filled.attention == "flash_attention_2" and filled.precision == "fp32":
        raise DeviceError(
            "flash_attention_2 computes in bf16 or fp16 only, and this run would use fp32.",
            hint="Leave precision and attention empty, so that what fits together is chosen.",
        )
    written = spec_for(filled.trainer).copies_of(filled).written
    if model.context and (filled.max_length or 0) + written > model.context:
        further = f", with answers of up to {written} tokens after it" if written else ""
        raise ModelError(
            f"{filled.model} reads at most {model.context} tokens at once, and the longest row is set to {filled.max_length}"
            f"{further}.",
            hint=f"Set the longest row to {max(model.context - written, 0)} or less, or leave it empty."
            + (" Shorter answers leave more room." if written else ""),
        )


def trains_on_cpu(params: LLMTrainingParams, device: Device) -> bool:
    """Whether the processor does the work, asked for or for want of anything else."""
    return params.device == "cpu" or device.kind == "cpu"
