"""Predictions for prompts by what was trained without them: by our heads and by other methods.

Each gives two: for all prompts but those that are asked for, each fold by what saw the others, to
choose the weight of cost on; and for those that are asked for, to judge the choice on.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from omni_grpc.evaluation import baselines
from omni_grpc.evaluation.basis_training import Places, Seen, Wider
from omni_grpc.evaluation.data import Flags, PoolData
from omni_grpc.evaluation.deciding import Predicted, predict, predict_held
from omni_grpc.evaluation.recipe import Recipe
from omni_grpc.evaluation.training import FOLDS, train_pool

TwoParts = tuple[Predicted, Predicted]
"""For the prompts that are known, held out in turn, and for those that are asked for."""


class Trainer(msgspec.Struct, frozen=True):
    """How heads are trained.

    Attributes:
        recipe: of the training.
        blended: methods whose qualities are averaged with those of the heads: an ensemble.
        wider: prompts of other data, for those recipes that use them.
    """

    recipe: Recipe
    blended: tuple[baselines.Method, ...] = ()
    wider: Wider | None = None

    def predict(self, data: PoolData, seen: Seen, folds: Places, asked: Flags) -> TwoParts:
        """The predictions of heads that are trained without the prompts that are asked for."""
        known = data.take(~asked)
        trained = train_pool(known, seen.rows(~asked), folds[~asked], self.recipe, self.wider)
        held = predict_held(trained, known)
        found = predict(trained.pool, seen.plain.rows(asked), data.take(asked))
        others = [crossed(method, data, seen, folds, asked) for method in self.blended]
        return (
            _blended([held, *(one for one, _ in others)]),
            _blended([found, *(one for _, one in others)]),
        )


def crossed(
    method: baselines.Method, data: PoolData, seen: Seen, folds: Places, asked: Flags
) -> TwoParts:
    """The predictions of another method."""
    vectors, known = seen.plain.whole, ~asked
    quality, cost = np.zeros(data.quality.shape), np.zeros(data.quality.shape)
    for fold in np.unique(folds[known] % FOLDS):
        part: Flags = known & (folds % FOLDS == fold)
        found = baselines.predicted(method, vectors, data, known & ~part, part)
        quality[part], cost[part] = found.quality, found.cost_usd
    held = Predicted.sure(quality[known], cost[known])
    return held, baselines.predicted(method, vectors, data, known, asked)


def _blended(predicted: Sequence[Predicted]) -> Predicted:
    """The mean of the qualities; all else as the first says."""
    quality = np.mean([one.quality for one in predicted], axis=0)
    return msgspec.structs.replace(predicted[0], quality=quality)
