"""The score by which offers are put in order: what each costs, how fast and how good it would be.

    score = w_cost·(1 - cost_norm) + w_latency·(1 - latency_norm)
          + w_task·task_match + w_quality·quality

Pure and deterministic. The same functions score one request's offers and, in evaluations, the
offers of many requests at once: arrays have the shape `[..., offers]`.
"""

from typing import Final, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Amounts: TypeAlias = NDArray[np.float64]
Some = TypeVar("Some", Amounts, float)

QUALITY_FLOOR: Final = 0.05
"""Chance of a good answer that a balanced choice gives up at most against the premium model."""

LATENCY_UNKNOWN_NORM: Final = 0.5
"""An offer whose speed nobody knows stands in the middle."""

_LEAST_NANOUSD: Final = 1.0

_NOTHING: Final = np.zeros(())
"""A zero that is an array already: `maximum` makes one of each number that it is given."""

_BELOW_ALL: Final = 1e9
"""Taken off the scores of offers below the floor: more than any offer's cost term comes to."""


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """What each term weighs; they need not sum to 1.

    `quality_floor` is how much lower than the premium model's an offer's quality may be; None is
    however much.
    """

    cost: float
    latency: float = 0.0
    task: float = 0.0
    quality: float = 0.0
    quality_floor: float | None = QUALITY_FLOOR

    def named(self) -> tuple[tuple[str, float], ...]:
        """The terms by their names, as people are told of them."""
        return (
            ("cost", self.cost),
            ("latency", self.latency),
            ("task", self.task),
            ("quality", self.quality),
        )


CHEAP_FACTOR: Final = 4.0
CHEAP_FLOOR: Final = 0.15
FAST_LATENCY: Final = 0.2


def balanced(cost_weight: float) -> Weights:
    """As good as the premium model for less: the trained weight of cost against quality."""
    return Weights(cost=cost_weight, task=0.5, quality=0.5)


def cheap(cost_weight: float) -> Weights:
    """A good answer for little: cost counts four times as much, the floor is lower."""
    return Weights(
        cost=cost_weight * CHEAP_FACTOR, task=0.5, quality=0.5, quality_floor=CHEAP_FLOOR
    )


def best() -> Weights:
    """The likeliest to be right; cost decides only between equals."""
    return Weights(cost=1e-6, task=0.5, quality=0.5, quality_floor=0.0)


def fast(cost_weight: float) -> Weights:
    """As balanced, and quick."""
    return Weights(cost=cost_weight, latency=FAST_LATENCY, task=0.5, quality=0.5)


class Parts(msgspec.Struct, frozen=True, eq=False):
    """The terms of each offer, their weighted sum, and who is below the floor.

    No term is above 1, but `quality` where the operator's weight is. `latency` is one number where
    it is the same for all.
    """

    cost: Amounts
    latency: Amounts | float
    task: Amounts
    quality: Amounts
    total: Amounts
    too_poor: NDArray[np.bool_]

    def at(self, place: int) -> tuple[float, ...]:
        """The terms of one offer, in the order of `Weights.named`."""
        terms = (self.cost, self.latency, self.task, self.quality)
        return tuple(one if isinstance(one, float) else float(one[place]) for one in terms)


def reference_cost(premium_nanousd: Some, typical_nanousd: float) -> Some:
    """What costs are measured by: between the premium model's here, and on a typical prompt.

    The geometric mean: on a dear prompt a cent matters more than on a cheap one, but not in
    proportion. With `typical_nanousd` of 0 it is the premium model's cost here alone.
    """
    if isinstance(premium_nanousd, float):
        here = max(premium_nanousd, _LEAST_NANOUSD)
    else:
        here = np.maximum(premium_nanousd, _LEAST_NANOUSD)
    return here if typical_nanousd <= 0 else (here * typical_nanousd) ** 0.5


