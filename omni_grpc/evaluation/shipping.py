"""What the package ships: the pools trained on their dev files alone, and the scale of ratings."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from omni_grpc.evaluation.data import Amounts, PoolData
from omni_grpc.evaluation.deciding import (
    SHIPPED_MARGIN,
    choose_weight,
    non_inferior,
    predict_held,
)
from omni_grpc.evaluation.reading import Library
from omni_grpc.evaluation.recipe import RECIPE, RECIPES
from omni_grpc.evaluation.training import Trained, train_pool
from omni_grpc.routing.learned.ratings import RatingScale, log_odds
from omni_grpc.routing.scoring import QUALITY_FLOOR

SLOPES: Final = tuple(round(0.1 * step, 1) for step in range(21))
COMPLEXITY_SLOPE: Final = 2.0
"""Log-odds between the easiest and the hardest analysis."""

UNLIKE_DOUBT: Final = 0.25


def ship_pool(data: PoolData, library: Library) -> Trained:
    """Trains a pool with its weight of cost; where none keeps the rule, cost counts nothing."""
    recipe = RECIPES.get(data.meta.pool, RECIPE)
    places = library.places(data)
    trained = train_pool(data, library.seen.rows(places), library.folds[places], recipe)
    weights = choose_weight(
        data,
        predict_held(trained, data),
        non_inferior(-SHIPPED_MARGIN),
        QUALITY_FLOOR,
        recipe,
    )
    cost = 0.0 if weights is None else weights.cost
    return Trained(msgspec.structs.replace(trained.pool, cost_weight=cost), trained.held)


class LeftOut(msgspec.Struct, frozen=True):
    """How well a model's grades are predicted from its rating and the other models' heads.

    Squared errors, means over prompts: of the rating alone, with the prompt's difficulty, and of
    a head trained on the model itself.
    """

    pool: str
    model: str
    rating_alone: float
    with_difficulty: float
    own_head: float


def fit_scale(pools: Sequence[tuple[PoolData, Trained]]) -> tuple[RatingScale, list[LeftOut]]:
    """Fits the scale by leaving each model out; its rating is its mean grade by task."""
    cases = []
    for data, trained in pools:
        tasks = np.array([row.task_type for row in data.rows])
        for model in range(len(data.meta.models)):
            others = [place for place in range(len(data.meta.models)) if place != model]
            chance = trained.held.quality[:, others].mean(axis=1)
            typical = np.zeros(len(chance))
            rating = np.zeros(len(chance))
            for task in np.unique(tasks):
                here = tasks == task
                typical[here] = data.quality[here][:, others].mean()
                rating[here] = data.quality[here, model].mean()
            harder = _odds(typical) - _odds(chance)
            cases.append((data, trained, model, rating, harder))
    errors = [
        np.mean(
            [np.mean((_chance(_odds(r) - s * h) - d.quality[:, m]) ** 2) for d, _, m, r, h in cases]
        )
        for s in SLOPES
    ]
    slope = SLOPES[int(np.argmin(errors))]
    left_out, offs = [], []
    for data, trained, model, rating, harder in cases:
        predicted, truth = _chance(_odds(rating) - slope * harder), data.quality[:, model]
        order = np.argsort(predicted)
        offs += [
            float((predicted[part] - truth[part]).mean()) for part in np.array_split(order, 10)
        ]
        left_out.append(
            LeftOut(
                data.meta.pool,
                data.meta.models[model],
                float(np.mean((rating - truth) ** 2)),
                float(np.mean((predicted - truth) ** 2)),
                float(np.mean((trained.held.quality[:, model] - truth) ** 2)),
            )
        )
    scale = RatingScale(
        slope=slope,
        complexity_slope=COMPLEXITY_SLOPE,
        doubt=float(np.sqrt(np.mean(np.square(offs)))),
        unlike_doubt=UNLIKE_DOUBT,
    )
    return scale, left_out


def _odds(chances: Amounts) -> Amounts:
    return np.array([log_odds(float(chance)) for chance in chances])


def _chance(odds: Amounts) -> Amounts:
    chances: Amounts = 1.0 / (1.0 + np.exp(-odds))
    return chances
