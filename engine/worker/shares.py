"""Who of several processes takes which rows of a step: the same rows that one process would take, and each of them once.

Rows come in one order for all; accelerate deals it out batch by batch. The last step of a pass may have too few rows to go
round: it is filled up with rows that are read and count nothing, since a process without a batch would keep the others
waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import Sampler

FILLER = "filler"


class FilledUp(Sequence[dict[str, Any]]):
    """Rows, and beyond their end as many fillers as anybody asks for."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index] if index < len(self.rows) else {**self.rows[0], FILLER: True}


class Evened(Sampler[int]):
    """An order of rows with fillers behind it, so that it comes to whole steps of `share` rows of every process together."""

    def __init__(self, order: Sampler[int], rows: int, share: int) -> None:
        self.order, self.rows, self.share = order, rows, share

    def __len__(self) -> int:
        return -(-self.rows // self.share) * self.share

    def set_epoch(self, epoch: int) -> None:
        if hasattr(self.order, "set_epoch"):
            self.order.set_epoch(epoch)  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[int]:
        yield from self.order
        yield from range(self.rows, len(self))


def without_fillers(collate: Callable[[Sequence[dict[str, Any]]], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`collate` for rows among which are fillers; a batch of nothing else is one row that is marked."""

    def joined(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        real = [row for row in rows if FILLER not in row]
        made = collate(real or rows[:1])
        if not real:
            made[FILLER] = True
        return made

    return joined
