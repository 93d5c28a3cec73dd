"""A fitted model: trained on some rows, asked about others, written into the package."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.analysis.features import DENSE_COUNT
from omni_grpc.routing.analysis.weights import FORMAT, Header, write
from omni_grpc.routing.learned import shared_encoder
from task_training.dataset import (
    NEEDS,
    TASKS,
    Read,
    Vocabulary,
    arrays,
    targets_of,
    vocabulary_of,
    word_scales,
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

    vocabulary: Vocabulary
    dense: Array
    words: Array

    def logits(self, items: Sequence[Read]) -> Array:
        """All outputs for rows: tasks, needs, complexity."""
        dense, sparse = arrays(items, self.vocabulary)
        return dense @ self.dense + sparse.times(self.words)

    def tasks(self, items: Sequence[Read]) -> list[str]:
        """The likeliest task of each row."""
        return [TASKS[best] for best in self.logits(items)[:, : len(TASKS)].argmax(axis=1)]

    def write(self, path: Path, calibration: Calibration) -> None:
        """Puts the scales of words into their weights, and all into one file."""
        header = Header(
            format=FORMAT,
            encoder=shared_encoder().kind,
            tasks=TASKS,
            vocabulary=tuple(self.vocabulary.places),
            dense_count=DENSE_COUNT,
            output_count=len(TASKS) + len(NEEDS) + 1,
            temperature=calibration.temperature,
            need_thresholds=calibration.need_thresholds,
            complexity_scale=calibration.complexity_scale,
            complexity_shift=calibration.complexity_shift,
        )
        words = self.words * word_scales(self.vocabulary)[:, None]
        write(path, header, self.dense, words)


def trained(items: Sequence[Read]) -> Model:
    """A model of rows."""
    vocabulary = vocabulary_of(items)
    dense, sparse = arrays(items, vocabulary)
    targets = targets_of(items)
    return Model(vocabulary, *fit(dense, sparse, targets, penalty=PENALTY, steps=STEPS))
