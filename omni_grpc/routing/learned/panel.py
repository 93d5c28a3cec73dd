"""All pools asked about one prompt: what each pool says of many, said by all of them at once.

On one prompt an array operation takes a microsecond whatever it does. So what the pools have alike
stands in one array, each step is taken once and not once a pool, and what can be multiplied before
is. Says what `Pool.read`, `Pool.qualities` and `Pool.output_tokens` say, which training and
evaluations ask.
"""

import math
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
import numpy as np

from omni_grpc.routing.learned.basis import (
    FORM_CLIP,
    FORM_SCALE,
    LANDMARK_SHARPNESS,
    NOVEL_FORM_CLIP,
    REGION_SCALE,
    REGION_SHARPNESS,
    Numbers,
)
from omni_grpc.routing.learned.features import FORM_COUNT, Features
from omni_grpc.routing.learned.heads import LOG_TOKENS_MAX, TOKENS_MAX, Pool
from omni_grpc.routing.learned.ratings import Amounts

Some = TypeVar("Some", Numbers, Amounts)

_LENGTH_MIN: Final = np.float32(1e-9)
_CLIP: Final = (np.float32(-FORM_CLIP), np.float32(FORM_CLIP))
_NOVEL_CLIP: Final = (np.float32(-NOVEL_FORM_CLIP), np.float32(NOVEL_FORM_CLIP))
_TOKENS: Final = (1.0, float(TOKENS_MAX))
_CHANCE: Final = (0.0, 1.0)
_AWAY: Final = np.float32(math.exp(-LANDMARK_SHARPNESS))
"""What a landmark's kernel value is at a cosine of 0."""


class Opinion(msgspec.Struct, frozen=True):
    """What all pools say of a prompt.

    Attributes:
        chances: by head, of a good answer, `float64`; the heads of all pools stand in one row.
        tokens: by head, of output, likewise.
        unlike: by pool, whether the prompt is unlike all that it knows.
        caution: by pool, what the prompt is to be doubted for besides.
    """

    chances: Amounts
    tokens: Amounts
    unlike: list[bool]
    caution: list[float]


class _Anchors:
    """What a pool compares prompts with: its regions, its landmarks, those it knows first.

    Attributes:
        rows: their places, times how sharply each falls off, `[axes, regions and landmarks]`.
        all, regions, known: where all of them, the regions and the known landmarks stand among
            those of all pools.
        coordinates: where their values stand among the pool's coordinates.
    """

    def __init__(self, pool: Pool, start: int) -> None:
        """`start` is where they begin among those of all pools."""
        basis, known = pool.basis, pool.landmarks
        regions = len(basis.regions)
        others = np.setdiff1d(np.arange(len(basis.landmarks)), known)
        order = np.concatenate((known, others))
        rows = (REGION_SHARPNESS * basis.regions, LANDMARK_SHARPNESS * basis.landmarks[order])
        self.rows = np.ascontiguousarray(np.concatenate(rows, dtype=np.float32).T)
        self.all = slice(start, start + regions + len(order))
        self.regions = slice(start, start + regions)
        self.known = slice(start + regions, start + regions + len(known))
        plain = 1 + FORM_COUNT
        self.coordinates = np.concatenate(
            (np.arange(plain, plain + regions), plain + regions + order)
        )


