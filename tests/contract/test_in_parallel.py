"""Every trainer that says it can share its steps: two processes learn what one learns from the same rows, step by step."""

from __future__ import annotations

from typing import Any

import pytest

from engine.registry import specs
from engine.runs import launcher
from engine.runs.status import State
from engine.spec import TrainerSpec
from tests.contract.conftest import numbered
from tests.train.toys import series

pytestmark = pytest.mark.slow

# Of each way of making rows one trainer at every change, the others on request: they share what is tested.
ALWAYS = {"sft", "dpo", "distillation"}
IN_PARALLEL = [
    pytest.param(spec, id=spec.id, marks=[] if spec.id in ALWAYS else [pytest.mark.long])
    for spec in specs().values()
    if spec.in_parallel
]
# Nine rows to train on in steps of four: three steps a pass, the last of them a single row that only one process has.
SETTINGS = {"epochs": 2, "max_steps": 5, "valid_fraction": 0.25, "eval_steps": 3, "sample_tokens": 0, "scheduler": "constant"}
NEAR = {"rel": 1e-4, "abs": 1e-6}


@pytest.mark.parametrize("spec", IN_PARALLEL)
def test_two_processes_learn_what_one_learns(spec: TrainerSpec, trainings: Any, warm: None, wait_until: Any) -> None:
    from safetensors.torch import load_file

    rows = numbered(spec, 12)
    one = trainings.new(spec, f"one-process-{spec.id}", rows, batch_size=4, **SETTINGS)
    assert trainings.work(one) == 0, one.status()

    two = trainings.new(spec, f"two-processes-{spec.id}", rows, batch_size=2, processes=2, **SETTINGS)
    launcher.start_worker(two)
    wait_until(lambda: two.status().ended_state, 120)

    assert (two.status().state, two.status().reason) == (State.DONE, ""), two.log_file.read_text()
    assert two.status().total_steps == one.status().total_steps >= 4
    for name in ("loss", "grad_norm", spec.judged_by, "tokens"):
        assert series(two, name) == pytest.approx(series(one, name), **NEAR), name
    ours, theirs = (load_file(run.model_dir / "model.safetensors") for run in (one, two))
    for name, weights in ours.items():
        assert float((weights - theirs[name]).abs().max()) < 2e-5, name
