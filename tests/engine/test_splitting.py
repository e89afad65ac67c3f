"""A model that is to be split among processes: what is refused before Start, and what each process is counted to hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.device import Device
from engine.errors import DeviceError, ModelError, StudioError
from engine.estimate import estimate
from engine.models import facts
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, Plan, plan
from engine.registry import specs

GPUS = Device("cuda", "a card", 8, 80 << 30, 80 << 30, bf16=True, count=4)
OLD = replace(GPUS, bf16=False)
CPU = Device("cpu", "a processor", 8, 32 << 30, 32 << 30, bf16=False)
DATA = DataFacts(rows=64, valid_rows=0)
BILLIONS = replace(facts("starter"), parameters=8_000_000_000, hidden=4096, layers=32, vocabulary=128_000, intermediate=14_336)


def planned(trainer: str = "sft", device: Device = GPUS, model: Any = BILLIONS, **values: Any) -> Plan:
    example = specs()[trainer].example_settings
    asked = {"processes": 4, "fsdp": True, **example, **values}
    return plan(LLMTrainingParams(trainer=trainer, data_path="sample:neighbours", **asked), DATA, model, device)


@pytest.mark.parametrize("trainer", [spec.id for spec in specs().values() if not spec.in_parallel])
def test_a_trainer_that_cannot_split_names_those_that_can(trainer: str) -> None:
    with pytest.raises(DeviceError, match=r"in one process, .*; .*Supervised Fine-Tuning.* train in several") as told:
        planned(trainer, processes=1)
    assert "Turn FSDP off" in told.value.hint


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"processes": 1}, DeviceError, "among several processes, and one is set"),
        ({"peft": True}, DeviceError, "trains all weights, and a LoRA adapter is asked for"),
        ({"precision": "fp16"}, DeviceError, "this run would use fp16"),
        ({"model": replace(BILLIONS, base_of_adapter="club/base")}, ModelError, "is an adapter on club/base"),
    ],
)
def test_what_does_not_go_with_it_is_said_before_start(values: dict[str, Any], kind: type[StudioError], words: str) -> None:
    with pytest.raises(kind, match=words) as told:
        planned(**values)
    assert told.value.hint


def test_a_card_without_bfloat16_computes_in_fp32() -> None:
    assert planned(device=OLD).params.precision == "fp32"
    assert planned(device=OLD, fsdp=False).params.precision == "fp16"


def memory(chosen: Plan, model: Any, device: Device) -> dict[str, int]:
    return dict(estimate(chosen, DATA, model, device, specs()["sft"]).memory)


def test_each_gpu_is_counted_to_hold_its_part() -> None:
    part, all_of_it = (memory(planned(fsdp=split, batch_size=1), BILLIONS, GPUS) for split in (True, False))
    for what in ("Weights", "Gradients", "Optimizer"):
        assert part[what] == all_of_it[what] // 4
    # 16 bytes a weight: 128 GB do not fit into 80, a quarter of them does
    assert sum(all_of_it.values()) > GPUS.memory_free > sum(part.values())
    assert 0 < part["Layers put together"] < part["Weights"]


def test_on_a_processor_the_parts_come_to_the_whole() -> None:
    starter = facts("starter")
    one, two = (memory(planned(device=CPU, model=starter, processes=n, fsdp=n > 1, batch_size=4), starter, CPU) for n in (1, 2))
    for what in ("Weights", "Optimizer"):
        assert two[what] == pytest.approx(one[what], rel=1e-6)
