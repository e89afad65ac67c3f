"""Training on answers with a thumbs up or down: rated rows, dealt so that every step sees both kinds, and KTO's loss.

A row is one answer. Beside it goes the same prompt with another row's answer: how far the model has drifted from the
reference on those is the point that an answer's own gain is measured against (Ethayarajh et al. 2024, section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import sigmoid
from torch.utils.data import Sampler

from engine.data.checks import one_sided
from engine.worker.flat import FlatTrainer, Scored, flatten
from engine.worker.pairs import answer_log_probs
from engine.worker.shares import FILLER
from engine.worker.token_rows import TokenRows
from engine.worker.tokens import IGNORED

# (gains, liked, drift) -> losses; see `kto`.
Objective = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def kto(
    gains: torch.Tensor, liked: torch.Tensor, drift: torch.Tensor, *, against_drift: bool, beta: float, up: float, down: float
) -> torch.Tensor:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024, equation 8), one loss an answer, shape (answers,).

    `gains` are log π(y|x) − log π_ref(y|x); a liked answer should gain more than the `drift` (their z₀), a disliked one
    less; `up` and `down` are the weights of the two kinds (λ). Without `against_drift` gains are measured against zero: the
    loss that is called apo_zero_unpaired (D'Oosterlinck et al. 2024, equation 7, for answers without a partner).
    """
    point = drift if against_drift else torch.zeros_like(drift)
    good = up * (1 - sigmoid(beta * (gains - point)))
    bad = down * (1 - sigmoid(beta * (point - gains)))
    return torch.where(liked, good, bad)


def dealt(liked: np.ndarray, batch: int, seed: int) -> np.ndarray:
    """Row numbers in an order in which every `batch` of them has its share of both kinds; the same for the same seed.

    A lone row in a last batch is joined by one of the other kind, which is then seen twice.

    Raises:
        DataError: all answers are of one kind.
    """
    draw = np.random.default_rng(seed)
    kinds = [draw.permutation(np.flatnonzero(liked)), draw.permutation(np.flatnonzero(~liked))]
    if not all(len(rows) for rows in kinds):
        raise one_sided(bool(len(kinds[0])))
    few, many = sorted(kinds, key=len)
    total, order = len(liked), list[np.ndarray]()
    for start in range(0, total, batch):
        end = min(start + batch, total)
        first, last = start * len(few) // total, end * len(few) // total
        order.append(draw.permutation(np.concatenate([few[first:last], many[start - first : end - last]])))
    if len(order[-1]) == 1 < batch:
        lone = order[-1][0]
        order.append((few if liked[lone] != liked[few[0]] else many)[:1])
    return np.concatenate(order)


class FeedbackRows(Sequence[dict[str, Any]]):
    """Rated answers in the order of `dealt`, each beside its prompt with another answer of the same batch.

    A row is `own` and, unless `alone` or the only one, `other` (both as TokenRows gives them), `liked`, and once known
    `reference`: the reference's log-probabilities of the two.
    """

    def __init__(self, rows: TokenRows, batch: int, max_length: int, *, seed: int, alone: bool, mixed: bool = True) -> None:
        """`mixed` rows must be of both kinds; those that are only measured need not be."""
        self.rows, self.batch, self.max_length = rows, batch, max_length
        self.alone = alone or len(rows) < 2  # nobody else's answer is there: its own would say that all it gained is drift
        liked = rows.marks > 0
        self.order = dealt(liked, batch, seed) if mixed or 0 < liked.sum() < len(liked) else np.arange(len(rows))
        self.liked = liked[self.order]
        self.reference: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: Any) -> Any:
        place = range(len(self))[index]
        made = {"own": self._row(place), "liked": bool(self.liked[place])}
        if not self.alone:
            made["other"] = self._crossed(place, self._partner(place))
        if self.reference is not None:
            made["reference"] = self.reference[place]
        return made

    def asked(self, places: Sequence[int]) -> dict[str, Any]:
        """Each row's texts one after the other, flattened, for the reference."""
        rows = (self[place] for place in places)
        return flatten([row[name] for row in rows for name in ("own", "other") if name in row])

    def _row(self, place: int) -> dict[str, Any]:
        return self.rows[int(self.order[place])]

    def _partner(self, place: int) -> int:
        """The next place of the batch whose prompt is another one; a batch of one row looks beyond itself."""
        first = place - place % self.batch
        size = min(self.batch, len(self) - first)
        others = [first + (place - first + step) % size for step in range(1, size)] or [(place + 1) % len(self)]
        prompt = _prompt(self._row(place))
        return next((o for o in others if not np.array_equal(_prompt(self._row(o)), prompt)), others[0])

    def _crossed(self, place: int, partner: int) -> dict[str, Any]:
        """One row's prompt with another row's answer, cut at the longest length."""
        prompt, answer = _prompt(self._row(place)), self._row(partner)
        start = _answer_start(answer)
        ids = np.concatenate([prompt, answer["input_ids"][start:]])[: self.max_length]
        labels = np.concatenate([np.full(len(prompt), IGNORED, np.int32), answer["labels"][start:]])[: self.max_length]
        return {"input_ids": ids, "labels": labels, "documents": [len(ids)]}


