"""No lock-in: a run's exported program, on plain TRL, makes the run's own losses, step by step."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.export.bundle import export
from engine.registry import spec_for
from engine.runs.directory import RunDirectory
from tests.contract.conftest import numbered
from tests.train.toys import jsonl, series

pytestmark = pytest.mark.slow

# What differs from one run to the next: each trainer in full, and between them everything that changes a batch.
CASES: dict[str, dict[str, Any]] = {
    "default": {"trainer": "default", "max_length": 16},
    "default, texts that see each other": {"trainer": "default", "max_length": 16, "cross_documents": True, "peft": True},
    "sft": {"trainer": "sft"},
    "sft, lora, accumulated": {"trainer": "sft", "peft": True, "gradient_accumulation": 2},
    "sft, packed": {"trainer": "sft", "packing": True, "max_length": 64, "train_on_prompt": True},
    "dpo": {"trainer": "dpo", "gradient_accumulation": 2},
    "dpo, lora, its own loss": {
        "trainer": "dpo",
        "peft": True,
        "loss": "sigmoid_norm",
        "label_smoothing": 0.1,
        "sft_weight": 0.5,
        "precompute_reference": False,
    },
    "orpo": {"trainer": "orpo", "gradient_accumulation": 2},
    "reward": {"trainer": "reward", "peft": True},
    "grpo": {"trainer": "grpo", "rl_rewards": ["length: 12 words", "2 * no-repeat"]},
    "kto": {"trainer": "kto", "batch_size": 4},
    "kto, accumulated, lora": {"trainer": "kto", "batch_size": 3, "gradient_accumulation": 2, "peft": True},
}
# Eleven rows are two passes of six steps, the last of a pass not full; two are held out.
SHORT = {
    "epochs": 2,
    "batch_size": 2,
    "lr": 3e-3,
    "lora_r": 4,
    "weight_decay": 0.1,
    "valid_fraction": 0.2,
    "eval_steps": 3,
    "save_steps": 3,
    "warmup_ratio": 0.2,
}
OWN = {"rl_max_new_tokens": 8, "rl_num_generations": 4, "rl_rounds": 2}


@pytest.mark.parametrize("given", CASES.values(), ids=list(CASES))
def test_the_program_makes_the_losses_of_the_run(
    new_run: Callable[..., RunDirectory],
    work: Callable[[RunDirectory], int],
    tmp_path: Path,
    given: dict[str, Any],
) -> None:
    spec = spec_for(given["trainer"])
    data = jsonl(tmp_path / "rows.jsonl", numbered(spec, 11))
    own = {name: value for name, value in OWN.items() if name in spec.params.model_fields}
    run = new_run(data, **{**SHORT, **own, **given})
    assert work(run) == 0, run.status()

    program = export(run).write(tmp_path / "taken along")
    trainer = runpy.run_path(str(program), run_name="__main__")["trainer"]

    for key in {"loss", spec.headline, spec.judged_by}:
        theirs = {entry["step"]: entry[key] for entry in trainer.state.log_history if key in entry}
        ours = series(run, key)
        assert len(ours) >= 3 and theirs == pytest.approx(ours, rel=1e-3, abs=1e-6), key
    made, kept = (load_file(folder / "model" / "model.safetensors") for folder in (program.parent / "output", run.path))
    for name, weight in kept.items():  # the best measured, and not simply the last
        assert torch.allclose(made[name].to(weight.dtype), weight, rtol=1e-3, atol=1e-4), name
