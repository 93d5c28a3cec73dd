"""A fitted model: trained on some rows, asked about others, written into the package."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.analysis.features import DENSE_COUNT
from omni_grpc.routing.analysis.weights import FORMAT, Header, write
from omni_grpc.routing.learned.encoder import KIND
from task_training.dataset import (
    DENSE_SCALES,
    NEEDS,
    TASKS,
    Read,
    Telling,
    arrays,
    targets_of,
    telling_terms,
    term_scales,
)
from task_training.fit import fit

Array = NDArray[np.float64]

PENALTY = 2.0
STEPS = 60
"""More steps fit the training sources better and others worse."""


@dataclass(frozen=True)
class Calibration:
    """What is set from predictions on held-out sources."""

    temperature: float
    need_thresholds: tuple[float, ...]
    complexity_scale: float
    complexity_shift: float


@dataclass(frozen=True)
class Model:
    """Weights of one training."""

    telling: Telling
    dense: Array
    terms: Array

    def logits(self, items: Sequence[Read]) -> Array:
        """All outputs for rows: tasks, needs, complexity."""
        dense, sparse = arrays(items, self.telling)
        return dense @ self.dense + sparse.times(self.terms)

    def tasks(self, items: Sequence[Read]) -> list[str]:
        """The likeliest task of each row."""
        return [TASKS[best] for best in self.logits(items)[:, : len(TASKS)].argmax(axis=1)]

    def write(self, path: Path, calibration: Calibration) -> None:
        """Puts the scales of features into their weights, and all into one file."""
        vocabulary = self.telling.vocabulary
        header = Header(
            format=FORMAT,
            encoder=KIND,
            tasks=TASKS,
            width=vocabulary.width,
            dense_count=DENSE_COUNT,
            output_count=len(TASKS) + len(NEEDS) + 1,
            temperature=calibration.temperature,
            need_thresholds=calibration.need_thresholds,
            complexity_scale=calibration.complexity_scale,
            complexity_shift=calibration.complexity_shift,
        )
        dense = self.dense * DENSE_SCALES[:, None]
        terms = self.terms * term_scales(self.telling)[:, None]
        write(path, header, vocabulary, dense, terms)


def trained(items: Sequence[Read]) -> Model:
    """A model of rows."""
    telling = telling_terms(items)
    dense, sparse = arrays(items, telling)
    targets = targets_of(items)
    return Model(telling, *fit(dense, sparse, targets, penalty=PENALTY, steps=STEPS))