def _answer_start(row: dict[str, Any]) -> int:
    return int(np.argmax(row["labels"] != IGNORED))


def _prompt(row: dict[str, Any]) -> np.ndarray:
    return row["input_ids"][: _answer_start(row)]


def flatten_feedback(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`flatten` of the answers; `other` is the same of the crossed ones; `liked` (rows,) and `reference` (rows, 1 or 2)."""
    made = flatten([row["own"] for row in rows])
    if "other" in rows[0]:
        made["other"] = flatten([row["other"] for row in rows])
    made["liked"] = torch.tensor([row["liked"] for row in rows])
    made["reference"] = torch.from_numpy(np.stack([row["reference"] for row in rows]))
    return made


class WholeBatches(Sampler[int]):
    """Places batch by batch, the batches in a new order every pass: what belongs into one batch stays together."""

    def __init__(self, places: int, batch: int, seed: int) -> None:
        self.places, self.batch, self.seed, self.epoch = places, batch, seed, 0

    def __len__(self) -> int:
        return self.places

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        full = self.places // self.batch
        for number in np.random.default_rng((self.seed, self.epoch)).permutation(full):
            yield from range(int(number) * self.batch, (int(number) + 1) * self.batch)
        yield from range(full * self.batch, self.places)  # a batch that is not full would shift all that follow


class FeedbackTrainer(FlatTrainer):
    """The items are answers. `objective` says what an answer costs; `beta` turns its gain into the reward that is charted."""

    def __init__(self, *args: Any, objective: Objective, beta: float, together: bool, **kwargs: Any) -> None:
        super().__init__(*args, collate=flatten_feedback, **kwargs)
        self.objective, self.beta, self.together = objective, beta, together

    def items(self, inputs: dict[str, Any]) -> int:
        return len(inputs["liked"])

    def scored(self, model: Any, inputs: dict[str, Any]) -> Scored:
        sums, _ = answer_log_probs(model, self.bare(model), inputs, together=self.together)
        known, liked = inputs["reference"], inputs["liked"]
        gains, drift = sums - known[:, 0], self._drift(model, inputs)
        losses = self.objective(gains, liked, drift)
        rewards = self.beta * gains.detach()
        good, bad = rewards[liked], rewards[~liked]
        lead = good[:, None] - bad[None]  # every liked answer against every disliked one of the batch
        metrics = {
            "kl": drift * len(liked),
            "rewards/chosen": good.sum(),
            "rewards/rejected": bad.sum(),
            "rewards/accuracies": ((lead > 0).float() + 0.5 * (lead == 0).float()).sum(),
            "logps/chosen": sums.detach()[liked].sum(),
            "logps/rejected": sums.detach()[~liked].sum(),
        }
        over = {name: len(good) if name.endswith("chosen") else len(bad) for name in metrics if "/" in name}
        return Scored(losses.sum(), len(losses), metrics, {**over, "rewards/accuracies": lead.numel()})

    def derived(self, metrics: dict[str, float], prefix: str) -> dict[str, float]:
        sides = [metrics.get(f"{prefix}rewards/{side}") for side in ("chosen", "rejected")]
        return {} if None in sides else {f"{prefix}rewards/margins": sides[0] - sides[1]}  # type: ignore[operator]

    def _drift(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """How far the model has moved from the reference on answers to other prompts (z₀): a mean, at least 0, in nats."""
        if "other" not in inputs:
            return inputs["reference"].new_zeros(())
        with torch.no_grad():
            sums, _ = answer_log_probs(model, self.bare(model), inputs["other"], together=self.together)
        gains = sums - inputs["reference"][:, 1]
        if FILLER in inputs:
            gains = gains[:0]
        # a mean over the whole batch, whichever processes hold its parts
        whole = self.ranks.total(torch.stack([gains.sum(), gains.new_tensor(float(len(gains)))]))
        return (whole[0] / whole[1]).clamp(min=0)

    def order(self, rows: Any) -> Sampler[int]:
        return WholeBatches(len(rows), self.args.per_device_train_batch_size * self.ranks.size, self.args.seed)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        return self.order(rows) if self.ranks.size == 1 else super()._get_train_sampler(rows)
