"""Which runs can train in several processes, and which can split their model among them; said before Start. No torch."""

from __future__ import annotations

import importlib.util

from engine.device import Device
from engine.errors import DeviceError, ModelError
from engine.models import ModelFacts
from engine.params import LLMTrainingParams
from engine.registry import spec_for, specs

_WITHOUT = "Or leave DeepSpeed empty."


def check_processes(params: LLMTrainingParams, device: Device, *, on_cpu: bool) -> None:
    """
    Raises:
        DeviceError: the trainer cannot share a step among processes, or there are more of them than GPUs.
    """
    if params.processes == 1:
        return
    spec = spec_for(params.trainer)
    if not spec.in_parallel:
        raise DeviceError(f"{spec.title} trains in one process, and {params.processes} are set.", hint="Set processes to 1.")
    if not on_cpu and params.processes > device.count:
        gpus = "is one" if device.count == 1 else f"are {device.count}"
        raise DeviceError(
            f"{params.processes} processes need as many GPUs, and there {gpus} here.",
            hint=f"Set processes to {device.count}, or train on the processor (--device cpu).",
        )


def _check_shares(params: LLMTrainingParams, otherwise: str) -> None:
    spec = spec_for(params.trainer)
    if not spec.in_parallel:
        able = ", ".join(one.title for one in specs().values() if one.in_parallel)
        sentence = f"{spec.title} trains in one process, which has nobody to part anything with; {able} train in several."
        raise DeviceError(sentence, hint=otherwise)


def check_split(params: LLMTrainingParams, model: ModelFacts) -> None:
    """
    Raises:
        DeviceError: there is nobody to split the model with, or the trainer or the settings need all of it in one place.
        ModelError: the base is an adapter, which is merged in one place.
    """
    if not params.fsdp:
        return
    _check_shares(params, "Turn FSDP off.")
    if params.processes == 1:
        raise DeviceError(
            "FSDP splits the model among several processes, and one is set.",
            hint="Set processes to the number of GPUs (--processes 4), or turn FSDP off.",
        )
    if params.peft:
        raise DeviceError(
            "FSDP trains all weights, and a LoRA adapter is asked for.",
            hint="Turn one of the two off: with LoRA a model that is too large usually fits into one GPU in 4 bits.",
        )
    if params.precision == "fp16":
        raise DeviceError(
            "FSDP computes in bf16 or fp32 here, and this run would use fp16.", hint="Set precision to fp32, or turn FSDP off."
        )
    if model.base_of_adapter:
        raise ModelError(
            f"{params.model} is an adapter on {model.base_of_adapter}, and FSDP starts from a complete model.",
            hint="Start from a model that was saved complete, or turn FSDP off.",
        )


def check_deepspeed(params: LLMTrainingParams) -> None:
    """
    Raises:
        DeviceError: DeepSpeed is not installed, or the trainer or other settings do not go with it.
    """
    if not params.deepspeed:
        return
    _check_shares(params, "Leave DeepSpeed empty.")
    if params.processes == 1:
        raise DeviceError(
            "DeepSpeed parts the optimizer among several processes, and one is set.",
            hint=f"Set processes to the number of GPUs (--processes 4). {_WITHOUT}",
        )
    if params.fsdp:
        raise DeviceError(
            "FSDP and DeepSpeed are two ways to do the same, and both are set.", hint=f"Turn FSDP off. {_WITHOUT}"
        )
    if params.compute != "local":
        raise DeviceError("Rented machines come without DeepSpeed.", hint=f"Train on this machine. {_WITHOUT}")
    if params.precision == "fp16":
        raise DeviceError(
            "DeepSpeed computes in bf16 or fp32 here, and this run would use fp16.", hint=f"Set precision to fp32. {_WITHOUT}"
        )
    if params.quantization != "none":
        raise DeviceError(
            "DeepSpeed is for bases in full numbers, and this one is held in few bits.",
            hint=f"Set quantization to none (--quantization none). {_WITHOUT}",
        )
    if importlib.util.find_spec("deepspeed") is None:
        raise DeviceError(
            "The package deepspeed is not installed.", hint=f'pip install "deepspeed>=0.19,<0.20" adds it. {_WITHOUT}'
        )