class Panel:
    """The pools, side by side. Immutable; threads may share it."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        bases = [pool.basis for pool in pools]
        self._pools = [
            (one.likeness_min, one.likeness_known, one.form_distance_max**2, one.caution)
            for one in pools
        ]
        self._form = np.concatenate([basis.of_form[0] for basis in bases], axis=1)
        self._form_mean = np.concatenate([basis.of_form[1] for basis in bases])
        self._matrix = np.concatenate([basis.of_meaning[0] for basis in bases], axis=1)
        self._of_form = self._form_along([basis.of_bounded_form for basis in bases])
        self._of_form[0] = -np.concatenate([basis.of_meaning[1] for basis in bases])
        self._anchors: list[_Anchors] = []
        for pool in pools:
            start = self._anchors[-1].all.stop if self._anchors else 0
            self._anchors.append(_Anchors(pool, start))
        forms = max(len(pool.forms) for pool in pools)
        # Of the squared distance what depends on both, and then what is the known form's alone; a
        # pool with fewer forms has its last more often.
        padded = [np.pad(one.forms, ((0, forms - len(one.forms)), (0, 0)), "edge") for one in pools]
        self._forms = np.stack(
            [np.column_stack((-2.0 * one, np.vecdot(one, one))).T for one in padded]
        )
        self._heads = np.ascontiguousarray(self._side_by_side(pools).T)
        self._tokens_scale = np.concatenate([pool.tokens_scale for pool in pools])

    def opinion(self, features: Features) -> Opinion:
        """What the pools say of a prompt."""
        form = features.form @ self._form
        form -= self._form_mean
        coordinates = np.empty(self._heads.shape[1], dtype=np.float32)
        coordinates[0] = 1.0
        forms = coordinates[: 1 + len(form)]
        _bounded(form, _CLIP, forms[1:])
        place = features.meaning @ self._matrix
        place += forms @ self._of_form
        near = coordinates[len(forms) :]
        pools = len(self._pools)
        for one, along in zip(self._anchors, place.reshape(pools, -1), strict=True):
            unit = along / max(math.sqrt(along @ along), _LENGTH_MIN)
            np.matmul(unit, one.rows, out=near[one.all])
        nearest = [
            float(np.maximum.reduce(near[one.known])) / LANDMARK_SHARPNESS for one in self._anchors
        ]
        np.exp(near, out=near)
        for one in self._anchors:
            regions = near[one.regions]
            regions *= REGION_SCALE / np.add.reduce(regions)
        said = (self._heads @ coordinates).astype(np.float64)
        models = len(self._tokens_scale)
        chances, tokens = said[:models], said[models:]
        _bounded(chances, _CHANCE, chances)
        np.minimum(tokens, LOG_TOKENS_MAX, out=tokens)
        np.exp(tokens, out=tokens)
        tokens *= self._tokens_scale
        _bounded(tokens, _TOKENS, tokens)
        facts = list(zip(self._pools, nearest, self._distances(form), strict=True))
        return Opinion(
            chances,
            tokens,
            [
                likeness < likeness_min or distance > distance_max
                for (likeness_min, _, distance_max, _), likeness, distance in facts
            ],
            [caution * max(known - likeness, 0.0) for (_, known, _, caution), likeness, _ in facts],
        )

    def _distances(self, form: Numbers) -> list[float]:
        """By pool, the square of how far the nearest of its forms is: see `Pool.form_distances`."""
        ending = np.ones((len(self._pools), 1, FORM_COUNT + 1), dtype=np.float32)
        own = ending[:, 0, :-1]
        _bounded(form.reshape(own.shape), _NOVEL_CLIP, own)
        nearest = np.minimum.reduce((ending @ self._forms)[:, 0], axis=1)
        nearest += np.vecdot(own, own)
        found: list[float] = nearest.tolist()
        return found

    def _form_along(self, matrices: Sequence[Numbers]) -> Numbers:
        """What brings a one and the bounded forms of all pools along the axes of each."""
        axes = [matrix.shape[1] for matrix in matrices]
        whole = np.zeros((1 + len(matrices) * FORM_COUNT, sum(axes)), dtype=np.float32)
        for at, matrix in enumerate(matrices):
            start = 1 + at * FORM_COUNT
            column = sum(axes[:at])
            whole[start : start + FORM_COUNT, column : column + axes[at]] = matrix
        return whole

    def _side_by_side(self, pools: Sequence[Pool]) -> Numbers:
        """All heads for all coordinates: of quality, then of tokens; zeros for other pools.

        Coordinates are a one, the forms of all pools, and what each pool compares prompts with;
        what those are multiplied by in a pool's own coordinates is in the heads here.
        """
        models = sum(len(pool.models) for pool in pools)
        after_forms, column = 1 + len(pools) * FORM_COUNT, 0
        rows = after_forms + self._anchors[-1].all.stop
        heads = np.zeros((rows, 2 * models), dtype=np.float32)
        for at, (pool, anchors) in enumerate(zip(pools, self._anchors, strict=True)):
            theirs = np.concatenate((np.arange(1 + FORM_COUNT), anchors.coordinates))
            own = [0, *range(1 + FORM_COUNT * at, 1 + FORM_COUNT * (at + 1))]
            own += range(after_forms + anchors.all.start, after_forms + anchors.all.stop)
            scales = np.ones((len(own), 1), dtype=np.float32)
            scales[1 : 1 + FORM_COUNT] = FORM_SCALE
            scales[1 + FORM_COUNT + len(pool.basis.regions) :] = _AWAY
            columns = np.arange(column, column + len(pool.models))
            heads[np.ix_(own, columns)] = pool.quality[theirs] * scales
            heads[np.ix_(own, models + columns)] = pool.tokens[theirs] * scales
            column += len(pool.models)
        return heads


def _bounded(
    numbers: Some, bounds: tuple[float, float] | tuple[np.float32, np.float32], out: Some
) -> None:
    """Clips numbers: what `clip` does, in less time on a few."""
    np.maximum(numbers, bounds[0], out=out)
    np.minimum(out, bounds[1], out=out)
