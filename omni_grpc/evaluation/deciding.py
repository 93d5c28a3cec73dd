"""Decisions over many prompts at once, by the product's own scoring, and the choice of its weight.

`omni_grpc.routing.scoring` scores; nothing of the formula is written here again.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.evaluation.data import PREMIUM, Amounts, Flags, PoolData
from omni_grpc.evaluation.recipe import Recipe
from omni_grpc.evaluation.training import Trained
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
    """What is predicted for prompts.

    Attributes:
        quality: `[prompts, models]`.
        cost_usd: `[prompts, models]`.
        unlike: which go to the premium model, `[prompts]`.
        caution: how much all other models are doubted, `[prompts]`.
        typical_usd: what the premium model costs on a typical prompt.
    """

    quality: Amounts
    cost_usd: Amounts
    unlike: Flags
    caution: Amounts
    typical_usd: float = 0.0

    @classmethod
    def sure(cls, quality: Amounts, cost_usd: Amounts) -> "Predicted":
        """Predictions that nothing is known of besides."""
        count = len(quality)
        return cls(quality, cost_usd, np.zeros(count, dtype=np.bool_), np.zeros(count))


def predict(pool: Pool, stack: Stack, data: PoolData) -> Predicted:
    """The predictions of a pool's heads for prompts."""
    read = pool.read(stack)
    return _predicted(
        pool,
        data,
        np.asarray(pool.qualities(read.coordinates), dtype=np.float64),
        np.asarray(pool.output_tokens(read.coordinates), dtype=np.float64),
        read.unlike,
        np.asarray(read.caution, dtype=np.float64),
    )


def predict_held(trained: Trained, data: PoolData) -> Predicted:
    """The predictions for a pool's own prompts, by heads that did not see them."""
    held, pool = trained.held, trained.pool
    unlike = (held.likeness < pool.likeness_min) | (held.form_distance > pool.form_distance_max)
    caution = pool.caution * np.maximum(pool.likeness_known - held.likeness, 0.0)
    return _predicted(pool, data, held.quality, held.output_tokens, unlike, caution)


def _predicted(
    pool: Pool,
    data: PoolData,
    quality: Amounts,
    output_tokens: Amounts,
    unlike: Flags,
    caution: Amounts,
) -> Predicted:
    prices = data.prices()
    cost = data.prompt_tokens()[:, None] * prices[:, 0] + output_tokens * prices[:, 1]
    typical = float(np.array(pool.typical_tokens) @ prices[pool.premium])
    return Predicted(quality, cost, unlike, caution, typical)


def choose(predicted: Predicted, weights: Weights, *, guarded: bool = True) -> Chosen:
    """The model chosen for each prompt."""
    others = np.arange(predicted.quality.shape[1]) != PREMIUM
    parts = score_parts(
        weights,
        cost_nanousd=predicted.cost_usd * 1e9,
        reference_nanousd=reference_cost(
            predicted.cost_usd[:, PREMIUM] * 1e9, predicted.typical_usd * 1e9
        ),
        quality=predicted.quality,
        doubt=predicted.caution[:, None] * others,
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
    data: PoolData, held: Predicted, rule: Rule, floor: float | None, recipe: Recipe
) -> Weights | None:
    """The lowest weight of cost that keeps the rule and saves almost as much as any that does.

    It may save less by `Recipe.spared`: above some weight hardly more is saved, and more and more
    prompts go where predictions are wrong. It loses no more than `Recipe.source_loss_max` on any
    source. None where no weight keeps both.
    """
    kept: list[tuple[float, Weights]] = []
    sources = [data.sources == source for source in sorted(set(data.sources.tolist()))]
    for cost_weight in COST_WEIGHTS:
        weights = msgspec.structs.replace(balanced(cost_weight), quality_floor=floor)
        found = outcome(data, choose(held, weights))
        if rule(found) and _spares(found, sources, recipe.source_loss_max):
            kept.append((found.saved, weights))
    most = max((saved for saved, _ in kept), default=0.0)
    return next((weights for saved, weights in kept if saved >= most - recipe.spared), None)


def _spares(found: Outcome, sources: Sequence[Flags], loss_max: float | None) -> bool:
    """Whether no source loses more than that; None is whatever it loses."""
    return loss_max is None or all(
        float(found.difference[here].mean()) >= -loss_max for here in sources
    )
