"""What others do: nearest neighbours, k-means cells and a plain linear head on the same vectors.

Each predicts qualities for prompts it has not seen; the same search chooses its weight of cost.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from omni_grpc.evaluation.basis_training import centres
from omni_grpc.evaluation.data import Amounts, Flags, PoolData
from omni_grpc.evaluation.deciding import Predicted
from omni_grpc.routing.learned.basis import Numbers

NEIGHBOURS: Final = 60
CELLS: Final = 60
CELL_ROUNDS: Final = 20
LINEAR_PENALTY: Final = 12.0

Method = Callable[[Numbers, Amounts, Numbers], Amounts]
"""From known vectors and their qualities, and vectors that are asked for, to qualities of those."""


def nearest(known: Numbers, quality: Amounts, asked: Numbers) -> Amounts:
    """The mean over the 60 nearest prompts."""
    likeness = asked @ known.T
    count = min(NEIGHBOURS, len(known) - 1)
    found = np.argpartition(-likeness, count, axis=1)[:, :count]
    mean: Amounts = quality[found].mean(axis=1)
    return mean


def cells(known: Numbers, quality: Amounts, asked: Numbers) -> Amounts:
    """The mean over the prompts of the nearest of 60 k-means cells: the recipe of Avengers-Pro."""
    middle = centres(known, CELLS, CELL_ROUNDS)
    member = (known @ middle.T).argmax(axis=1)
    overall = quality.mean(axis=0)
    means = np.stack(
        [
            quality[member == cell].mean(axis=0) if (member == cell).any() else overall
            for cell in range(len(middle))
        ]
    )
    found: Amounts = means[(asked @ middle.T).argmax(axis=1)]
    return found


def linear(known: Numbers, quality: Amounts, asked: Numbers) -> Amounts:
    """A ridge head a model on the vector alone."""
    mean, middle = quality.mean(axis=0), known.mean(axis=0)
    gram = (known - middle).T @ (known - middle) + LINEAR_PENALTY * np.eye(known.shape[1])
    heads = np.linalg.solve(gram, (known - middle).T @ (quality - mean))
    found: Amounts = (asked - middle) @ heads + mean
    return found


METHODS: Final[dict[str, Method]] = {"kNN-60": nearest, "k-means-60": cells, "linear": linear}


def predicted(
    method: Method, vectors: Numbers, data: PoolData, known: Flags, asked: Flags
) -> Predicted:
    """A method's predictions. It predicts no cost: each model costs its mean."""
    quality = method(vectors[known], data.quality[known], vectors[asked])
    cost = np.tile(data.cost_usd[known].mean(axis=0), (int(asked.sum()), 1))
    return Predicted.sure(quality, cost)
