"""Every trainer on a GPU, in every number format that the app offers, full and LoRA; quantised bases with an adapter."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import pytest

from engine.registry import specs
from engine.runs.status import State
from engine.spec import TrainerSpec
from tests.contract.conftest import numbered
from tests.train.toys import all_events

EVERY = pytest.mark.parametrize("spec", specs().values(), ids=lambda s: s.id)
WAYS: dict[str, dict[str, Any]] = {
    "bf16-full": {"precision": "bf16"},
    "bf16-lora": {"precision": "bf16", "peft": True},
    "fp16-full": {"precision": "fp16"},
    "fp16-lora": {"precision": "fp16", "peft": True},
    "recomputed-full": {"precision": "bf16", "gradient_checkpointing": True},
    "recomputed-lora": {"precision": "bf16", "gradient_checkpointing": True, "peft": True},
}
FEW_BITS: dict[str, dict[str, Any]] = {
    "int4": {"quantization": "int4", "peft": True, "precision": "bf16"},
    "int4-fp16": {"quantization": "int4", "peft": True, "precision": "fp16"},
    "int4-recomputed": {"quantization": "int4", "peft": True, "precision": "bf16", "gradient_checkpointing": True},
    "int8": {"quantization": "int8", "peft": True, "precision": "bf16"},
}


def trained(spec: TrainerSpec, trainings: Any, name: str, **values: Any) -> Any:
    run = trainings.new(spec, name, numbered(spec, 11), device="cuda", max_steps=4, valid_fraction=0.25, batch_size=2,
                        eval_steps=2, **values)  # fmt: skip
    assert trainings.work(run) == 0, run.status()
    status = run.status()
    assert (status.state, status.reason, status.step) == (State.DONE, "", 4)
    for event in all_events(run, "metric"):
        for key, value in event["values"].items():
            # fp16 finds its loss scale by trying: a step whose gradient overflows is left out
            overflow = key == "grad_norm" and values["precision"] == "fp16"
            assert overflow or (value is not None and math.isfinite(value)), f"{key} at {event['step']}: {value}"
    assert run.status().metrics["memory_bytes"] > 0
    return run


@pytest.mark.parametrize("way", list(WAYS))
@EVERY
def test_a_trainer_trains_in_every_number_format(spec: TrainerSpec, way: str, trainings: Any) -> None:
    run = trained(spec, trainings, f"{spec.id}-{way}", **WAYS[way])
    assert (run.model_dir / "model.safetensors").is_file()


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
@pytest.mark.parametrize("way", list(FEW_BITS))
@EVERY
def test_an_adapter_is_trained_on_a_base_of_few_bits(spec: TrainerSpec, way: str, trainings: Any) -> None:
    from engine.models import facts

    run = trained(spec, trainings, f"{spec.id}-{way}", **FEW_BITS[way])
    assert (run.path / "adapter" / "adapter_model.safetensors").is_file()
    assert facts(run.name).parameters > 10_000  # the next training, or the playground, can take it as it is
