"""All pools asked about one prompt: what each pool says of many, said by all of them at once.

On one prompt an array operation takes a microsecond whatever it does. So what the pools have alike
stands in one array, and each step is taken once and not once a pool. Says what `Pool.read`,
`Pool.qualities` and `Pool.output_tokens` say, which training and evaluations ask.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned.basis import (
    FORM_CLIP,
    FORM_SCALE,
    FORM_WEIGHT,
    LANDMARK_SHARPNESS,
    NOVEL_FORM_CLIP,
    REGION_SCALE,
    REGION_SHARPNESS,
    Numbers,
)
from omni_grpc.routing.learned.encoder import DIMENSIONS
from omni_grpc.routing.learned.features import FORM_COUNT, Features
from omni_grpc.routing.learned.heads import LOG_TOKENS_MAX, TOKENS_MAX, Pool

_MEANINGS: Final = 2 * DIMENSIONS
_FORM_IN_PLACE: Final = np.float32(FORM_WEIGHT / FORM_COUNT**0.5)
_FORM_IN_HEADS: Final = np.float32(FORM_SCALE)
_ONE: Final = np.ones(1, dtype=np.float32)
_LENGTH_MIN: Final = np.float32(1e-9)


class Opinion(msgspec.Struct, frozen=True):
    """What all pools say of a prompt.

    Attributes:
        chances: by head, of a good answer; the heads of all pools stand in one row.
        tokens: by head, of output.
        unlike: by pool, whether the prompt is unlike all that it knows.
        caution: by pool, what the prompt is to be doubted for besides.
    """

    chances: Numbers
    tokens: Numbers
    unlike: NDArray[np.bool_]
    caution: Numbers


class Panel:
    """The pools, side by side. Immutable; threads may share it."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        bases = [pool.basis for pool in pools]
        self._count = len(pools)
        self._form_matrix = np.concatenate([basis.of_form[0] for basis in bases], axis=1)
        self._form_mean = np.stack([basis.of_form[1] for basis in bases])
        self._mean = np.stack([basis.of_meaning[0] for basis in bases])
        self._habits = _stacked([basis.of_meaning[1] for basis in bases])
        # Coordinates are a one, the forms, the regions and the landmarks, each of all pools.
        regions, landmarks = [one.regions for one in bases], [one.landmarks for one in bases]
        self._anchors = [
            (pool, slice(start, start + len(rows)), rows)
            for (pool, rows), start in zip(
                [*enumerate(regions), *enumerate(landmarks)],
                _starts([*regions, *landmarks]),
                strict=True,
            )
        ]
        self._regions = sum(map(len, regions))
        self._region_starts = _starts(regions)
        self._region_counts = [len(one) for one in regions]
        cosines = self._regions + sum(map(len, landmarks))
        sharpness = np.full(cosines, LANDMARK_SHARPNESS, dtype=np.float32)
        sharpness[: self._regions] = REGION_SHARPNESS
        self._sharpness = sharpness
        self._least = sharpness * (np.arange(cosines) >= self._regions)
        known = [pool.landmarks for pool in pools]
        offsets = self._regions + np.array(_starts(landmarks))
        self._known = np.concatenate([one + at for one, at in zip(known, offsets, strict=True)])
        self._known_starts = _starts(known)
        forms = [pool.forms for pool in pools]
        self._forms = [
            (slice(start, start + len(rows)), rows)
            for rows, start in zip(forms, _starts(forms), strict=True)
        ]
        self._form_starts = _starts(forms)
        self._form_squares = np.concatenate([np.vecdot(one, one) for one in forms])
        self._heads = self._side_by_side(pools)
        self._tokens_scale = np.concatenate([pool.tokens_scale for pool in pools])
        self._likeness_min = _floats([pool.likeness_min for pool in pools])
        self._likeness_known = _floats([pool.likeness_known for pool in pools])
        self._form_distance_max = _floats([pool.form_distance_max for pool in pools])
        self._caution = _floats([pool.caution for pool in pools])

    def opinion(self, features: Features) -> Opinion:
        """What the pools say of a prompt."""
        form = (features.form @ self._form_matrix).reshape(self._count, -1) - self._form_mean
        bounded = form.clip(-FORM_CLIP, FORM_CLIP)
        place = self._place(features, bounded)
        cosines = np.empty(len(self._sharpness), dtype=np.float32)
        for pool, where, rows in self._anchors:
            np.matmul(rows, place[pool], out=cosines[where])
        near = np.exp(cosines * self._sharpness - self._least)
        shares = REGION_SCALE / np.add.reduceat(near[: self._regions], self._region_starts)
        near[: self._regions] *= shares.repeat(self._region_counts)
        coordinates = np.concatenate((_ONE, bounded.ravel() * _FORM_IN_HEADS, near))
        said = coordinates @ self._heads
        models = len(self._tokens_scale)
        nearest = np.maximum.reduceat(cosines.take(self._known), self._known_starts)
        return Opinion(
            said[:models].clip(0.0, 1.0),
            (np.exp(np.minimum(said[models:], LOG_TOKENS_MAX)) * self._tokens_scale).clip(
                1.0, TOKENS_MAX
            ),
            (nearest < self._likeness_min) | (self._distances(form) > self._form_distance_max),
            self._caution * np.maximum(self._likeness_known - nearest, 0.0),
        )

    def _place(self, features: Features, bounded: Numbers) -> Numbers:
        """Where the prompt stands for each pool, `[pools, n]`: see `Basis.place`."""
        moved = features.meaning - self._mean
        along = np.matmul(self._habits, moved[:, :, None])
        moved -= np.matmul(along.mT, self._habits)[:, 0]
        place = np.empty((self._count, _MEANINGS + FORM_COUNT), dtype=np.float32)
        both = moved.reshape(self._count, 2, DIMENSIONS)
        place[:, :_MEANINGS] = (both / _lengths(both)).reshape(self._count, _MEANINGS)
        np.multiply(bounded, _FORM_IN_PLACE, out=place[:, _MEANINGS:])
        place /= _lengths(place)
        return place

    def _distances(self, form: Numbers) -> Numbers:
        """By pool, how far the nearest of its forms is: see `Pool.form_distances`."""
        form = form.clip(-NOVEL_FORM_CLIP, NOVEL_FORM_CLIP)
        products = np.empty(len(self._form_squares), dtype=np.float32)
        for one, (where, rows) in zip(form, self._forms, strict=True):
            np.matmul(rows, one, out=products[where])
        nearest = np.minimum.reduceat(self._form_squares - 2.0 * products, self._form_starts)
        distances: Numbers = np.sqrt(np.maximum(nearest + np.vecdot(form, form), 0.0))
        return distances

    def _side_by_side(self, pools: Sequence[Pool]) -> Numbers:
        """All heads for all coordinates: of quality, then of tokens; zeros for other pools."""
        models = sum(len(pool.models) for pool in pools)
        rows = 1 + self._count * FORM_COUNT + len(self._sharpness)
        heads = np.zeros((rows, 2 * models), dtype=np.float32)
        after_forms, column = 1 + self._count * FORM_COUNT, 0
        for at, pool in enumerate(pools):
            own = [0, *range(1 + FORM_COUNT * at, 1 + FORM_COUNT * (at + 1))]
            for owner, where, _ in self._anchors:
                if owner == at:
                    own += range(after_forms + where.start, after_forms + where.stop)
            columns = np.arange(column, column + len(pool.models))
            heads[np.ix_(own, columns)] = pool.quality
            heads[np.ix_(own, models + columns)] = pool.tokens
            column += len(pool.models)
        return heads


def _lengths(vectors: Numbers) -> Numbers:
    lengths: Numbers = np.maximum(np.sqrt(np.vecdot(vectors, vectors)), _LENGTH_MIN)
    return lengths[..., None]


def _starts(arrays: Sequence[NDArray[np.generic]]) -> list[int]:
    """Where each of some arrays begins when they stand one after the other."""
    return [sum(map(len, arrays[:at])) for at in range(len(arrays))]


def _stacked(habits: Sequence[Numbers]) -> Numbers:
    """Directions of all pools, `[pools, n, DIMENSIONS * 2]`; zeros where a pool has fewer."""
    stacked = np.zeros((len(habits), max(map(len, habits)), _MEANINGS), dtype=np.float32)
    for at, one in enumerate(habits):
        stacked[at, : len(one)] = one
    return stacked


def _floats(values: Sequence[float]) -> Numbers:
    return np.array(values, dtype=np.float32)
