"""Training on pairs of answers: both lie in one flattened row, and the head runs on the answers' tokens only.

The reference's log-probabilities are worked out once before training and kept in the run (then nothing of it is in
memory, and a run that is resumed keeps its reference), or asked for at every step.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from engine.worker.cross_entropy import token_losses
from engine.worker.flat import FlatTrainer, Scored, flatten, raw_logits_at
from engine.worker.preference import Objective, Pairs
from engine.worker.ranks import Ranks
from engine.worker.splitting import is_split, part_again
from engine.worker.token_rows import Joined, TokenRows
from engine.worker.tokens import IGNORED

# Log-probabilities of both answers of each pair, shape (pairs, 2).
Reference = Callable[[Any, dict[str, Any]], torch.Tensor]


class Referred(Protocol):
    """Rows that are compared with a reference: its log-probabilities of all texts that `asked` shows go with each row."""

    reference: np.ndarray | None

    def __len__(self) -> int: ...

    def asked(self, places: Sequence[int]) -> dict[str, Any]: ...


class PairRows(Joined):
    """Two tokenised rows a pair, the chosen answer first. `reference`, once known, goes with each pair."""

    def __init__(self, rows: TokenRows) -> None:
        super().__init__(rows, [[2 * pair, 2 * pair + 1] for pair in range(len(rows) // 2)], sees_all=False)
        self.reference: np.ndarray | None = None

    def __getitem__(self, index: Any) -> Any:
        made = super().__getitem__(index)
        made["margin"] = float(self.rows.marks[self.places[index][0]])
        if self.reference is not None:
            made["reference"] = self.reference[range(len(self))[index]]
        return made

    def asked(self, places: Sequence[int]) -> dict[str, Any]:
        """Both answers of the pairs at `places`, flattened, for the reference."""
        return flatten_pairs([self[place] for place in places])


def flatten_pairs(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`flatten`, and what goes with each pair: `margin` (pairs,) and `reference` (pairs, 2)."""
    made = flatten(rows)
    made["margin"] = torch.tensor([row["margin"] for row in rows])
    if "reference" in rows[0]:
        made["reference"] = torch.from_numpy(np.stack([row["reference"] for row in rows]))
    return made


def answer_log_probs(model: Any, bare: Any, inputs: dict[str, Any], *, together: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """For every document of a flattened row: the sum of its trained tokens' log-probabilities, and how many they are.

    `together` runs the whole row in one pass; a model that does not keep documents apart takes them one by one.
    """
    if not together:
        parts = [answer_log_probs(model, bare, one, together=True) for one in one_by_one(inputs)]
        return torch.cat([sums for sums, _ in parts]), torch.cat([counts for _, counts in parts])
    labels = inputs["labels"][0, 1:]
    keep = (labels != IGNORED).nonzero()[:, 0]
    targets = labels[keep]
    found = -token_losses(raw_logits_at(model, bare, inputs, keep), targets)
    edges = inputs["cu_seq_lens_q"]
    document = torch.searchsorted(edges, (keep + 1).to(edges.dtype), right=True) - 1
    sums = found.new_zeros(len(edges) - 1).index_add(0, document, found)
    return sums, torch.bincount(document, minlength=len(edges) - 1).clamp(min=1)


def one_by_one(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """Every document of a flattened row as a row of its own."""
    device, edges = inputs["input_ids"].device, inputs["cu_seq_lens_q"].tolist()
    made = []
    for start, end in itertools.pairwise(edges):
        row = {key: inputs[key][0, start:end].cpu().numpy() for key in ("input_ids", "labels")}
        one = flatten([{**row, "documents": [end - start]}])
        made.append({key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in one.items()})
    return made


class PairTrainer(FlatTrainer):
    """The items are pairs. `objective` says what a pair costs; `reference` asks a second model at every step."""

    def __init__(
        self, *args: Any, objective: Objective, together: bool, reference: Reference | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, collate=flatten_pairs, **kwargs)
        self.objective, self.together, self.reference = objective, together, reference

    def items(self, inputs: dict[str, Any]) -> int:
        return (len(inputs["cu_seq_lens_q"]) - 1) // 2

    def scored(self, model: Any, inputs: dict[str, Any]) -> Scored:
        sums, counts = answer_log_probs(model, self.bare(model), inputs, together=self.together)
        known = inputs.get("reference")
        if known is None:
            known = self.reference(self.bare(model), inputs) if self.reference else sums.new_zeros(len(sums) // 2, 2)
        pairs = Pairs(sums[0::2], sums[1::2], counts[0::2], counts[1::2], known[:, 0], known[:, 1])
        losses, metrics = self.objective(pairs)
        return Scored(losses.sum(), len(losses), {name: values.detach().sum() for name, values in metrics.items()})


def adapter_off(together: bool) -> Reference:
    """The reference that a LoRA model holds within itself: its base, with the adapter switched off."""

    def ask(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        was_training = model.training
        model.eval()
        with torch.no_grad(), model.disable_adapter():
            sums, _ = answer_log_probs(model, model, inputs, together=together)
        model.train(was_training)
        return torch.stack([sums[0::2], sums[1::2]], 1)

    return ask


def held_model(other: Any, together: bool) -> Reference:
    """A second model that is held in memory beside the one that is trained."""
    other.eval().requires_grad_(False)

    def ask(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        with torch.no_grad():
            sums, _ = answer_log_probs(other, other, inputs, together=together)
        return torch.stack([sums[0::2], sums[1::2]], 1)

    return ask


def precompute_all(model: Any, rows: Sequence[Referred | None], folder: Path, ranks: Ranks, **how: Any) -> None:
    """`precompute` for the rows to train on and those held out: by the first process for all, or by all with a split model."""
    split = is_split(model)
    with contextlib.nullcontext() if split else ranks.first_before_others():
        for part, some in zip(("train", "valid"), rows, strict=True):
            if some is not None:
                precompute(model, some, folder / f"{part}.reference.npy", write=ranks.first or not split, **how)
    part_again(model)


def precompute(
    model: Any,
    rows: Referred,
    file: Path,
    *,
    batch: int,
    precision: str,
    together: bool,
    beat: Callable[[], None],
    write: bool = True,
) -> None:
    """Give every row its reference log-probabilities by `model`, kept in `file` so that a resumed run has the same."""
    if file.is_file():
        kept = np.load(file)
        if len(kept) == len(rows):
            rows.reference = kept
            return
    was_training = model.training
    model.eval()
    found = []
    with torch.no_grad(), _autocast(model.device, precision):
        for start in range(0, len(rows), batch):
            beat()
            places = range(start, min(start + batch, len(rows)))
            inputs = rows.asked(places)
            given = {k: v.to(model.device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
            sums, _ = answer_log_probs(model, model, given, together=together)
            found.append(sums.float().cpu().numpy().reshape(len(places), -1))
    model.train(was_training)
    rows.reference = np.concatenate(found)
    if not write:
        return
    part = file.with_suffix(".part.npy")
    np.save(part, rows.reference)
    part.replace(file)


def _autocast(device: torch.device, precision: str) -> Any:
    """The number format of the training, so that an untrained model's margins are zero and not rounding."""
    if precision not in ("bf16", "fp16"):
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)
