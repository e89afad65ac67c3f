"""Proximal policy optimisation: the model answers prompts, the answers are scored, and likelier ones become better ones.

Schulman et al. 2017, as Ziegler et al. 2019 and Ouyang et al. 2022 use it for language models. One step of the trainer is
one update: a batch of prompts is answered once and learned from in several passes over mini-batches. The policy carries
a linear value head that is never saved with it; its reference is the adapter's base, or a frozen copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from engine.worker.flat import FlatTrainer, Scored
from engine.worker.judge import Judge, Scores
from engine.worker.policy_gradient import (
    KLControl,
    advantages,
    explained_variance,
    policy_losses,
    token_rewards,
    value_losses,
    value_scale,
    whiten,
)
from engine.worker.rollout import Answers, Sampling, ask, sample

_BESIDE = "value_head.pt"
# The head starts at zero and its step is such that a value can move by about this much at once, whatever the model's width.
_HEAD_PACE = 0.1


@dataclass(frozen=True)
class Experience:
    """Answers with everything that is learned from them; all tensors (B, T), zero outside `mask`."""

    answers: Answers
    mask: torch.Tensor
    logps: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    possible: list[torch.Tensor | None]


class PolicyTrainer(FlatTrainer):
    """See the module. `params` carries the rl_… settings; `together` says whether the model keeps documents apart."""

    def __init__(self, *args: Any, params: Any, judge: Judge, reference: Any, together: bool, **kwargs: Any) -> None:
        super().__init__(*args, collate=lambda rows: {"prompts": list(rows)}, **kwargs)
        assert self.model is not None
        self.params, self.judge, self.reference = params, judge, reference
        self.forward_rows = (params.batch_size or 1) if together else 1
        self.sampling = Sampling(params.rl_max_new_tokens, params.rl_temperature, params.rl_top_k, params.rl_top_p)
        self.kl = KLControl(params.rl_kl_coef, params.rl_kl_target)
        self.value_scale = 1.0
        _without_dropout(self.model)
        bare: Any = self.model
        if hasattr(bare, "get_base_model"):
            bare = bare.get_base_model()
        # the width of the states that reach the model's head, which a few architectures project down before it
        self.head = torch.nn.Linear(bare.get_output_embeddings().in_features, 1, device=self.args.device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    # ---- what transformers' Trainer asks

    def items(self, inputs: dict[str, Any]) -> int:
        return len(inputs["prompts"])

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # counted from token tensors, which a batch of prompts is not

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is not None:
            return self.optimizer  # type: ignore[return-value]
        made = super().create_optimizer(model)
        pace = max(self.args.learning_rate, _HEAD_PACE / self.head.in_features)
        made.add_param_group({"params": list(self.head.parameters()), "lr": pace, "weight_decay": 0.0})
        return made

    def _clip_grad_norm(self, model: Any) -> Any:
        """Policy and value head each by themselves: a head that has much to learn would leave the policy nothing."""
        norm = super()._clip_grad_norm(model)  # which takes fp16's loss scale out of all gradients, and may do so only once
        torch.nn.utils.clip_grad_norm_(self.head.parameters(), self.args.max_grad_norm)
        return norm

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        beside = {"head": self.head.state_dict(), "kl_coef": self.kl.coefficient, "value_scale": self.value_scale}
        torch.save(beside, os.path.join(output_dir, _BESIDE))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            beside = torch.load(os.path.join(checkpoint, _BESIDE), map_location="cpu", weights_only=True)
            self.head.load_state_dict(beside["head"])
            self.kl.coefficient = beside["kl_coef"]
            self.value_scale = beside["value_scale"]

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Answer, score and learn; the last mini-batch's gradients are left for the Trainer's own step."""
        model.train()
        answers, scores = self._answered(inputs["prompts"])
        experience, told = self._experience(answers, scores)
        told |= self._learn(model, experience)
        self.kl.heed(told["kl"])
        seen = sum(len(ids) for ids in answers.ids)
        loss = torch.tensor(told.pop("loss"), device=self.args.device)
        self._tally.add(Scored(loss, 1, {name: torch.tensor(value) for name, value in told.items()}), seen)
        return loss

    def _averages(self, batches: Iterable[dict[str, Any]], prefix: str) -> dict[str, float]:
        """Means over the held-out prompts, answered with the same random numbers each time."""
        total, scored = dict[str, float](), list[torch.Tensor]()
        with torch.random.fork_rng():
            torch.manual_seed(self.args.seed)
            for batch in batches:
                if self._stop_asked():
                    return {}
                answers, scores = self._answered(batch["prompts"])
                told = _about(answers, scores) | {"kl": float(self._log_ratios(answers).sum(1).mean())}
                scored.append(scores.total)
                for name, value in told.items():
                    total[name] = total.get(name, 0.0) + value * len(answers.rows)
        if not scored:
            return {}
        every = torch.cat(scored)
        spread = {f"{prefix}_reward_std": float(every.std(unbiased=False))}
        return {f"{prefix}_{name}": value / len(every) for name, value in total.items()} | spread

    # ---- answering

    def _answered(self, prompts: Sequence[dict[str, Any]]) -> tuple[Answers, Scores]:
        with self.accelerator.autocast():
            answers = sample(self.model, self.processing_class, prompts, self.sampling, self.params.batch_size or 1, self._beat)
        return answers, self.judge(answers.rows, answers.texts)

    def _experience(self, answers: Answers, scores: Scores) -> tuple[Experience, dict[str, float]]:
        p, device = self.params, self.args.device
        mask = answers.mask.to(device)
        logps, entropy, values, possible = self._asked(answers, self.head)
        log_ratio = logps - self._asked_of_reference(answers, possible)
        # an answer that the limit of length has cut off is worth less
        worth = scores.total - p.rl_missing_eos_penalty * (~answers.finished)
        rewards = token_rewards(worth.to(device), log_ratio, mask, self.kl.coefficient)
        if p.rl_whiten_rewards:
            rewards = whiten(rewards, mask, keep_mean=True)
        values = values * self.value_scale
        advantage, returns = advantages(rewards, values, mask, p.rl_gamma, p.rl_gae_lambda)
        self._count_values_in(value_scale(returns, mask))
        told = _about(answers, scores) | {
            "reward_std": float(scores.total.std(unbiased=False)),
            "kl": float(log_ratio.sum(1).mean()),
            "entropy": float(entropy[mask].mean()),
            "explained_variance": explained_variance(values, returns, mask),
        }
        if p.rl_kl_target is not None:
            told["kl_coef"] = self.kl.coefficient
        if p.rl_whiten_advantages:
            advantage = whiten(advantage, mask)
        return Experience(answers, mask, logps, values, advantage, returns, possible), told

    def _log_ratios(self, answers: Answers) -> torch.Tensor:
        """log policy − log reference of each token (B, T); their sum over an answer estimates the KL divergence."""
        logps, _, _, possible = self._asked(answers, None)
        return logps - self._asked_of_reference(answers, possible)

    def _asked_of_reference(self, answers: Answers, possible: list[torch.Tensor | None]) -> torch.Tensor:
        with self._as_reference() as reference:
            return self._asked(answers, None, reference, possible)[0]

    @torch.no_grad()
    def _asked(
        self, answers: Answers, head: Any, model: Any = None, possible: list[torch.Tensor | None] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[torch.Tensor | None]]:
        """Log-probabilities, entropies and values (B, T; both 0 without a head), and the possible tokens of each answer."""
        found, mask = [torch.zeros(answers.mask.shape, device=self.args.device) for _ in range(3)], answers.mask
        kept: list[torch.Tensor | None] = []
        for members in _chunks(range(len(answers.rows)), self.forward_rows):
            self._beat()
            row = self._prepare_inputs(answers.flat(members))
            known = _joined(possible, members)
            with self.accelerator.autocast():
                asked = self.model if model is None else model
                one = ask(asked, row, self.sampling, head, known, with_entropy=head is not None)
            inside = mask[list(members)].nonzero().to(self.args.device)
            places = inside[:, 0] + members[0], inside[:, 1]
            for grid, values in zip(found, (one.logps, one.entropy, one.values), strict=True):
                if values is not None:
                    grid[places] = values.float()
            lengths = answers.lengths[list(members)].tolist()
            kept += [None] * len(lengths) if one.possible is None else one.possible.split(lengths)
        return found[0], found[1], found[2], kept

    @contextmanager
    def _as_reference(self) -> Iterator[Any]:
        if self.reference is not None:
            yield self.reference
            return
        assert self.model is not None
        with self.model.disable_adapter():  # type: ignore[operator]  # peft's
            yield self.model

    # ---- learning

    def _learn(self, model: Any, experience: Experience) -> dict[str, float]:
        """Several passes over mini-batches; returns means over them."""
        p, told = self.params, list[torch.Tensor]()
        optimizer: Any = self.optimizer
        count = len(experience.answers.rows)
        batches = [
            order[start : start + p.rl_mini_batch_size]
            for order in (torch.randperm(count).tolist() for _ in range(p.rl_num_ppo_epochs))
            for start in range(0, count, p.rl_mini_batch_size)
        ]
        for number, members in enumerate(batches):
            optimizer.zero_grad()
            told.append(self._backward(experience, members))
            if number < len(batches) - 1:
                if self.args.max_grad_norm > 0:
                    self._clip_grad_norm(model)
                optimizer.step()
        means = torch.stack(told).mean(0).tolist()
        names = ("loss", "policy_loss", "value_loss", "clip_fraction", "approx_kl")
        return {**dict(zip(names, means, strict=False)), "ppo/first_ratio": float(told[0][-1])}

    def _backward(self, experience: Experience, members: list[int]) -> torch.Tensor:
        """Gradients of one mini-batch's mean over its tokens; returns what is charted of it, in the order of `_learn`."""
        p, tokens = self.params, int(experience.mask[members].sum())
        told = torch.zeros(6, device=self.args.device)
        for some in _chunks(members, self.forward_rows):
            self._beat()
            mask = experience.mask[some]
            row = self._prepare_inputs(experience.answers.flat(some))
            with self.accelerator.autocast():
                known = _joined(experience.possible, some)
                now = ask(self.model, row, self.sampling, self.head, known, with_entropy=p.rl_entropy_coef > 0)
            assert now.values is not None
            log_ratio = now.logps - experience.logps[some][mask]
            policy = policy_losses(log_ratio, experience.advantages[some][mask], p.rl_clip_range).sum() / tokens
            before, returns = experience.values[some][mask], experience.returns[some][mask]
            value = self._value_losses(now.values, before, returns).sum() / tokens
            loss = policy + p.rl_value_loss_coef * value
            if now.entropy is not None:
                loss = loss - p.rl_entropy_coef * now.entropy.sum() / tokens
            self.accelerator.backward(loss)
            with torch.no_grad():
                ratio = log_ratio.exp()
                clipped = ((ratio - 1).abs() > p.rl_clip_range).sum() / tokens
                moved = (ratio - 1 - log_ratio).sum() / tokens  # Schulman's estimate of the KL divergence (2020), never below 0
                told += torch.stack([loss, policy, value, clipped, moved, ratio.sum() / tokens])
        return told

    def _value_losses(self, values: torch.Tensor, before: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        """`values` are as the head gives them, in units of `value_scale`; the others are plain."""
        unit, clip = self.value_scale, self.params.rl_value_clip_range
        return value_losses(values, before / unit, returns / unit, None if clip is None else clip / unit)

    @torch.no_grad()
    def _count_values_in(self, unit: float) -> None:
        """Change the unit and leave every value as it was (van Hasselt et al. 2016, PopArt, equation 9)."""
        for weights in self.head.parameters():
            weights.mul_(self.value_scale / unit)
        self.value_scale = unit

    def _beat(self) -> None:
        if self.reporter is not None:
            self.reporter.beat()


def _about(answers: Answers, scores: Scores) -> dict[str, float]:
    """What answers were like and what they scored."""
    return {
        "reward": float(scores.total.mean()),
        **{f"rewards/{name}": sum(values) / len(values) for name, values in scores.parts.items()},
        "answer_length": float(answers.lengths.float().mean()),
        "finished": float(answers.finished.float().mean()),
    }


def _chunks(members: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (members[start : start + size] for start in range(0, len(members), size))


def _joined(possible: list[torch.Tensor | None] | None, members: Sequence[int]) -> torch.Tensor | None:
    found = [one for member in members if possible is not None and (one := possible[member]) is not None]
    return torch.cat(found) if found else None


def _without_dropout(model: Any) -> None:
    """With units left out at random, what was sampled and what is trained would be two different policies."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]
