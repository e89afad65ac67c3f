"""Memory, time and disk of a planned run, before it is started, item by item. No torch.

Memory follows Rajbhandari et al. 2020 (ZeRO, section 3.1) for weights, gradients and Adam's moments, and Korthikanti et
al. 2022 (equation 1) for activations, reduced to what fused attention keeps. Time is work divided by speed: six floating
point operations for each weight and token of a step (Kaplan et al. 2020, section 2.1), and the speed of this machine as
its last finished runs had it, or a cautious guess for its kind.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from engine.device import Device
from engine.models import ModelFacts
from engine.plan import DataFacts, Plan
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.listing import list_runs
from engine.spec import TrainerSpec

# Floating point operations per second that training reached, with small matrices and all that is no multiplication.
_SPEED = {"cpu": 8e9, "mps": 1.5e12, "cuda": 4e13}
# Libraries, the interpreter and the allocator's slack.
_BASE = {"cpu": 700 << 20, "mps": 900 << 20, "cuda": 1200 << 20}
_START_S = 3.0
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class Estimate:
    """What a run will take. Bytes and seconds; `memory` is [(what, bytes)] in the order in which it is shown."""

    memory: list[tuple[str, int]]
    memory_total: int
    memory_free: int
    disk: int
    disk_free: int
    seconds: float
    seconds_how: str
    train_rows: int
    valid_rows: int
    tokens: int
    steps: int
    fits: bool
    advice: str


def estimate(plan: Plan, data: DataFacts, model: ModelFacts, device: Device, spec: TrainerSpec) -> Estimate:
    """What `plan` takes of `device`."""
    items = _memory(plan, data, model, device, spec)
    total = sum(size for _, size in items)
    seconds, how = _time(plan, data, model, device, spec)
    disk, disk_free = _disk(plan, model), _disk_free()
    fits = total <= device.memory_free and disk <= disk_free
    return Estimate(
        memory=items,
        memory_total=total,
        memory_free=device.memory_free,
        disk=disk,
        disk_free=disk_free,
        seconds=seconds,
        seconds_how=how,
        train_rows=plan.train_rows,
        valid_rows=plan.valid_rows,
        tokens=int(plan.tokens_per_step * plan.total_steps),
        steps=plan.total_steps,
        fits=fits,
        advice="" if fits else _advice(plan, disk, disk_free),
    )


def _adapter_weights(plan: Plan, model: ModelFacts) -> int:
    """Weights of a LoRA adapter on every linear layer: rank times the sides of seven matrices a layer."""
    per_layer = 4 * 2 * model.hidden + 3 * (model.hidden + model.intermediate)
    return plan.params.lora_r * per_layer * model.layers


def _memory(plan: Plan, data: DataFacts, model: ModelFacts, device: Device, spec: TrainerSpec) -> list[tuple[str, int]]:
    p = plan.params
    fast = _BYTES[p.precision or "fp32"]
    trained = _adapter_weights(plan, model) if p.peft else model.parameters
    held = {"none": fast if p.peft else 4, "int8": 1.1, "int4": 0.6}[p.quantization]
    moments = {"adamw_torch": 8, "adafactor": 0.1, "sgd": 0}[p.optimizer]
    length = min(data.tokens_p95, p.max_length or data.tokens_p95)
    row = min(data.tokens_mean, length) if spec.rows != "text" else (p.max_length or length)
    tokens = int((p.batch_size or 1) * row * spec.copies.sequences)
    per_token = model.layers * (34 if not p.gradient_checkpointing else 2) * model.hidden * fast / 2
    if p.gradient_checkpointing:
        per_token += 34 * model.hidden * fast / 2
    scored = tokens if spec.rows == "text" else int(tokens * min(1.0, data.trained_mean / max(data.tokens_mean, 1)))
    frozen = spec.copies.frozen + (spec.copies.frozen_with_lora if p.peft else 0)
    kept_best = 4 * model.parameters if not p.peft and p.keep_best and plan.valid_rows else 0
    items = [
        ("Weights", int(model.parameters * held + (4 * trained if p.peft else 0))),
        ("Reference or teacher", int(frozen * model.parameters * fast)),
        ("Gradients", 4 * trained),
        ("Optimizer", int(moments * trained)),
        ("Copies in the fast number format", int(model.parameters * 2) if fast == 2 and not p.peft else 0),
        ("Activations", int(tokens * per_token)),
        # logits, their fp32 copy, its gradient and the softmax
        ("Logits", int(scored * model.vocabulary * 14) if spec.copies.vocabulary_head else 0),
        ("Saving the best weights", kept_best if device.kind == "cpu" else 0),
        ("Python and its libraries", _BASE[device.kind]),
    ]
    return [(what, size) for what, size in items if size]


def _time(plan: Plan, data: DataFacts, model: ModelFacts, device: Device, spec: TrainerSpec) -> tuple[float, str]:
    p = plan.params
    flops = 6 * model.parameters * (2 / 3 if p.peft else 1) * (4 / 3 if p.gradient_checkpointing else 1)
    per_token = flops * spec.copies.sequences
    measurements = plan.total_steps / (p.eval_steps or plan.total_steps) + 1
    measured = measurements * plan.valid_rows * data.tokens_mean / 3
    tokens = plan.tokens_per_step * plan.total_steps + measured
    known = _measured_speed()
    speed = known or _SPEED[device.kind] * (max(device.cores, 1) if device.kind == "cpu" else 1)
    answers = 0.0 if p.sample_tokens == 0 else measurements * 0.02 * p.sample_tokens
    how = (
        "from the speed of your last runs on this machine"
        if known
        else f"a first guess for {device.name}; it gets better with every finished run"
    )
    return _START_S + answers + tokens * per_token / speed, how


def _measured_speed() -> float | None:
    """Operations per second of the last finished runs on this machine; None when there are none."""
    speeds = []
    for run in list_runs(runs_root()):
        if run.state != "done" or len(speeds) == 3:
            continue
        speed = _speed_of(RunDirectory(runs_root() / run.name).plan(), run.metrics)
        if speed is not None:
            speeds.append(speed)
    return sorted(speeds)[len(speeds) // 2] if speeds else None


def _speed_of(plan: dict[str, Any], metrics: dict[str, float]) -> float | None:
    weights, rate = plan.get("model_parameters"), metrics.get("tokens_per_second")
    return 6 * weights * rate if weights and rate else None


def _disk(plan: Plan, model: ModelFacts) -> int:
    """Checkpoints (weights and optimizer), the best weights, and the finished model twice while it is checked."""
    p = plan.params
    trained = _adapter_weights(plan, model) if p.peft else model.parameters
    checkpoint = 12 * trained + (1 << 20)
    kept = min(p.save_total_limit + 1, plan.total_steps // max(p.save_steps or plan.total_steps, 1) + 1)
    return int(kept * checkpoint + 4 * trained + 2 * 2 * model.parameters + (4 * plan.tokens_per_step * plan.steps_per_epoch))


def _disk_free() -> int:
    root = runs_root()
    while not root.exists():
        root = root.parent
    return shutil.disk_usage(root).free


def _advice(plan: Plan, disk: int, disk_free: int) -> str:
    if disk > disk_free:
        return "The disk is too full: delete old runs, or keep fewer checkpoints."
    p = plan.params
    if not p.peft:
        return "Train a LoRA adapter (Settings, Adapter): it needs neither gradients nor optimizer for the whole model."
    if (p.batch_size or 1) > 1:
        return "Halve the rows per step and double the accumulation: the same training in less memory."
    if not p.gradient_checkpointing:
        return "Turn gradient checkpointing on (Settings, Hardware): slower, with far fewer activations in memory."
    return "Choose a smaller model, or cut rows shorter."
