"""Intervals by bootstrap, hulls, and areas under curves of quality against cost."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from omni_grpc.evaluation.data import Amounts

Point: TypeAlias = tuple[float, float]
"""Mean cost and mean quality of a way to choose."""

RESAMPLES: Final = 2_000
SEED: Final = 7
_CHUNK: Final = 100
_AREA_STEPS: Final = 2_001


def interval(difference: Amounts) -> tuple[float, float]:
    """The paired bootstrap 95 % interval of a mean difference."""
    rng = np.random.default_rng(SEED)
    count = len(difference)
    means = [
        difference[rng.integers(0, count, (_CHUNK, count))].mean(axis=1)
        for _ in range(RESAMPLES // _CHUNK)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def hull(points: Sequence[Point]) -> list[Point]:
    """The upper hull: what mixing ways at random reaches. Cost and quality both rise along it."""
    found: list[Point] = []
    for cost, quality in sorted(points):
        while len(found) > 1 and _below(found[-2], found[-1], (cost, quality)):
            found.pop()
        found.append((cost, quality))
    rising = found[:1]
    for point in found[1:]:
        if point[1] > rising[-1][1]:
            rising.append(point)
    return rising


def _below(first: Point, middle: Point, last: Point) -> bool:
    rise = (last[1] - first[1]) * (middle[0] - first[0])
    return (middle[1] - first[1]) * (last[0] - first[0]) <= rise


def area(points: Sequence[Point], low: float, high: float) -> float:
    """The mean quality of the hull over costs from `low` to `high`."""
    line = hull(points)
    at = np.linspace(low, high, _AREA_STEPS)
    return float(np.interp(at, [p[0] for p in line], [p[1] for p in line]).mean())


def cost_at(points: Sequence[Point], quality: float) -> float | None:
    """The least cost at which the hull has a quality; None if it never does."""
    line = hull(points)
    if line[-1][1] < quality:
        return None
    return float(np.interp(quality, [p[1] for p in line], [p[0] for p in line]))
