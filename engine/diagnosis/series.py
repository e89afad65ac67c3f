"""Robust numbers of a curve. Medians throughout: a training curve is noisy, and one odd point must say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

Points = list[tuple[int, float]]


def values(points: Points) -> list[float]:
    return [value for _, value in points]


def ending(points: Points, share: float = 0.1, least: int = 5) -> float:
    """The median of the last tenth of a curve, and of five points at least."""
    return median(values(points)[-max(least, int(len(points) * share)) :])


def beginning(points: Points, share: float = 0.1, least: int = 5) -> float:
    """The median of the first tenth of a curve, and of five points at least."""
    return median(values(points)[: max(least, int(len(points) * share))])


def noise(points: Points) -> float:
    """How much neighbouring points differ: the median step. About one standard deviation where steps are independent."""
    found = values(points)
    return median(abs(b - a) for a, b in pairwise(found)) if len(found) > 1 else 0.0


def smoothed(points: Points, window: int = 5) -> Points:
    """The running median of a curve; the step is that of the window's middle."""
    half = window // 2
    found = values(points)
    return [(points[at][0], median(found[at - half : at + half + 1])) for at in range(half, len(points) - half)]


def lowest(points: Points) -> tuple[int, float]:
    return min(points, key=lambda point: point[1])


def near(points: Points, step: int, window: int = 5) -> float:
    """The median of the points that lie nearest to a step."""
    closest: Sequence[tuple[int, float]] = sorted(points, key=lambda point: abs(point[0] - step))[:window]
    return median(value for _, value in closest)