def score_parts(
    weights: Weights,
    *,
    cost_nanousd: Amounts,
    reference_nanousd: Amounts,
    quality: Amounts,
    doubt: Amounts,
    latency_ms: Amounts | None = None,
    quality_weight: Amounts | None = None,
    task_match: Amounts | None = None,
    premium: int | None = None,
) -> Parts:
    """Scores offers.

    Args:
        weights: of the terms.
        cost_nanousd: `[..., offers]`, predicted.
        reference_nanousd: `[...]`, the cost that counts as 1: see `reference_cost`.
        quality: `[..., offers]`, the predicted chances of a good answer, 0 to 1.
        doubt: `[..., offers]` or `[offers]`, what they may be off by. Only an offer's doubt beyond
            the premium model's counts: what makes all predictions unsure does not part them.
        latency_ms: `[..., offers]`, NaN where unknown; None where no speed is known.
        quality_weight: `[offers]`, the operator's; None is neutral.
        task_match: `[..., offers]`, 0 to 1; None where it is the quality.
        premium: the place of the premium model among the offers; None if it is not there.
    """
    cost = 1.0 - cost_nanousd / _beside(reference_nanousd, cost_nanousd)
    latency: Amounts | float = 1.0 - LATENCY_UNKNOWN_NORM
    if latency_ms is not None:
        slowest = np.nanmax(latency_ms, axis=-1, keepdims=True, initial=1.0)
        latency = 1.0 - np.nan_to_num(latency_ms / slowest, nan=LATENCY_UNKNOWN_NORM)
    least = doubt.min(axis=-1) if premium is None else doubt[..., premium]
    beyond = doubt - _beside(least, doubt)
    np.maximum(beyond, _NOTHING, out=beyond)
    sure = quality - beyond
    np.maximum(sure, _NOTHING, out=sure)
    matched = sure if task_match is None else task_match
    worth = sure if quality_weight is None else sure * quality_weight
    total = weights.cost * cost
    if weights.latency:
        total += weights.latency * latency
    if matched is worth:
        total += (weights.task + weights.quality) * worth
    else:
        total += weights.task * matched
        total += weights.quality * worth
    if premium is not None and weights.quality_floor is not None:
        too_poor = sure < _beside(sure[..., premium], sure) - weights.quality_floor
    else:
        too_poor = np.zeros(cost.shape, dtype=np.bool_)
    return Parts(cost, latency, matched, worth, total, too_poor)


def _beside(amounts: Amounts, offers: Amounts) -> Amounts:
    """Amounts, `[...]`, so that they go with `[..., offers]`.

    One is left as it is: numpy repeats a number in half the time of an array of one.
    """
    return amounts if offers.ndim == 1 else np.asarray(amounts)[..., None]


def ranking(parts: Parts, *, escalate_to: int | None = None) -> list[int]:
    """The places of one request's offers, best first.

    Offers below the floor come last. `escalate_to` comes first, whatever its score: the premium
    model, where the guard says so. Those of equal scores keep their order.
    """
    return _led_by(escalate_to, np.lexsort((-parts.total, parts.too_poor)).tolist())


def shortlist(
    parts: Parts, costs: Amounts, count: int, *, escalate_to: int | None = None
) -> list[int]:
    """The first `count` places of the ranking, and then the cheapest of the others, if any.

    As `ranking`, but that of equal scores the one that costs less comes first. Sorts only what may
    come first: to sort hundreds takes longer than to score them.
    """
    levels = np.where(parts.too_poor, parts.total - _BELOW_ALL, parts.total)
    if len(levels) <= count:
        return _led_by(escalate_to, np.lexsort((costs, -levels)).tolist())
    last = len(levels) - count
    parted = levels.copy()
    parted.partition(last)
    leading = (levels >= parted[last]).nonzero()[0]
    ordered = sorted(
        zip((-levels[leading]).tolist(), costs[leading].tolist(), leading.tolist(), strict=True)
    )
    order = _led_by(escalate_to, [place for _, _, place in ordered])[:count]
    left = costs.copy()
    left[order] = np.inf
    cheapest = (left == left[left.argmin()]).nonzero()[0]
    return [*order, int(cheapest[levels[cheapest].argmax()])]


def _led_by(place: int | None, order: list[int]) -> list[int]:
    """An order, with one place before all others."""
    return order if place is None else [place, *[other for other in order if other != place]]
