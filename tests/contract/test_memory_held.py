"""What every registered trainer holds in memory is what it declares, and what is only asked never changes."""

from __future__ import annotations

from typing import Any

import pytest

from engine.registry import parse, specs
from engine.spec import TrainerSpec

pytestmark = pytest.mark.slow

EVERY = pytest.mark.parametrize("spec", specs().values(), ids=lambda s: s.id)
BOTH = pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])


@BOTH
@EVERY
def test_the_base_is_held_once_and_once_more_for_each_declared_copy(spec: TrainerSpec, peft: bool, trainings: Any) -> None:
    _holds_what_it_declares(spec, peft, trainings)


@pytest.mark.parametrize(("peft", "frozen"), [(False, 1), (True, 0)], ids=["full", "lora"])
def test_a_reference_that_is_asked_at_every_step_is_the_adapter_s_own_base(peft: bool, frozen: int, trainings: Any) -> None:
    """One copy of the base with DPO and LoRA, whichever way the reference is asked."""
    assert _holds_what_it_declares(specs()["dpo"], peft, trainings, precompute_reference=False) == frozen


def _holds_what_it_declares(spec: TrainerSpec, peft: bool, trainings: Any, **values: Any) -> int:
    import torch

    run = trainings.whole(spec, peft, **values)
    held, declared = trainings.held[run.name], spec.copies_of(parse(run.plan()["params"])).frozen
    assert len(held.asked) == declared
    assert held.copies == 1 + declared
    for model, before in held.asked:
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    return declared
