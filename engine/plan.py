"""Chooses every automatic setting from the data, the model and the device, and says why. No torch.

The page shows these choices before Start; the worker makes them again once it has counted the real tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.batches import fullest_batch, joins_rows, trained_share
from engine.device import Device
from engine.memory import BASE, activations_per_token, held, logits_per_token, saving
from engine.models import ModelFacts
from engine.params import LLMTrainingParams
from engine.plan_checks import check_base, check_device, check_together, trains_on_cpu
from engine.registry import spec_for

# A curve of this many points is smooth enough to judge and cheap enough to draw.
_LOG_POINTS = 200
_EVALUATIONS = 10
# At least this many optimizer steps, or there is hardly a curve: small data gets small batches.
_STEPS_WANTED = 60
_BATCHES = (16, 8, 4, 2, 1)
# Share of the free memory that a plan may use, and of a place that packing usually fills.
_USED = 0.85
_FILLED = 0.95
_COMPLETE = (
    "The base model is an adapter itself, so a complete model is saved, and no adapter beside it: it would be put on the wrong "
    "base."
)


@dataclass(frozen=True)
class DataFacts:
    """What is known of the data. Lengths are tokens per row; `exact` is False while they are estimated."""

    rows: int
    valid_rows: int | None = None
    tokens_mean: float = 128.0
    tokens_p95: int = 256
    tokens_max: int = 512
    trained_mean: float = 64.0
    exact: bool = False
    liked: float | None = None  # share of the answers with a thumbs up; None: nobody gave thumbs, or not known yet
    unusable: int = 0  # rows among those looked at that cannot be used
    read_mean: float = 0.0  # what others than the trained model read of a row (a teacher its longer prompt)
    spread: Sequence[float] = ()  # lengths of rows from the shortest to the longest, at even shares of all of them

    def mean_within(self, length: int) -> float:
        """Tokens of a row on average once longer ones are cut at `length`."""
        cut = sum(min(each, length) for each in self.spread) / len(self.spread) if self.spread else self.tokens_mean
        return min(self.tokens_mean, cut, length)


@dataclass(frozen=True)
class Plan:
    """`params` with nothing left open, why each open setting became what it is, and the steps that follow."""

    params: LLMTrainingParams
    reasons: dict[str, str]
    train_rows: int
    valid_rows: int
    steps_per_epoch: int
    total_steps: int
    tokens_per_step: float

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "params": self.params.model_dump(mode="json")}


def plan(params: LLMTrainingParams, data: DataFacts, model: ModelFacts, device: Device) -> Plan:
    """Fill every open setting of `params`.

    Raises:
        DeviceError: a setting asks for hardware that is not here.
        ModelError: a setting asks of the model what it cannot do.
    """
    check_device(params, device)
    check_base(params, model)
    data = with_answers(params, data)
    values, reasons = dict[str, Any](), dict[str, str]()

    def choose(name: str, value: Any, why: str) -> Any:
        given = getattr(params, name)
        if given is not None:
            return given
        values[name], reasons[name] = value, why
        return value

    rows = min(data.rows, params.max_samples or data.rows)
    fraction = choose("valid_fraction", *_held_out(rows, data.valid_rows))
    valid = data.valid_rows if data.valid_rows is not None else round(rows * fraction)
    train = rows if data.valid_rows is not None else max(1, rows - valid)

    length = choose("max_length", *_max_length(data, model, spec_for(params.trainer).copies_of(params).written))
    choose("precision", *_precision(params, device))
    choose("attention", *_attention(params.model_copy(update=values), device, model))
    choose("gradient_checkpointing", *_checkpointing(params.model_copy(update=values), device, model))
    # The default trainer's rows are documents, which are cut into blocks: its batch counts blocks.
    places, each_place = _places(params, data, train, length)
    room = _room(params.model_copy(update=values), data, model, device, length)
    batch = choose("batch_size", *_batch_size(params, places, room))
    step = batch * params.gradient_accumulation * params.processes
    per_epoch = max(1, math.ceil(places / step))
    total = max(1, math.ceil(per_epoch * params.epochs))
    total = min(total, params.max_steps or total)

    choose("lr", *_learning_rate(params, model))
    own = spec_for(params.trainer).choose
    for name, (value, why) in (own(params, data) if own else {}).items():
        choose(name, value, why)
    every = max(1, total // _LOG_POINTS)
    choose("logging_steps", every, f"A point every {_steps(every)}: {total} steps in all.")
    each = max(1, math.ceil(total / _EVALUATIONS))
    choose("eval_steps", each, _looks(each, total, valid))
    evaluated = params.eval_steps or each
    saved = evaluated if valid else each
    choose("save_steps", saved, f"A checkpoint every {_steps(saved)}" + (", at each measurement." if valid else "."))
    if params.peft and model.base_of_adapter:
        values["merge_adapter"], reasons["merge_adapter"] = True, _COMPLETE
    filled = params.model_copy(update=values)
    check_together(filled, model)
    written = spec_for(params.trainer).copies_of(filled).written
    return Plan(filled, reasons, train, valid, per_epoch, total, step * (each_place + written))


def with_answers(params: LLMTrainingParams, data: DataFacts) -> DataFacts:
    """The data as it is once the answers are there that are yet to be written; most are far shorter than they may be."""
    writes = spec_for(params.trainer).writes
    if writes is None:
        return data
    most = writes(params)
    usual = min(most, max(32, most // 4))
    return replace(
        data,
        tokens_mean=data.tokens_mean + usual,
        tokens_p95=data.tokens_p95 + most,
        tokens_max=data.tokens_max + most,
        trained_mean=usual,
    )


def presets(trainer: str) -> dict[str, dict[str, Any]]:
    """Named starting points for a trainer's settings; what a preset leaves out keeps its default."""
    fields = spec_for(trainer).params.model_fields
    named = {
        "Quick try": {"epochs": 1.0, "max_samples": 200, "early_stopping_patience": None},
        "Balanced": {"epochs": 3.0, "max_samples": None, "early_stopping_patience": None},
        "Best quality": {"epochs": 8.0, "max_samples": None, "early_stopping_patience": 3},
    }
    return {title: {k: v for k, v in values.items() if k in fields} for title, values in named.items()}


