"""Losses on pairs of answers, against what a hand works out of fixed log-probabilities."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from engine.worker.preference import LOSSES, Pairs, bradley_terry, dpo, orpo

BETA = 0.2
# log-probabilities of two pairs: chosen, rejected, their lengths, and the reference's
PAIRS = Pairs(
    torch.tensor([-12.0, -30.0]),
    torch.tensor([-15.0, -22.0]),
    torch.tensor([4.0, 10.0]),
    torch.tensor([6.0, 8.0]),
    torch.tensor([-14.0, -28.0]),
    torch.tensor([-14.5, -25.0]),
)
# how far each answer has moved from the reference
UP, DOWN = (2.0, -2.0), (-0.5, 3.0)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def log_sigmoid(x: float) -> float:
    return math.log(sigmoid(x))


def by_hand(kind: str, up: float, down: float, tokens: tuple[float, float], smooth: float) -> float:
    margin = BETA * (up - down)
    mean = BETA * (up / tokens[0] - down / tokens[1])
    floor = max(smooth, 1e-3)
    return {
        "sigmoid": -(1 - smooth) * log_sigmoid(margin) - smooth * log_sigmoid(-margin),
        "robust": (-(1 - smooth) * log_sigmoid(margin) + smooth * log_sigmoid(-margin)) / (1 - 2 * smooth),
        "hinge": max(0.0, 1 - margin),
        "ipo": (up / tokens[0] - down / tokens[1] - 1 / (2 * BETA)) ** 2,
        "sigmoid_norm": -(1 - smooth) * log_sigmoid(mean) - smooth * log_sigmoid(-mean),
        "exo_pair": sigmoid(margin) * (log_sigmoid(margin) - math.log(1 - floor))
        + sigmoid(-margin) * (log_sigmoid(-margin) - math.log(floor)),
        "nca_pair": -log_sigmoid(BETA * up) - 0.5 * log_sigmoid(-BETA * up) - 0.5 * log_sigmoid(-BETA * down),
        "sppo_hard": (up - 0.5 / BETA) ** 2 + (down + 0.5 / BETA) ** 2,
        "apo_zero": 1 - sigmoid(BETA * up) + sigmoid(BETA * down),
        "apo_down": sigmoid(BETA * up) + 1 - sigmoid(margin),
    }[kind]


@pytest.mark.parametrize("smooth", [0.0, 0.1])
@pytest.mark.parametrize("kind", LOSSES)
def test_every_dpo_loss_is_what_its_paper_says(kind: str, smooth: float) -> None:
    losses, _ = dpo(PAIRS, kind=kind, beta=BETA, label_smoothing=smooth, sft_weight=0.0)
    lengths = [(4.0, 6.0), (10.0, 8.0)]
    expected = [by_hand(kind, up, down, tokens, smooth) for up, down, tokens in zip(UP, DOWN, lengths, strict=True)]
    assert losses.tolist() == pytest.approx(expected, rel=1e-4)


def test_the_form_offers_every_loss_there_is() -> None:
    from typing import get_args

    from engine.trainers.dpo import DPOParams

    assert set(get_args(DPOParams.model_fields["loss"].annotation)) == set(LOSSES)


def test_what_dpo_charts() -> None:
    _, metrics = dpo(PAIRS, kind="sigmoid", beta=BETA, label_smoothing=0.0, sft_weight=0.0)
    assert metrics["rewards/chosen"].tolist() == pytest.approx([BETA * 2.0, BETA * -2.0])
    assert metrics["rewards/rejected"].tolist() == pytest.approx([BETA * -0.5, BETA * 3.0])
    assert metrics["rewards/margins"].tolist() == pytest.approx([BETA * 2.5, BETA * -5.0])
    assert metrics["rewards/accuracies"].tolist() == [1.0, 0.0]
    assert metrics["logps/chosen"].tolist() == [-12.0, -30.0]


def test_learning_the_better_answer_can_be_added_to_dpo() -> None:
    plain, _ = dpo(PAIRS, kind="sigmoid", beta=BETA, label_smoothing=0.0, sft_weight=0.0)
    both, _ = dpo(PAIRS, kind="sigmoid", beta=BETA, label_smoothing=0.0, sft_weight=0.5)
    assert (both - plain).tolist() == pytest.approx([0.5 * 12 / 4, 0.5 * 30 / 10])


def test_a_model_that_is_its_reference_loses_the_logarithm_of_two() -> None:
    same = PAIRS._replace(reference_chosen=PAIRS.chosen, reference_rejected=PAIRS.rejected)
    losses, metrics = dpo(same, kind="sigmoid", beta=BETA, label_smoothing=0.0, sft_weight=0.0)
    assert losses.tolist() == pytest.approx([math.log(2)] * 2)
    assert metrics["rewards/margins"].tolist() == [0.0, 0.0]


def test_orpo_is_the_mean_nll_and_the_odds_ratio() -> None:
    """Hong et al. 2024: odds(y) = p / (1 − p) with p = exp of the mean log-probability."""
    losses, metrics = orpo(PAIRS, weight=0.3)
    for place, (chosen, rejected, n, m) in enumerate([(-12.0, -15.0, 4, 6), (-30.0, -22.0, 10, 8)]):
        better, worse = math.exp(chosen / n), math.exp(rejected / m)
        log_odds = math.log(better / (1 - better)) - math.log(worse / (1 - worse))
        assert float(metrics["log_odds"][place]) == pytest.approx(log_odds, rel=1e-5)
        assert float(losses[place]) == pytest.approx(-chosen / n + 0.3 * -log_sigmoid(log_odds), rel=1e-5)
        assert float(metrics["nll"][place]) == pytest.approx(-chosen / n)


def test_orpo_without_a_weight_still_counts_which_answer_wins() -> None:
    won = orpo(PAIRS, weight=0.3)[1]["rewards/accuracies"].tolist()
    assert won == [0.0, 0.0]  # by the mean of a token
    assert orpo(PAIRS, weight=0.0)[1]["rewards/accuracies"].tolist() == won
    turned = Pairs(PAIRS.rejected, PAIRS.chosen, PAIRS.rejected_tokens, PAIRS.chosen_tokens, *PAIRS[4:])
    assert orpo(turned, weight=0.0)[1]["rewards/accuracies"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("chosen", "rejected"), [(-1e-9, -40.0), (0.0, 0.0), (-3000.0, -1e-9)])
def test_orpo_is_finite_where_an_answer_is_certain_or_impossible(chosen: float, rejected: float) -> None:
    sides = torch.tensor([chosen], requires_grad=True), torch.tensor([rejected], requires_grad=True)
    one = torch.ones(1)
    losses, _ = orpo(Pairs(*sides, one, one, one, one), weight=1.0)
    losses.sum().backward()
    assert bool(torch.isfinite(losses).all())
    assert all(side.grad is not None and bool(torch.isfinite(side.grad).all()) for side in sides)


def test_a_reward_model_loses_by_the_difference_less_the_margin() -> None:
    chosen, rejected, margin = torch.tensor([1.5, -0.5]), torch.tensor([0.5, 0.5]), torch.tensor([0.0, 2.0])
    losses, metrics = bradley_terry(chosen, rejected, margin, centre=0.0)
    assert losses.tolist() == pytest.approx([-log_sigmoid(1.0), -log_sigmoid(-3.0)])
    assert metrics["rewards/accuracies"].tolist() == [1.0, 0.0]
    assert metrics["rewards/margins"].tolist() == [1.0, -1.0]
    centred, _ = bradley_terry(chosen, rejected, margin, centre=0.1)
    assert (centred - losses).tolist() == pytest.approx([0.1 * 4.0, 0.0])


def finite(values: Any) -> bool:
    return bool(torch.isfinite(values).all())


@pytest.mark.parametrize("kind", LOSSES)
def test_no_loss_breaks_where_answers_have_moved_far(kind: str) -> None:
    far = Pairs(*(torch.tensor([v, -v]) for v in (800.0, -800.0)), *(torch.ones(2),) * 4)
    losses, _ = dpo(far, kind=kind, beta=1.0, label_smoothing=0.0, sft_weight=0.0)
    assert finite(losses)
