"""DeepSpeed's configuration as a setting: what is refused before Start, and what each GPU is counted to hold."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.command import to_argv
from engine.deepspeed import configuration
from engine.device import Device
from engine.errors import DeviceError, ParamError
from engine.estimate import estimate
from engine.flags import read_value
from engine.models import facts
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, Plan, plan
from engine.registry import specs

ROOT = Path(__file__).resolve().parents[2]
GPUS = Device("cuda", "a card", 8, 80 << 30, 80 << 30, bf16=True, count=4)
OLD = replace(GPUS, bf16=False)
DATA = DataFacts(rows=64, valid_rows=0)
BILLIONS = replace(facts("starter"), parameters=8_000_000_000, hidden=4096, layers=32, vocabulary=128_000, intermediate=14_336)
SECOND = {"zero_optimization": {"stage": 2}}


def settings(config: Any = SECOND, **values: Any) -> LLMTrainingParams:
    return LLMTrainingParams(
        **{"trainer": "sft", "data_path": "sample:neighbours", "processes": 4, "deepspeed": config, **values}
    )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package were there: here only its name is looked for."""
    found, spec = importlib.util.find_spec, importlib.util.find_spec("json")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: spec if name == "deepspeed" else found(name, *rest))


def planned(device: Device = GPUS, config: Any = SECOND, **values: Any) -> Plan:
    return plan(settings(config, **values), DATA, BILLIONS, device)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ""),
        (None, ""),
        ({"zero_optimization": {"stage": 1, "overlap_comm": True}, "bf16": {"enabled": "auto"}, "steps_per_print": 5}, ""),
        ({**SECOND, "gradient_clipping": "auto", "train_batch_size": "auto"}, ""),
        ({"steps_per_print": 5}, "needs a stage, 1 or 2"),
        ({"zero_optimization": {"stage": 3}}, "what stage 3 does, FSDP does here"),
        ({"zero_optimization": 2}, "needs a stage, 1 or 2"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "nvme"}}}, "cpu or none"),
        ({**SECOND, "optimizer": {"type": "AdamW"}}, "optimizer, lr and weight_decay"),
        ({**SECOND, "scheduler": {"type": "WarmupLR"}}, "scheduler and warmup_ratio"),
        ({**SECOND, "train_micro_batch_size_per_gpu": 8}, "said by the setting batch_size"),
        ({**SECOND, "gradient_clipping": 0.5}, "said by the setting max_grad_norm"),
        ({**SECOND, "fp16": {"enabled": True}}, "said by the setting precision"),
        ("zero_optimization", "must be JSON between braces"),
    ],
)
def test_what_settings_say_is_said_by_them_alone(config: Any, words: str) -> None:
    if not words:
        assert settings(config).deepspeed == (config or {})
        return
    with pytest.raises(ParamError, match=words) as told:
        settings(config)
    assert [problem.field for problem in told.value.problems] == ["deepspeed"]


def test_deepspeed_is_told_the_configuration_and_where_the_settings_go() -> None:
    told = configuration(settings({**SECOND, "bf16": {"check_grad_overflow": True}, "steps_per_print": 5}))
    assert told["zero_optimization"] == {"stage": 2} and told["steps_per_print"] == 5
    assert told["bf16"] == {"check_grad_overflow": True, "enabled": "auto"} and told["fp16"] == {"enabled": "auto"}
    assert told["train_micro_batch_size_per_gpu"] == told["gradient_clipping"] == "auto"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trainer": "grpo", "processes": 1, **specs()["grpo"].example_settings}, "trains in one process"),
        ({"processes": 1}, "among several processes, and one is set"),
        ({"fsdp": True}, "two ways to do the same"),
        ({"precision": "fp16"}, "this run would use fp16"),
        ({"peft": True, "quantization": "int4"}, "held in few bits"),
    ],
)
def test_what_does_not_go_with_it_is_said_before_start(values: dict[str, Any], words: str) -> None:
    with pytest.raises(DeviceError, match=words) as told:
        planned(replace(GPUS, quantization=True), **values)
    assert told.value.hint


@pytest.mark.usefixtures("installed")
def test_a_rented_machine_comes_without_it() -> None:
    with pytest.raises(DeviceError, match="Rented machines come without DeepSpeed"):
        planned(compute="hf-jobs", job_hardware="a10g-small")


@pytest.mark.usefixtures("installed")
def test_a_card_without_bfloat16_computes_in_fp32() -> None:
    assert planned(OLD).params.precision == "fp32"


def test_where_it_is_not_installed_the_way_to_it_is_told() -> None:
    with pytest.raises(DeviceError, match="deepspeed is not installed") as told:
        planned()
    assert 'pip install "deepspeed>=0.19,<0.20"' in told.value.hint
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extra["deepspeed"][0] in told.value.hint


@pytest.mark.usefixtures("installed")
def test_each_gpu_is_counted_to_hold_its_part_of_the_optimizer() -> None:
    def memory(config: Any) -> dict[str, int]:
        return dict(estimate(planned(config=config, batch_size=1), DATA, BILLIONS, GPUS, specs()["sft"]).memory)

    first, second = memory({"zero_optimization": {"stage": 1}}), memory(SECOND)
    outside = memory({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}})
    weights = BILLIONS.parameters
    assert first["Weights"] == second["Weights"] == 2 * weights
    assert (first["Gradients"], second["Gradients"]) == (4 * weights, weights)
    assert first["Optimizer"] == second["Optimizer"] == 12 * weights // 4
    assert outside.get("Optimizer", 0) == 0


def test_it_is_read_from_a_file_and_written_into_the_command(tmp_path: Path) -> None:
    file = tmp_path / "ds.json"
    file.write_text(json.dumps(SECOND), encoding="utf-8")
    kind = type(settings())
    assert read_value(kind, "deepspeed", str(file)) == read_value(kind, "deepspeed", json.dumps(SECOND)) == SECOND
    argv = to_argv(settings())
    assert read_value(kind, "deepspeed", argv[argv.index("--deepspeed") + 1]) == SECOND


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read: No such file"), (b"\xff\xfe", "not UTF-8"), (b"{", "takes JSON such as")]
)
def test_a_file_that_is_none_is_told(content: bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "ds.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ParamError, match=words):
        read_value(type(settings()), "deepspeed", str(file))