def _held_out(rows: int, own_file: int | None) -> tuple[float, str]:
    from engine.data import held_out_fraction

    if own_file is not None:
        return 0.0, f"{own_file} rows of a file of their own are used to measure with."
    fraction = held_out_fraction(rows)
    if fraction == 0:
        return 0.0, f"With {rows} rows all are needed for training; nothing is kept aside to measure with."
    return fraction, f"{round(rows * fraction)} of {rows} rows are kept aside to measure with."


def _max_length(data: DataFacts, model: ModelFacts, written: int) -> tuple[int, str]:
    wanted = max(32, 1 << (max(1, data.tokens_max) - 1).bit_length())
    context = max(8, model.context - written) if model.context else 0  # the model's answers need room as well
    length = min(wanted, context or 4096, 4096)
    if length >= data.tokens_max:
        return (
            length,
            f"The longest row has {'' if data.exact else 'about '}{data.tokens_max} tokens, so nothing is cut.",
        )
    room = f"the model's context of {model.context}" + (f" less {written} for its answers" if written else "")
    limit = room if length == context else "what memory usually allows"
    return length, f"The longest row has {data.tokens_max} tokens; {length} is {limit}, so longer rows are cut."


def _places(params: LLMTrainingParams, data: DataFacts, rows: int, length: int) -> tuple[int, float]:
    """What a batch counts (rows, or blocks of joined ones), and the tokens in one of them."""
    mean, filled = data.mean_within(length), _FILLED
    if not joins_rows(params):
        return rows, mean
    if spec_for(params.trainer).rows == "text":  # longer texts go on in the next block, and blocks are cut to be full
        mean, filled = data.tokens_mean, 1.0
    places = max(1, math.ceil(rows * mean / (length * filled)))
    return places, min(rows * mean / places, length)


