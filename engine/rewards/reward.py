"""One reward, and several of them together: each is reported by itself, and their weighted sum is what is learned from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import DataError, TrainingError

Row = dict[str, Any]
# (prompts, completions, rows) -> one score each. A prompt is text or a list of turns, as the data has it; a completion is
# the answer's text without control tokens; a row holds the prompt and every other column of the data.
Score = Callable[[Sequence[Any], Sequence[str], Sequence[Row]], Sequence[float]]


@dataclass(frozen=True)
class Reward:
    """One way to score answers; `column` is the column of the data that it compares with, if it does."""

    name: str
    score: Score
    weight: float = 1.0
    column: str | None = None


class Rewards:
    """Some rewards under names that differ, so that each can be drawn."""

    def __init__(self, rewards: Iterable[Reward]) -> None:
        self._rewards = dict(_named(rewards))

    def __bool__(self) -> bool:
        return bool(self._rewards)

    @property
    def weights(self) -> dict[str, float]:
        return {name: reward.weight for name, reward in self._rewards.items()}

    @property
    def columns(self) -> dict[str, str]:
        """The column of the data that each reward compares with, for those that do."""
        return {name: reward.column for name, reward in self._rewards.items() if reward.column}

    def __call__(self, prompts: Sequence[Any], completions: Sequence[str], rows: Sequence[Row]) -> dict[str, list[float]]:
        """Each reward's scores, one for each completion, before its weight.

        Raises:
            TrainingError: a reward gave too few scores, or something that is no number.
        """
        return {
            name: _checked(name, reward.score(prompts, completions, rows), len(completions))
            for name, reward in self._rewards.items()
        }

    def total(self, scores: dict[str, list[float]]) -> list[float]:
        """The weighted sum for each completion."""
        columns = [[self._rewards[name].weight * value for value in values] for name, values in scores.items()]
        return [math.fsum(parts) for parts in zip(*columns, strict=True)]

    def check_columns(self, rows: Iterable[Row]) -> None:
        """Find out before the training, and not in it, that a column is missing or empty.

        Raises:
            DataError: a row lacks a column that a reward compares with.
        """
        for number, row in enumerate(rows, 1):
            for name, column in self.columns.items():
                if row.get(column) in (None, ""):
                    there = ", ".join(key for key in row if key != "prompt") or "none but the prompt"
                    what = "is empty" if column in row else f"does not exist (there are: {there})"
                    raise DataError(
                        f"The reward {name} compares with the column {column!r}, which {what} in row {number} of those used.",
                        hint="Name another column in rl_rewards, or fill it in the data.",
                    )


def each(one: Callable[[str, Row], float]) -> Score:
    """A `Score` from a rule for one answer and its row."""
    return lambda prompts, completions, rows: [one(answer, row) for answer, row in zip(completions, rows, strict=True)]


def _named(rewards: Iterable[Reward]) -> Iterator[tuple[str, Reward]]:
    """The second reward of a name is called name-2, the third name-3."""
    seen: dict[str, int] = {}
    for reward in rewards:
        count = seen[reward.name] = seen.get(reward.name, 0) + 1
        yield (reward.name if count == 1 else f"{reward.name}-{count}"), reward


def _checked(name: str, values: Sequence[float], wanted: int) -> list[float]:
    try:
        made = [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"The reward {name} gave something that is no list of numbers: {error}.",
            hint="It must return one number for each completion.",
            cause="reward",
        ) from error
    if len(made) != wanted or not all(map(math.isfinite, made)):
        raise TrainingError(
            f"The reward {name} gave {len(made)} scores for {wanted} completions, {sum(map(math.isfinite, made))} of them "
            "numbers.",
            hint="It must return one finite number for each completion.",
            cause="reward",
        )
    return made
