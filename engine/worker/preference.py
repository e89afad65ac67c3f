"""Losses on pairs of answers, as functions of their log-probabilities. Every tensor has shape (pairs,).

A log-probability here is the sum over an answer's tokens, its end-of-turn token included and its prompt never.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn.functional import logsigmoid, relu, sigmoid

Losses = tuple[torch.Tensor, dict[str, torch.Tensor]]
Objective = Callable[["Pairs"], Losses]


class Pairs(NamedTuple):
    """A batch of pairs: log-probabilities of both answers, their lengths in tokens, and the reference's log-probabilities."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    chosen_tokens: torch.Tensor
    rejected_tokens: torch.Tensor
    reference_chosen: torch.Tensor
    reference_rejected: torch.Tensor


def dpo(pairs: Pairs, *, kind: str, beta: float, label_smoothing: float, sft_weight: float) -> Losses:
    """Direct preference optimisation (Rafailov et al. 2023, equation 7) and its relatives, by name.

    The rewards that are charted are the implicit ones, β·log(π/π_ref). `sft_weight` adds the chosen answer's mean
    negative log-likelihood (Pang et al. 2024, equation 1), which keeps it from becoming unlikely along with the other.
    """
    up, down = pairs.chosen - pairs.reference_chosen, pairs.rejected - pairs.reference_rejected
    losses = LOSSES[kind](up, down, pairs, beta, label_smoothing)
    nll = -pairs.chosen / pairs.chosen_tokens
    if sft_weight:
        losses = losses + sft_weight * nll
    return losses, {**rewards(beta * up, beta * down), **_log_probs(pairs), "nll": nll}


def orpo(pairs: Pairs, *, weight: float) -> Losses:
    """Odds ratio preference optimisation (Hong et al. 2024, equations 6 and 7): NLL of the chosen answer, plus `weight`
    times −log σ(log odds(chosen) − log odds(rejected)), with length-averaged log-probabilities.
    """
    up, down = pairs.chosen / pairs.chosen_tokens, pairs.rejected / pairs.rejected_tokens
    log_odds = (up - down) - (_log1mexp(up) - _log1mexp(down))
    ratio = -logsigmoid(log_odds)
    # without a weight there is no reward, and the better answer may win all the same
    shown = {**rewards(weight * up, weight * down), "rewards/accuracies": (up > down).float()}
    return -up + weight * ratio, {**shown, **_log_probs(pairs), "nll": -up, "odds_ratio": ratio, "log_odds": log_odds}


def bradley_terry(chosen: torch.Tensor, rejected: torch.Tensor, margin: torch.Tensor, *, centre: float) -> Losses:
    """−log σ(r_chosen − r_rejected − margin) (Touvron et al. 2023, equation 2); `centre` keeps scores around zero
    (Eisenstein et al. 2023), since the loss knows differences only.
    """
    losses = -logsigmoid(chosen - rejected - margin)
    if centre:
        losses = losses + centre * (chosen + rejected) ** 2
    return losses, rewards(chosen, rejected)


def rewards(chosen: torch.Tensor, rejected: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the charts show of the scores of both answers."""
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).float(),
    }


def _log_probs(pairs: Pairs) -> dict[str, torch.Tensor]:
    return {"logps/chosen": pairs.chosen, "logps/rejected": pairs.rejected}


def _log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 − exp(x)) for x < 0, exact at both ends (Mächler 2012)."""
    x = x.clamp(max=-1e-6)  # a probability of one has infinite odds
    return torch.where(x > -0.6931, torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))


_Kind = Callable[[torch.Tensor, torch.Tensor, Pairs, float, float], torch.Tensor]


def _sigmoid(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """With label smoothing: some labels are taken to be swapped (Mitchell 2023, conservative DPO)."""
    margin = beta * (up - down)
    return -(1 - smooth) * logsigmoid(margin) - smooth * logsigmoid(-margin)


def _robust(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """Unbiased for labels that are swapped with probability `smooth` (Chowdhury et al. 2024, equation 12)."""
    margin = beta * (up - down)
    return (-(1 - smooth) * logsigmoid(margin) + smooth * logsigmoid(-margin)) / (1 - 2 * smooth)


def _hinge(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """Zhao et al. 2023 (SLiC), with the log-ratio as the score."""
    return relu(1 - beta * (up - down))


def _ipo(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """Azar et al. 2023, equation 17, with length-averaged log-ratios; β is their τ."""
    return (up / pairs.chosen_tokens - down / pairs.rejected_tokens - 1 / (2 * beta)) ** 2


def _sigmoid_norm(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """The sigmoid loss on length-averaged log-ratios, so that long answers weigh no more than short ones."""
    return _sigmoid(up / pairs.chosen_tokens, down / pairs.rejected_tokens, pairs, beta, smooth)


def _exo_pair(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """Ji et al. 2024, equation 16: reverse KL between the pair's distributions; needs a little smoothing."""
    smooth = max(smooth, 1e-3)
    margin = beta * (up - down)
    wanted, other = torch.log(margin.new_tensor(1 - smooth)), torch.log(margin.new_tensor(smooth))
    return sigmoid(margin) * (logsigmoid(margin) - wanted) + sigmoid(-margin) * (logsigmoid(-margin) - other)


def _nca_pair(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """Chen et al. 2024, equation 11 for two answers: raises the chosen one itself and not only its lead."""
    return -logsigmoid(beta * up) - 0.5 * logsigmoid(-beta * up) - 0.5 * logsigmoid(-beta * down)


def _sppo_hard(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """Wu et al. 2024, equation 4.7, with wins that are certain."""
    return (up - 0.5 / beta) ** 2 + (down + 0.5 / beta) ** 2


def _apo_zero(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """D'Oosterlinck et al. 2024: chosen answers up, rejected ones down; for data better than the model."""
    return 1 - sigmoid(beta * up) + sigmoid(beta * down)


def _apo_down(up: torch.Tensor, down: torch.Tensor, pairs: Pairs, beta: float, smooth: float) -> torch.Tensor:
    """D'Oosterlinck et al. 2024: both down, rejected ones more; for a model better than the data."""
    return sigmoid(beta * up) + 1 - sigmoid(beta * (up - down))


LOSSES: dict[str, _Kind] = {
    "sigmoid": _sigmoid,
    "robust": _robust,
    "hinge": _hinge,
    "ipo": _ipo,
    "sigmoid_norm": _sigmoid_norm,
    "exo_pair": _exo_pair,
    "nca_pair": _nca_pair,
    "sppo_hard": _sppo_hard,
    "apo_zero": _apo_zero,
    "apo_down": _apo_down,
}
