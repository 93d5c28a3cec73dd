"""Prompts of all pools, read once: features in two ways of writing, near duplicates, folds."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.evaluation.basis_training import SEED, Places, Seen
from omni_grpc.evaluation.data import Flags, PoolData
from omni_grpc.evaluation.training import FINE_FOLDS
from omni_grpc.evaluation.wrappers import TRAINING, rewritten
from omni_grpc.routing.learned.basis import Numbers, Stack
from omni_grpc.routing.learned.encoder import Encoder
from omni_grpc.routing.learned.features import Features, read_features

DUPLICATE_LIKENESS: Final = 0.97
"""Prompts whose vectors are nearer than this are one question; they stay in one fold."""

REWRITINGS: Final = 3
"""In how many other wrappers each prompt is seen."""

_CHUNK: Final = 2_000

Progress = Callable[[str], None]


class Library(msgspec.Struct, frozen=True):
    """All prompts of some pools, each once.

    Attributes:
        seen: their features.
        folds: by prompt, `FINE_FOLDS` of them.
        place_of: where each prompt is.
    """

    seen: Seen
    folds: Places
    place_of: dict[str, int]

    def places(self, data: PoolData) -> Places:
        """Where a pool's prompts are."""
        return np.array([self.place_of[row.prompt] for row in data.rows], dtype=np.intp)

    def without(self, prompts: set[str]) -> NDArray[np.intp]:
        """The places of all prompts but some."""
        kept = [place for prompt, place in self.place_of.items() if prompt not in prompts]
        return np.array(kept, dtype=np.intp)


def read_library(pools: Sequence[PoolData], encoder: Encoder, progress: Progress) -> Library:
    """Reads the prompts of pools."""
    place_of: dict[str, int] = {}
    for pool in pools:
        for row in pool.rows:
            place_of.setdefault(row.prompt, len(place_of))
    plain: list[Features] = []
    other: list[list[Features]] = [[] for _ in range(REWRITINGS)]
    for number, prompt in enumerate(place_of):
        if number % _CHUNK == 0:
            progress(f"reading prompts: {number:,} of {len(place_of):,}")
        plain.append(read_features(prompt, encoder))
        for seed, one in enumerate(other):
            one.append(read_features(rewritten(prompt, TRAINING, seed), encoder))
    seen = Seen(Stack.of(plain), tuple(Stack.of(one) for one in other))
    return Library(seen, _folds(seen.plain.whole), place_of)


def _folds(vectors: Numbers) -> Places:
    """Near duplicates get one fold; the folds are drawn once, with a seed."""
    leader = np.arange(len(vectors))

    def first(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = int(leader[place])
        return place

    for start in range(0, len(vectors), _CHUNK):
        near: Flags = vectors[start : start + _CHUNK] @ vectors.T > DUPLICATE_LIKENESS
        for row, column in zip(*np.nonzero(near), strict=True):
            one, two = first(start + int(row)), first(int(column))
            leader[max(one, two)] = min(one, two)
    groups = np.array([first(place) for place in range(len(vectors))])
    names, inverse = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(SEED).integers(0, FINE_FOLDS, len(names))
    folds: Places = drawn[inverse]
    return folds
