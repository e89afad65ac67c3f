"""Runs made up for the recognisers: an ending or curves of a known kind, for any trainer."""

from __future__ import annotations

import random
from typing import Any

from engine.diagnosis.finding import Evidence
from engine.diagnosis.series import Points
from engine.params import LLMTrainingParams
from engine.registry import spec_for
from engine.runs.status import State, Status

# What a plan leaves open nowhere; large enough that every way to less memory is still there.
PLANNED = {"max_length": 512, "batch_size": 8, "lr": 3e-4, "precision": "fp32", "gradient_checkpointing": False}


def run(trainer: str = "sft", state: State = State.DONE, cause: str = "", **values: Any) -> Evidence:
    """A run of 100 steps; `curves`, `warnings` and what else evidence has go there, everything else is a setting."""
    parts = {k: values.pop(k) for k in list(values) if k in Evidence.__dataclass_fields__}
    params = LLMTrainingParams(
        **{"trainer": trainer, "data_path": "x.jsonl", **spec_for(trainer).example_settings, **values}  # type: ignore[arg-type]
    )
    planned = {k: v for k, v in PLANNED.items() if getattr(params, k) is None}
    plan = {"steps_per_epoch": 34, "model_parameters": 3_000_000, "model_context": 1024}
    status = Status(state, cause=cause, reason="It ended.", step=100, total_steps=100)
    whole = {"plan": plan, "trained": True, **parts}
    return Evidence(name="run", status=status, params=params, chosen=params.model_copy(update=planned), **whole)


def line(*heights: float, points: int = 60, noise: float = 0.0, seed: int = 0) -> Points:
    """A curve through heights at equal distances, with noise."""
    dice = random.Random(seed)
    found: Points = []
    for at in range(points):
        place = at / max(points - 1, 1) * (len(heights) - 1)
        left = min(int(place), len(heights) - 2)
        value = heights[left] + (place - left) * (heights[left + 1] - heights[left])
        found.append((at + 1, value + dice.gauss(0, noise)))
    return found


def measured(*heights: float) -> Points:
    """Held-out measurements, every ten steps from the start."""
    return [(10 * at, height) for at, height in enumerate(heights)]


def bad_runs(trainer: str, **values: Any) -> list[Evidence]:
    """One run of a trainer for everything that there is a recogniser for."""
    cut = {"about": "cut", "rows": 30, "of": 100, "longest": 700}
    nothing = {"about": "template", "rows": 100, "of": 100}
    spec = spec_for(trainer)
    causes = ("memory", "nan", "killed", "disk", "gated", "missing", "offline", "same rewards")
    ended = [run(trainer, State.FAILED, cause, **values) for cause in causes]
    ended += [run(trainer, State.FAILED, "memory", trained=False, **values)]
    ended += [run(trainer, State.INTERRUPTED, "killed", memory_kills=1, **values)]
    curves: list[dict[str, Points]] = [
        {"loss": line(2, 9, noise=0.1), spec.judged_by: measured(2, 8, 9, 9, 9)},
        {"loss": line(2, 1, 0.1, noise=0.02), spec.judged_by: measured(2, 1, 1.2, 1.5, 1.8)},
        {"loss": line(2, 2, noise=0.02), spec.judged_by: measured(2, 2, 2, 2)},
        {"logps/chosen": line(-50, -90), "rewards/margins": line(0, 5)},
        {"reward": line(0, 0), "reward_std": line(0, 0)},
    ]
    if spec.drift:
        curves.append({spec.drift[0]: line(0, 900), spec.drift[1]: line(20, 20)})
    if spec.cut_answers:
        curves.append({spec.cut_answers.removeprefix("!"): line(*((0.1, 0.1) if "!" in spec.cut_answers else (0.9, 0.9)))})
    drawn = [run(trainer, curves=found, **values) for found in curves]
    return [*ended, *drawn, run(trainer, warnings=(cut,), **values), run(trainer, State.FAILED, warnings=(nothing,), **values)]
