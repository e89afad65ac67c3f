"""The loss that makes its own gradient is PyTorch's, in value and in gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from engine.worker.cross_entropy import token_losses


def scores(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    logits = (torch.randn(7, 11, generator=random) * 4).to(dtype)
    return logits, torch.randint(0, 11, (7,), generator=random)


def gradient(losses: torch.Tensor, logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    (losses * weights).sum().backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 8e-3)])
def test_value_and_gradient_are_those_of_pytorch(dtype: torch.dtype, tolerance: float) -> None:
    logits, targets = scores(dtype)
    weights = torch.tensor([1.0, 0.0, -2.0, 0.5, 3.0, 1e-3, 7.0])  # a pair's answers pull in opposite directions
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found, expected = token_losses(ours, targets), cross_entropy(theirs.float(), targets, reduction="none")
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        gradient(found, ours, weights), gradient(expected, theirs, weights), rtol=tolerance, atol=tolerance * 1e-2
    )


def test_the_scores_stay_as_they_were() -> None:
    logits, targets = scores()
    before = logits.clone()
    token_losses(logits.requires_grad_(), targets)
    assert torch.equal(logits.detach(), before)


def test_scores_of_any_size_give_a_finite_loss() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-3e38, 0.0, 3e38]])
    found = token_losses(logits, torch.tensor([0, 2]))
    assert found.tolist() == [0.0, 0.0]


def test_no_gradient_is_made_where_none_is_wanted() -> None:
    logits, targets = scores()
    assert token_losses(logits, targets).grad_fn is None
    with torch.no_grad():
        assert token_losses(logits.requires_grad_(), targets).grad_fn is None


def test_an_impossible_score_is_told_as_no_number() -> None:
    logits, targets = scores()
    logits[3, 4] = float("nan")
    found = token_losses(logits, targets)
    assert found[3].isnan() and found[[0, 1, 2, 4, 5, 6]].isfinite().all()
