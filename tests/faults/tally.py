"""What was done and what came of it, counted; told as a table."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field

COUNTS = ("started", "resumed", "done", "lost", "wrong states", "corrupt", "orphans", "not resumed", "broken curves", "slow")
DEFECTS = COUNTS[3:]
PHASES = ("starting it", "queued", "launched", "preparing", "training", "checkpoint", "evaluating", "saving", "ended")


@dataclass
class Tally:
    """Strikes by (phase, signal, target), counts by name, and every defect in a sentence."""

    strikes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)

    def defect(self, kind: str, sentence: str) -> None:
        """Count a broken promise and say it at once."""
        assert kind in DEFECTS, kind
        self.counts[kind] += 1
        self.defects.append(f"{kind}: {sentence}")
        print(f"DEFECT {kind}: {sentence}", file=sys.stderr, flush=True)

    def add(self, other: Tally) -> None:
        self.strikes.update(other.strikes)
        self.counts.update(other.counts)
        self.defects += other.defects

    def table(self) -> str:
        """Markdown: strikes by phase, signal and target; then the counts."""
        columns = sorted({(target, signal) for _, signal, target in self.strikes})
        lines = [
            "| phase | " + " | ".join(f"{target} {signal}" for target, signal in columns) + " | all |",
            "|---" * (len(columns) + 2) + "|",
        ]
        for phase in [*PHASES, ""]:
            row = [
                sum(n for (p, s, t), n in self.strikes.items() if (t, s) == column and phase in ("", p)) for column in columns
            ]
            if phase == "" or sum(row):
                lines.append(f"| {phase or 'all'} | " + " | ".join(str(n or "–") for n in [*row, sum(row)]) + " |")
        told = ", ".join(f"{name} {self.counts[name]}" for name in COUNTS)
        return "\n".join([*lines, "", told, *self.defects])
