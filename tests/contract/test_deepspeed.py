"""Every trainer that several processes can share, with DeepSpeed between them: the two learn what one learns."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.registry import specs
from engine.runs import standby
from engine.runs.directory import RunDirectory
from engine.spec import TrainerSpec
from tests.contract.conftest import numbered
from tests.contract.in_two import HALVES, STEPS, WHOLE, Done, assert_goes_on, assert_same, assert_stop_keeps, trained
from tests.train.toys import series

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / ".venv" / "deepspeed"
# Of each way of asking the model one trainer at every change, the others on request.
ALWAYS = {"sft"}
SHARED = [
    pytest.param(spec, id=spec.id, marks=[] if spec.id in ALWAYS else [pytest.mark.long])
    for spec in specs().values()
    if spec.in_parallel
]


def zero(stage: int, **further: Any) -> dict[str, Any]:
    return {**HALVES, "deepspeed": {"zero_optimization": {"stage": stage, **further}}}


@pytest.fixture(scope="module", autouse=True)
def with_deepspeed() -> Iterator[None]:
    """Processes that can see the package; `make test` installs it apart, where no other test imports it."""
    assert FOLDER.is_dir(), "DeepSpeed is missing: `make test` installs it."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")])))
        standby.close_standby()
        assert standby.ensure_standby()
        yield
        standby.close_standby()


@pytest.fixture
def done(wait_until: Any) -> Done:
    return lambda run: trained(run, wait_until)


@pytest.mark.parametrize("spec", SHARED)
def test_two_with_parted_gradients_learn_what_one_learns(spec: TrainerSpec, trainings: Any, done: Done) -> None:
    rows = numbered(spec, 12)
    one = done(trainings.new(spec, f"one-of-{spec.id}", rows, **WHOLE))
    assert_same(one, done(trainings.new(spec, f"two-of-{spec.id}", rows, **zero(2))))


@pytest.mark.parametrize("peft", [False, pytest.param(True, marks=pytest.mark.long)], ids=["full", "lora"])
def test_in_half_precision_a_model_begins_as_its_reference(peft: bool, trainings: Any, done: Done) -> None:
    spec, name = specs()["dpo"], f"halved-{peft}"
    run = done(trainings.new(spec, name, numbered(spec, 12), **{**zero(2), "precision": "bf16", "peft": peft}))
    loss = series(run, "loss")
    assert loss[1] == pytest.approx(math.log(2), abs=1e-6) and loss[STEPS] < loss[1]


@pytest.mark.parametrize(
    "further",
    [
        pytest.param({}, id="there"),
        pytest.param({"offload_optimizer": {"device": "cpu"}}, id="in-memory", marks=pytest.mark.long),
    ],
)
def test_an_optimizer_that_is_parted_goes_on_from_its_checkpoint(further: Any, trainings: Any, done: Done) -> None:
    spec = specs()["sft"]
    rows, name = numbered(spec, 12), "-".join(["parted", *further])
    settings = {**zero(1, **further), "gradient_accumulation": 2, "batch_size": 1}
    one = done(trainings.new(spec, f"{name}-in-one-go", rows, **settings))
    two = done(trainings.new(spec, f"{name}-in-two-goes", rows, **settings))
    assert_goes_on(one, two, done)


def test_a_run_with_deepspeed_that_is_stopped_keeps_what_it_learned(trainings: Any, wait_until: Any) -> None:
    spec = specs()["sft"]
    run: RunDirectory = trainings.new(spec, "parted-stopped", numbered(spec, 12), **{**zero(2), "max_steps": 100_000})
    assert_stop_keeps(run, wait_until)
