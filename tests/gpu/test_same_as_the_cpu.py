"""The same run on a GPU and on the processor, in fp32: the same first losses, and in the end nearly the same model."""

from __future__ import annotations

from typing import Any

import pytest

from engine.registry import specs
from engine.spec import TrainerSpec
from tests.contract.conftest import numbered
from tests.train.toys import series

# A model that writes answers draws them with the device's own dice.
OWN_ANSWERS = {spec.id for spec in specs().values() if "rl_temperature" in spec.params.model_fields}


@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("spec", [s for s in specs().values() if s.id not in OWN_ANSWERS], ids=lambda s: s.id)
def test_losses_are_those_of_the_processor(spec: TrainerSpec, peft: bool, trainings: Any) -> None:
    curves = []
    for device in ("cpu", "cuda"):
        run = trainings.new(spec, f"{spec.id}-{peft}-{device}", numbered(spec, 11), device=device, peft=peft, max_steps=6,
                            valid_fraction=0.25, batch_size=2, eval_steps=2, lr=1e-4, scheduler="constant")  # fmt: skip
        assert trainings.work(run) == 0, run.status()
        curves.append((series(run, "loss"), series(run, "eval_loss")))
    for ours, theirs in zip(*curves, strict=True):
        assert ours.keys() == theirs.keys()
        for step, value in ours.items():
            assert theirs[step] == pytest.approx(value, rel=1e-3, abs=1e-4), step


@pytest.mark.parametrize("attention", ["documents", "sdpa", "eager"])
def test_every_attention_gives_the_same_loss(attention: str, trainings: Any) -> None:
    spec, losses = specs()["sft"], []
    for name, values in (("cpu", {"device": "cpu"}), ("cuda", {"device": "cuda", "attention": attention})):
        run = trainings.new(spec, f"attention-{attention}-{name}", numbered(spec, 11), max_steps=4, batch_size=4, **values)
        assert trainings.work(run) == 0, run.status()
        losses.append(list(series(run, "loss").values()))
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
