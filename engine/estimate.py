"""Memory, time and disk of a planned run, before it is started, item by item. No torch.

Time is work divided by speed: six floating point operations for each weight and token of a step (Kaplan et al. 2020,
section 2.1), and the speed of this machine as its last finished runs had it, or a cautious guess for its kind. A GPU is often
done with a small step before the next piece of work is handed to it: then a step takes what handing over takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.admission import least_disk, shortage, what_to_free
from engine.batches import fullest_batch, trained_share
from engine.device import Device
from engine.memory import BASE, activations_per_token, checkpoint_bytes, held, logits_per_token, saving, trained_weights
from engine.models import ModelFacts
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, Plan, with_answers
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.listing import list_runs
from engine.runs.usage import free_bytes
from engine.spec import Copies, Cost, TrainerSpec

# Floating point operations per second that training reached, with small matrices and all that is no multiplication.
_SPEED = {"cpu": 8e9, "mps": 1.5e12, "cuda": 4e13}
_START_S = 3.0
# Seconds for each weight to load the model, save it and read it back; with an adapter a good third of that.
_FILES_S = 14e-9
_ADAPTER_FILES = 0.4
# Seconds that handing a GPU the work of one layer takes, forwards, backwards and in the optimizer; how much more of it there is
# with an adapter; and seconds a layer for one more token of an answer (benchmarks/gpu.py: 4.7 to 8.4 ms, 1.4 to 1.7, 2.9 ms).
_LAYER_S = {"cpu": 0.0, "mps": 0.005, "cuda": 0.005}
_ADAPTER_LAYER = 1.6
_WORD_S = {"cpu": 0.0, "mps": 0.003, "cuda": 0.003}
# A run says something of the speed of another whose model is at most so many times larger or smaller.
_ALIKE = 4
# A full backward pass costs twice the forward; with frozen weights half of that is left out.
_LORA_SHARE = 2 / 3
# Token ids and labels on disk.
_TOKEN_BYTES = 8


@dataclass(frozen=True)
class Estimate:
    """What a run will take. Bytes and seconds; `memory` is [(what, bytes)] in the order in which it is shown."""

    memory: list[tuple[str, int]]
    memory_total: int
    memory_free: int
    disk: int
    disk_least: int  # what it surely needs: with less free it is not started
    disk_free: int
    seconds: float
    seconds_how: str
    train_rows: int
    valid_rows: int
    tokens: int
    steps: int
    fits: bool
    advice: str
    costs: tuple[Cost, ...] = ()


def estimate(plan: Plan, data: DataFacts, model: ModelFacts, device: Device, spec: TrainerSpec) -> Estimate:
    """What `plan` takes of `device`."""
    costs = spec.costs(plan, data) if spec.costs else ()
    data = with_answers(plan.params, data)
    items = _memory(plan, data, model, device, spec)
    total = sum(size for _, size in items)
    seconds, how = _time(plan, data, model, device, spec)
    disk, disk_free = _disk(plan, model, spec), _disk_free()
    fits = total <= device.memory_free and disk <= disk_free
    return Estimate(
        memory=items,
        memory_total=total,
        memory_free=device.memory_free,
        disk=disk,
        disk_least=least_disk(plan.params, model),
        disk_free=disk_free,
        seconds=seconds + sum(cost.seconds for cost in costs),
        seconds_how=how,
        train_rows=plan.train_rows,
        valid_rows=plan.valid_rows,
        tokens=int(plan.tokens_per_step * plan.total_steps * spec.copies_of(plan.params).sequences),
        steps=plan.total_steps,
        fits=fits,
        advice="" if fits else _advice(plan, disk, least_disk(plan.params, model), disk_free),
        costs=costs,
    )


def _memory(plan: Plan, data: DataFacts, model: ModelFacts, device: Device, spec: TrainerSpec) -> list[tuple[str, int]]:
    p = plan.params
    tokens = fullest_batch(p, data, p.max_length or data.tokens_max, p.batch_size or 1)
    items = [
        *held(p, model, spec.copies_of(p)),
        ("Activations", int(tokens * activations_per_token(p, model))),
        ("Logits", int(tokens * trained_share(p, data) * logits_per_token(model, spec.copies_of(p)))),
        ("Saving and reading back", saving(p, model, device.kind == "cpu")),
        ("Python and its libraries", BASE[device.kind]),
    ]
    # each GPU holds one process and has its own memory; processors share theirs
    copies = p.processes if device.kind != "cuda" else 1
    return [(what, copies * size) for what, size in items if size]


def _time(plan: Plan, data: DataFacts, model: ModelFacts, device: Device, spec: TrainerSpec) -> tuple[float, str]:
    p = plan.params
    flops = _flops(model.parameters, peft=p.peft) * (4 / 3 if p.gradient_checkpointing else 1)
    copies = spec.copies_of(p)
    per_token = flops * copies.sequences * copies.passes
    measurements = plan.total_steps / (p.eval_steps or plan.total_steps) + 1
    measured = measurements * plan.valid_rows * (data.tokens_mean + copies.written) / 3
    tokens = plan.tokens_per_step * plan.total_steps + measured
    if spec.copies_of(p).watched:  # a forward pass, a third of a training step's work, over what is read there
        share = (data.read_mean + data.trained_mean) / max(data.tokens_mean, 1)
        tokens += share * plan.tokens_per_step * plan.total_steps / 3
    known = _measured_speed(device, model)
    speed = known or _SPEED[device.kind] * (max(device.cores, 1) if device.kind == "cpu" else 1)
    if device.kind == "cuda":
        speed *= p.processes
    answers = measurements * max(0.02, _WORD_S[device.kind] * model.layers) * p.sample_tokens
    how = (
        "from the speed of your last runs on this machine"
        if known
        else f"a first guess for {device.name}; it gets better with every finished run"
    )
    work = max(tokens * per_token / speed, plan.total_steps * _handing_over(p, model, device, copies))
    files = _FILES_S * model.parameters * (_ADAPTER_FILES if p.peft else 1)
    return _START_S + files + answers + work, how


def _handing_over(p: LLMTrainingParams, model: ModelFacts, device: Device, copies: Copies) -> float:
    """Seconds that a step takes on a GPU however little there is to compute."""
    layer = _LAYER_S[device.kind] * (_ADAPTER_LAYER if p.peft else 1) * (4 / 3 if p.gradient_checkpointing else 1)
    return p.gradient_accumulation * model.layers * (layer * copies.passes + _WORD_S[device.kind] * copies.written)


def _measured_speed(device: Device, model: ModelFacts) -> float | None:
    """Operations per second of the last finished runs on this device with models of about this size; None without any."""
    speeds = []
    for run in list_runs(runs_root()):
        if run.state != "done" or len(speeds) == 3:
            continue
        directory = RunDirectory(runs_root() / run.name)
        made = directory.plan()
        speed = _speed_of(made, run.metrics)
        if speed is not None and _tells(directory, made, device, model):
            gpus = made["params"].get("processes", 1) if device.kind == "cuda" else 1
            speeds.append(speed / gpus)
    return sorted(speeds)[len(speeds) // 2] if speeds else None


def _tells(run: RunDirectory, plan: dict[str, Any], device: Device, model: ModelFacts) -> bool:
    ratio = plan["model_parameters"] / max(model.parameters, 1)
    return run.written_status().device == device.name and 1 / _ALIKE <= ratio <= _ALIKE


def _speed_of(plan: dict[str, Any], metrics: dict[str, float]) -> float | None:
    weights, rate = plan.get("model_parameters"), metrics.get("tokens_per_second")
    params = plan.get("params") or {}
    if "rl_max_new_tokens" in params:
        return None  # a token that the model wrote itself was gone over more than once
    peft = bool(params.get("peft"))
    return _flops(weights, peft=peft) * rate if weights and rate else None


def _flops(weights: int, *, peft: bool) -> float:
    """Floating point operations of one token, forward and backward."""
    return 6 * weights * (_LORA_SHARE if peft else 1)


def _disk(plan: Plan, model: ModelFacts, spec: TrainerSpec) -> int:
    """Checkpoints (weights and optimizer), the best weights, and the finished model twice while it is checked."""
    p = plan.params
    trained = trained_weights(p, model)
    checkpoint = checkpoint_bytes(p, model) + (1 << 20)
    kept = min(p.save_total_limit + 1, plan.total_steps // max(p.save_steps or plan.total_steps, 1) + 1)
    tokens = _TOKEN_BYTES * plan.tokens_per_step * plan.steps_per_epoch * spec.copies_of(p).sequences
    return int(kept * checkpoint + 4 * trained + 2 * 2 * model.parameters + tokens)


def _disk_free() -> int:
    return free_bytes(runs_root())


def _advice(plan: Plan, disk: int, least: int, disk_free: int) -> str:
    if disk > disk_free:
        surely = least > disk_free
        needed = shortage(least if surely else disk, disk_free, surely=surely)
        return f"The disk is too full. {needed} {what_to_free()} Or keep fewer checkpoints (Settings, Output)."
    p = plan.params
    if not p.peft:
        return "Train a LoRA adapter (Settings, Adapter): it needs neither gradients nor optimizer for the whole model."
    if (p.batch_size or 1) > 1:
        return "Halve the rows per step and double the accumulation: the same training in less memory."
    if not p.gradient_checkpointing:
        return "Turn gradient checkpointing on (Settings, Hardware): slower, with far fewer activations in memory."
    return "Choose a smaller model, or cut rows shorter."
