"""Next-token training: cross entropy on the trained tokens, with the language-model head at their positions only.

The model's own forward is called with `logits_to_keep`, so the head (often half of a small model's work) runs only on
the positions that predict a trained token, whatever the architecture.
"""

from __future__ import annotations

import math
from typing import Any

from engine.worker.cross_entropy import token_losses
from engine.worker.flat import FlatTrainer, Scored, perplexity, raw_logits_at
from engine.worker.tokens import IGNORED


class CausalTrainer(FlatTrainer):
    """The items are trained tokens. Charts token accuracy and, if wanted, perplexity."""

    def __init__(self, *args: Any, with_perplexity: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.with_perplexity = with_perplexity

    def items(self, inputs: dict[str, Any]) -> int:
        return int((inputs["labels"][0, 1:] != IGNORED).sum())

    def scored(self, model: Any, inputs: dict[str, Any]) -> Scored:
        labels = inputs["labels"][0, 1:]
        keep = (labels != IGNORED).nonzero()[:, 0]
        logits = raw_logits_at(model, self.bare(model), inputs, keep)
        targets = labels[keep]
        right = (logits.detach().argmax(-1) == targets).sum()
        return Scored(token_losses(logits, targets).sum(), int(targets.numel()), {"token_accuracy": right})

    def derived(self, metrics: dict[str, float], prefix: str) -> dict[str, float]:
        loss = metrics[f"{prefix}loss"]
        return {f"{prefix}perplexity": perplexity(loss)} if self.with_perplexity and math.isfinite(loss) else {}
