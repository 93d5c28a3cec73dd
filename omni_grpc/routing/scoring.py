"""The score by which offers are put in order: what each costs, how fast and how good it would be.

    score = w_cost·(1 - cost_norm) + w_latency·(1 - latency_norm)
          + w_task·task_match + w_quality·quality

Pure and deterministic. The same functions score one request's offers and, in evaluations, the
offers of many requests at once: arrays have the shape `[..., offers]`.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned.heads import Prediction

Amounts: TypeAlias = NDArray[np.float64]

QUALITY_FLOOR: Final = 0.05
"""Chance of a good answer that a balanced choice gives up at most against the premium model."""

LATENCY_UNKNOWN_NORM: Final = 0.5
"""An offer whose speed nobody knows stands in the middle."""

_LEAST_NANOUSD: Final = 1.0


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


DEFAULT_WEIGHTS: Final = Weights(cost=0.4, latency=0.3, task=0.3, quality_floor=None)
"""For offers that are compared by ratings alone, where nothing was trained."""

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


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An offer that can do the request, with what is predicted for it.

    `latency_ms` is None where nobody knows. `quality_weight` is the operator's; 1 is neutral.
    """

    id: str
    model: str
    cost_nanousd: float
    prediction: Prediction
    latency_ms: float | None = None
    is_premium: bool = False
    quality_weight: float = 1.0


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate with its score; the parts are weighted, and sum to it.

    `too_poor` says that its quality is below the floor; such candidates come after all others.
    """

    candidate: Candidate
    score: float
    cost: float
    latency: float
    task: float
    quality: float
    too_poor: bool


class Parts(msgspec.Struct, frozen=True):
    """The weighted terms of each offer, their sum, and who is below the floor."""

    cost: Amounts
    latency: Amounts
    task: Amounts
    quality: Amounts
    total: Amounts
    too_poor: NDArray[np.bool_]


def reference_cost(premium_nanousd: Amounts, typical_nanousd: float) -> Amounts:
    """What costs are measured by: between the premium model's here, and on a typical prompt.

    The geometric mean: on a dear prompt a cent matters more than on a cheap one, but not in
    proportion. With `typical_nanousd` of 0 it is the premium model's cost here alone.
    """
    here = np.maximum(premium_nanousd, _LEAST_NANOUSD)
    if typical_nanousd <= 0:
        return here
    middle: Amounts = np.sqrt(here * typical_nanousd)
    return middle


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
    cost_norm = cost_nanousd / np.asarray(reference_nanousd)[..., None]
    if latency_ms is None:
        latency_norm = np.full(cost_norm.shape, LATENCY_UNKNOWN_NORM)
    else:
        slowest = np.nanmax(latency_ms, axis=-1, keepdims=True, initial=1.0)
        latency_norm = np.nan_to_num(latency_ms / slowest, nan=LATENCY_UNKNOWN_NORM)
    least = doubt.min(axis=-1, keepdims=True) if premium is None else doubt[..., premium, None]
    sure = np.maximum(quality - np.maximum(doubt - least, 0.0), 0.0)
    matched = sure if task_match is None else task_match
    worth = sure if quality_weight is None else sure * quality_weight
    parts = (
        weights.cost * (1.0 - cost_norm),
        weights.latency * (1.0 - latency_norm),
        weights.task * matched,
        weights.quality * worth,
    )
    too_poor = np.zeros(cost_norm.shape, dtype=np.bool_)
    if premium is not None and weights.quality_floor is not None:
        too_poor = sure < sure[..., premium, None] - weights.quality_floor
    return Parts(*parts, parts[0] + parts[1] + parts[2] + parts[3], too_poor)


def ranking(parts: Parts, *, escalate_to: int | None = None) -> NDArray[np.intp]:
    """The places of one request's offers, best first.

    Offers below the floor come last. `escalate_to` comes first, whatever its score: the premium
    model, where the guard says so. Equal scores keep their order.
    """
    order = np.lexsort((-parts.total, parts.too_poor))
    if escalate_to is None:
        return order
    return np.concatenate([[escalate_to], order[order != escalate_to]])


def rank(
    candidates: Sequence[Candidate],
    weights: Weights,
    *,
    typical_nanousd: float = 0.0,
    escalate: bool = False,
) -> list[Scored]:
    """The candidates, best first, each with the parts of its score.

    Args:
        candidates: at least one; the first that `is_premium` is the premium model. Without one,
            costs are measured by the dearest candidate.
        weights: of the terms.
        typical_nanousd: the premium model's cost on a typical prompt; 0 leaves it out.
        escalate: the premium model comes first, whatever its score.
    """
    premium = next((place for place, one in enumerate(candidates) if one.is_premium), None)
    cost = np.array([one.cost_nanousd for one in candidates], dtype=np.float64)
    latency = np.array(
        [np.nan if one.latency_ms is None else one.latency_ms for one in candidates],
        dtype=np.float64,
    )
    parts = score_parts(
        weights,
        cost_nanousd=cost,
        reference_nanousd=reference_cost(
            cost.max() if premium is None else cost[premium], typical_nanousd
        ),
        quality=np.array([one.prediction.mean for one in candidates]),
        doubt=np.array([one.prediction.doubt for one in candidates]),
        latency_ms=None if bool(np.isnan(latency).all()) else latency,
        quality_weight=np.array([one.quality_weight for one in candidates]),
        premium=premium,
    )
    order = ranking(parts, escalate_to=premium if escalate else None)
    terms = zip(
        parts.total.tolist(),
        parts.cost.tolist(),
        parts.latency.tolist(),
        parts.task.tolist(),
        parts.quality.tolist(),
        parts.too_poor.tolist(),
        strict=True,
    )
    scored = [
        Scored(
            candidate=one,
            score=score,
            cost=cost_part,
            latency=latency_part,
            task=task_part,
            quality=quality_part,
            too_poor=too_poor,
        )
        for one, (score, cost_part, latency_part, task_part, quality_part, too_poor) in zip(
            candidates, terms, strict=True
        )
    ]
    return [scored[place] for place in order.tolist()]