def _room(params: LLMTrainingParams, data: DataFacts, model: ModelFacts, device: Device, length: int) -> int:
    """Of the usual batches the largest whose activations and logits fit into the memory that is free; 0 when none does."""
    copies = spec_for(params.trainer).copies_of(params)
    taken = sum(size for _, size in held(params, model, copies)) + saving(params, model, device.kind == "cpu")
    shared = params.processes if device.kind != "cuda" else 1  # each GPU has memory of its own
    free = _USED * device.memory_free / shared - BASE[device.kind] - taken
    per_token = activations_per_token(params, model) + trained_share(params, data) * logits_per_token(model, copies)
    return next((size for size in _BATCHES if fullest_batch(params, data, length, size) * per_token <= free), 0)


def _batch_size(params: LLMTrainingParams, places: int, room: int) -> tuple[int, str]:
    def steps(batch: int) -> int:
        return math.ceil(math.ceil(places / (batch * params.gradient_accumulation * params.processes)) * params.epochs)

    passes = "one pass" if params.epochs == 1 else f"{params.epochs:g} passes"
    least = min(spec_for(params.trainer).least_batch, max(_BATCHES))
    wanted = next(batch for batch in _BATCHES if steps(batch) >= _STEPS_WANTED or batch <= least)
    batch = next(size for size in _BATCHES if size <= min(wanted, room) or size == 1)
    made = f"{batch} at a time makes {steps(batch)} steps of {places} rows in {passes}"
    return batch, made + (f"; {wanted} would not fit into the free memory." if batch < wanted else ".")


def usual_lr(params: LLMTrainingParams, parameters: int) -> float:
    """About 2e-5 at one billion weights and larger for smaller models, as practice has it; ten times that for LoRA."""
    full = min(1e-3, 2e-5 * math.sqrt(1e9 / max(parameters, 1)))
    rate = (min(2e-3, 10 * full) if params.peft else full) * spec_for(params.trainer).lr_scale
    return float(f"{rate:.1e}")


def _learning_rate(params: LLMTrainingParams, model: ModelFacts) -> tuple[float, str]:
    rate = usual_lr(params, model.parameters)
    what = "a LoRA adapter on" if params.peft else "all weights of"
    return (
        rate,
        f"{rate:g} suits {what} a model of {_millions(model.parameters)} weights; smaller models take larger steps.",
    )


def _precision(params: LLMTrainingParams, device: Device) -> tuple[str, str]:
    if device.bf16:
        return "bf16", f"{device.name} computes in bfloat16, which is faster and needs less memory."
    if device.kind == "cuda" and not (params.fsdp or params.deepspeed):
        return "fp16", f"{device.name} has no bfloat16; half precision with loss scaling instead."
    return "fp32", f"{device.name} has no bfloat16 units, so plain 32-bit numbers are the fastest."


def _attention(params: LLMTrainingParams, device: Device, model: ModelFacts) -> tuple[str, str]:
    on_cpu = trains_on_cpu(params, device)
    if device.kind != "mps" and not model.sliding_window and spec_for(params.trainer).end_to_end:
        return "documents", "Each row attends to itself only and no padding is computed."
    if device.flash_attention and not on_cpu and params.precision != "fp32":  # its kernels know half precision only
        return "flash_attention_2", "flash-attn is installed and the GPU can use it."
    return "sdpa", "PyTorch's own attention fits this model and device."


def _checkpointing(params: LLMTrainingParams, device: Device, model: ModelFacts) -> tuple[bool, str]:
    # when weights, gradients and the optimizer fill half of the memory, activations must be few
    short = sum(size for _, size in held(params, model, spec_for(params.trainer).copies_of(params))) > device.memory_free / 2
    why = "Memory is short for this model" if short else "Memory suffices, so nothing is computed twice"
    return short, why + "."


def _looks(each: int, total: int, valid: int) -> str:
    """What happens every `each` steps."""
    often = f"every {_steps(each)}: about {math.ceil(total / each)}"
    return f"Held-out rows {often} measurements." if valid else f"Nothing is held out; prompts are answered {often} times."


def _steps(count: int) -> str:
    return "step" if count == 1 else f"{count} steps"


def _millions(count: int) -> str:
    return f"{count / 1e9:.1f} billion" if count >= 1e9 else f"{count / 1e6:.1f} million"
