"""Training on a teacher's answers: close to its guesses, token by token, and to the words that it wrote.

A row is the trained model's prompt with the answer, and beside it the teacher's prompt with the same answer. The answers'
tokens are the same in both, in the same order, so the two models' guesses at them lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from engine.worker.flat import FlatTrainer, Scored, flatten, logits_at
from engine.worker.token_rows import TokenRows
from engine.worker.tokens import IGNORED

# Logits (positions, vocabulary) of the teacher, of the trained model without wrappers and the teacher's flattened row.
Guesses = Callable[[Any, dict[str, Any], torch.Tensor], torch.Tensor]


class TaughtRows(Sequence[dict[str, Any]]):
    """Two tokenised rows an example: what the trained model reads, and under `teacher` what the teacher reads."""

    def __init__(self, rows: TokenRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows) // 2

    def __getitem__(self, index: Any) -> Any:
        first = 2 * range(len(self))[index]
        return {**self.rows[first], "teacher": self.rows[first + 1]}


def flatten_taught(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`flatten` for the trained model, and for the teacher under `teacher` where the rows have it."""
    made = flatten(rows)
    if "teacher" in rows[0]:
        made["teacher"] = flatten([row["teacher"] for row in rows])
    return made


def divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T²·KL(teacher ‖ student) of logits (tokens, vocabulary) softened by T, summed over the tokens (Hinton et al. 2015).

    T² keeps its gradient as large as the cross entropy's. Models of one vocabulary may have heads that are padded to
    different widths; what lies beyond the narrower one stands for no token.
    """
    shared = min(student.shape[-1], teacher.shape[-1])
    ours, theirs = (log_softmax(logits[..., :shared] / temperature, -1) for logits in (student, teacher))
    return temperature**2 * kl_div(ours, theirs, reduction="sum", log_target=True)


def answer_places(inputs: dict[str, Any]) -> torch.Tensor:
    """The positions of a flattened row at which an answer's token is predicted."""
    return (inputs["labels"][0, 1:] != IGNORED).nonzero()[:, 0]


class DistillingTrainer(FlatTrainer):
    """The items are the answers' tokens. `guesses` asks the teacher at every step; without it only its answers count."""

    def __init__(self, *args: Any, alpha: float, temperature: float, guesses: Guesses | None, **kwargs: Any) -> None:
        super().__init__(*args, collate=flatten_taught, **kwargs)
        self.alpha, self.temperature, self.guesses = alpha, temperature, guesses

    def items(self, inputs: dict[str, Any]) -> int:
        return int((inputs["labels"][0, 1:] != IGNORED).sum())

    def scored(self, model: Any, inputs: dict[str, Any]) -> Scored:
        keep = answer_places(inputs)
        targets = inputs["labels"][0, 1:][keep]
        ours = logits_at(model, self.bare(model), inputs, keep)
        loss = ce = cross_entropy(ours, targets, reduction="sum")
        first = ours.detach().argmax(-1)
        sums = {"ce": ce.detach(), "token_accuracy": (first == targets).sum()}
        if self.guesses is not None:
            with torch.no_grad(), self.accelerator.autocast():
                theirs = self.guesses(self.bare(model), inputs["teacher"], answer_places(inputs["teacher"]))
            kl = divergence(ours, theirs, self.temperature)
            loss = self.alpha * kl + (1 - self.alpha) * ce
            sums |= {"kl": kl.detach(), "agreement": (first == theirs.argmax(-1)).sum()}
        return Scored(loss, int(targets.numel()), sums)
