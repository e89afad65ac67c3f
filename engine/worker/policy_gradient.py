"""The arithmetic of proximal policy optimisation, on tensors and nothing else.

Shapes: B answers, T tokens of the longest of them. `mask` (B, T) is true on an answer's tokens, which come first in its row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# How fast the adaptive controller moves, and how much of an error it heeds. Ziegler et al. 2019 (section 2.2) move by a
# tenth of it, over thousands of steps; a run here has tens of them, in which so slow a hand would come too late.
_PACE = 0.5
_HEEDED = 0.2
# Scores of rules and reward models lie within this, mostly.
_USUAL_RETURN = 1.0


def whiten(values: torch.Tensor, mask: torch.Tensor, *, keep_mean: bool = False) -> torch.Tensor:
    """Scale the masked values to a variance of one, and move them to a mean of zero unless `keep_mean`; 0 elsewhere."""
    inside = values[mask]
    mean, spread = inside.mean(), inside.var(unbiased=False)
    scaled = (values - mean) * torch.rsqrt(spread + 1e-8)
    return torch.where(mask, scaled + mean if keep_mean else scaled, 0.0)


def token_rewards(scores: torch.Tensor, log_ratio: torch.Tensor, mask: torch.Tensor, kl_coef: float) -> torch.Tensor:
    """What each token earns (B, T): minus its part of the KL divergence, and the answer's score (B,) at its last token.

    Ouyang et al. 2022 (equation 2). `log_ratio` is log policy − log reference of the tokens that were sampled.
    """
    rewards = torch.where(mask, -kl_coef * log_ratio, 0.0)
    last = mask.sum(1) - 1
    rewards[torch.arange(len(scores), device=rewards.device), last] += scores
    return rewards


def advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimates and the returns that the values should have been, both (B, T).

    Schulman et al. 2016 (equation 16), backwards: A_t = δ_t + γλ A_{t+1} with δ_t = r_t + γ V_{t+1} − V_t. Nothing is worth
    anything after an answer's last token.
    """
    found = torch.zeros_like(rewards)
    later = torch.zeros_like(rewards[:, 0])
    after = torch.zeros_like(later)
    for t in reversed(range(rewards.shape[1])):
        inside = mask[:, t]
        delta = rewards[:, t] + gamma * after - values[:, t]
        later = torch.where(inside, delta + gamma * lam * later, 0.0)
        after = torch.where(inside, values[:, t], 0.0)
        found[:, t] = later
    return found, torch.where(mask, found + values, 0.0)


def policy_losses(log_ratio: torch.Tensor, advantage: torch.Tensor, clip: float) -> torch.Tensor:
    """The clipped surrogate for each token (Schulman et al. 2017, equation 7), with its sign turned to be minimised.

    `log_ratio` is log policy now − log policy when the token was sampled.
    """
    ratio = log_ratio.exp()
    return torch.max(-advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip))


def value_losses(values: torch.Tensor, before: torch.Tensor, returns: torch.Tensor, clip: float | None) -> torch.Tensor:
    """Half the squared error for each token; with a range, the worse of it and that of a value held near what it was."""
    losses = (values - returns).square()
    if clip is not None:
        held = before + (values - before).clamp(-clip, clip)
        losses = torch.max(losses, (held - returns).square())
    return 0.5 * losses


def value_scale(returns: torch.Tensor, mask: torch.Tensor) -> float:
    """What values are counted in: 1 for returns of the usual size, their root mean square in units of it above.

    The value head reads the policy's own states. Returns of −50 an answer, from a heavy KL penalty or from a judge with large
    scores, would give it errors whose gradient leaves nothing of the policy: measured, a penalty of 2 *raised* the
    divergence to 140 nats. Counted in this unit, the errors are of the usual size again.
    """
    return max(1.0, float(returns[mask].square().mean().sqrt()) / _USUAL_RETURN)


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """Share of the returns' variance that the values foresaw: 1 is all of it, 0 or less is none."""
    spread = returns[mask].var(unbiased=False)
    return float(1 - (returns - values)[mask].var(unbiased=False) / spread.clamp(min=1e-8))


@dataclass
class KLControl:
    """The coefficient of the KL penalty: fixed, or moved so that the divergence comes near `target`."""

    coefficient: float
    target: float | None = None

    def heed(self, kl: float) -> None:
        """Ziegler et al. 2019 (section 2.2): more weight when the answers have gone too far, less when not far enough."""
        if self.target is not None:
            error = max(-_HEEDED, min(_HEEDED, kl / self.target - 1))
            self.coefficient *= 1 + _PACE * error
