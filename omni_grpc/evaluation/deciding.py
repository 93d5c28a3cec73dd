"""Decisions over many prompts at once, by the product's own scoring, and the choice of its weight.

`omni_grpc.routing.scoring` scores; nothing of the formula is written here again.
"""

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.evaluation.data import PREMIUM, Amounts, Flags, PoolData
from omni_grpc.evaluation.training import Held, Trained
from omni_grpc.routing.learned.basis import Stack
from omni_grpc.routing.learned.heads import Pool
from omni_grpc.routing.scoring import Weights, balanced, reference_cost, score_parts

COST_WEIGHTS: Final = (
    0.0,
    *(round(0.005 * 1.25**step, 6) for step in range(26)),
)
"""Weights of cost that are tried: from nothing to more than all of quality."""

Chosen: TypeAlias = NDArray[np.intp]
"""By prompt, the place of the model that was chosen."""

ONE_SIDED: Final = 1.645
"""Standard errors below the mean that make a one-sided 95 % bound."""

SHIPPED_MARGIN: Final = 0.001
"""How far above 0 the bound must be for the shipped weight: new prompts differ from known ones."""


class Predicted(msgspec.Struct, frozen=True):
    """What is predicted for prompts, `[prompts, models]`, and which go to the premium model."""

    quality: Amounts
    cost_usd: Amounts
    unlike: Flags
    typical_usd: float


def predict(pool: Pool, stack: Stack, data: PoolData) -> Predicted:
    """The predictions of a pool's heads for prompts."""
    coordinates, unlike = pool.read(stack)
    return _predicted(
        pool,
        data,
        np.asarray(pool.qualities(coordinates), dtype=np.float64),
        np.asarray(pool.output_tokens(coordinates), dtype=np.float64),
        unlike,
    )


def predict_held(trained: Trained, data: PoolData) -> Predicted:
    """The predictions for a pool's own prompts, by heads that did not see them."""
    held: Held = trained.held
    unlike = (held.likeness < trained.pool.likeness_min) | (
        held.form_distance > trained.pool.form_distance_max
    )
    return _predicted(trained.pool, data, held.quality, held.output_tokens, unlike)


def _predicted(
    pool: Pool, data: PoolData, quality: Amounts, output_tokens: Amounts, unlike: Flags
) -> Predicted:
    prices = data.prices()
    cost = data.prompt_tokens()[:, None] * prices[:, 0] + output_tokens * prices[:, 1]
    typical = float(np.array(pool.typical_tokens) @ prices[pool.premium])
    return Predicted(quality, cost, unlike, typical)


def choose(predicted: Predicted, weights: Weights, *, guarded: bool = True) -> Chosen:
    """The model chosen for each prompt."""
    parts = score_parts(
        weights,
        cost_nanousd=predicted.cost_usd * 1e9,
        reference_nanousd=reference_cost(
            predicted.cost_usd[:, PREMIUM] * 1e9, predicted.typical_usd * 1e9
        ),
        quality=predicted.quality,
        doubt=np.zeros(predicted.quality.shape[1]),
        premium=PREMIUM,
    )
    chosen: Chosen = np.where(parts.too_poor, -np.inf, parts.total).argmax(axis=1)
    if guarded:
        chosen[predicted.unlike] = PREMIUM
    return chosen


class Outcome(msgspec.Struct, frozen=True):
    """What decisions cost and were worth, beside always the premium model.

    Attributes:
        difference: by prompt, the quality against the premium model's.
        saved: share of the premium model's cost.
    """

    difference: Amounts
    saved: float

    @property
    def bound(self) -> float:
        """The one-sided 95 % lower bound of the mean difference."""
        error = float(self.difference.std()) / math.sqrt(len(self.difference))
        return float(self.difference.mean()) - ONE_SIDED * error


def outcome(data: PoolData, chosen: Chosen) -> Outcome:
    """What decisions come to on recorded answers."""
    rows = np.arange(len(chosen))
    return Outcome(
        data.quality[rows, chosen] - data.quality[:, PREMIUM],
        1.0 - float(data.cost_usd[rows, chosen].sum() / data.cost_usd[:, PREMIUM].sum()),
    )


Rule = Callable[[Outcome], bool]


def non_inferior(margin: float) -> Rule:
    """Whether the bound of the quality difference is at least `-margin`."""
    return lambda found: found.bound >= -margin


def choose_weight(
    data: PoolData, held: Predicted, rule: Rule, floor: float | None
) -> Weights | None:
    """The weights that save most among those that keep the rule; None if none does."""
    best: tuple[float, Weights] | None = None
    for cost_weight in COST_WEIGHTS:
        weights = msgspec.structs.replace(balanced(cost_weight), quality_floor=floor)
        found = outcome(data, choose(held, weights))
        if rule(found) and (best is None or found.saved > best[0]):
            best = found.saved, weights
    return None if best is None else best[1]
