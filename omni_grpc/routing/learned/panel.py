"""All pools asked about one prompt: what each pool says of many, said by all of them at once.

On one prompt an array operation takes a microsecond whatever it does. So what the pools have alike
stands in one array, each step is taken once and not once a pool, and what can be multiplied before
is. Says what `Pool.read`, `Pool.qualities` and `Pool.output_tokens` say, which training and
evaluations ask.
"""

from collections.abc import Sequence
from typing import Final

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

_FORM_IN_HEADS: Final = np.float32(FORM_SCALE)
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
    unlike: list[bool]
    caution: list[float]


class _Anchors:
    """What a pool compares prompts with: its regions, its landmarks, those it knows first."""

    def __init__(self, pool: Pool, start: int) -> None:
        """`start` is where they begin among those of all pools."""
        basis, known = pool.basis, pool.landmarks
        regions = len(basis.regions)
        others = np.setdiff1d(np.arange(len(basis.landmarks)), known)
        order = np.concatenate((known, others))
        self.rows = np.concatenate((basis.regions, basis.landmarks[order]))
        self.all = slice(start, start + len(self.rows))
        self.regions = slice(start, start + regions)
        self.known = slice(start + regions, start + regions + len(known))
        plain = 1 + FORM_COUNT
        self.coordinates = np.concatenate(
            (np.arange(plain, plain + regions), plain + regions + order)
        )
        """Where their values stand among the pool's coordinates."""
        self.sharpness = np.full(len(self.rows), LANDMARK_SHARPNESS, dtype=np.float32)
        self.sharpness[:regions] = REGION_SHARPNESS


class Panel:
    """The pools, side by side. Immutable; threads may share it."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        bases = [pool.basis for pool in pools]
        self._pools = [
            (one.likeness_min, one.likeness_known, one.form_distance_max**2, one.caution)
            for one in pools
        ]
        self._form_matrix = np.concatenate([basis.of_form[0] for basis in bases], axis=1)
        self._form_mean = np.stack([basis.of_form[1] for basis in bases])
        self._matrix = np.concatenate([basis.of_meaning[0] for basis in bases], axis=1)
        self._mean = np.stack([basis.of_meaning[1] for basis in bases])
        self._bounded_form = np.stack([basis.of_bounded_form for basis in bases])
        self._anchors: list[_Anchors] = []
        for pool in pools:
            start = self._anchors[-1].all.stop if self._anchors else 0
            self._anchors.append(_Anchors(pool, start))
        self._sharpness = np.concatenate([one.sharpness for one in self._anchors])
        least = self._sharpness.copy()
        for one in self._anchors:
            least[one.regions] = 0.0
        self._least = least
        forms = max(len(pool.forms) for pool in pools)
        # Of the squared distance what depends on both: a pool with fewer has its last more often.
        padded = [np.pad(one.forms, ((0, forms - len(one.forms)), (0, 0)), "edge") for one in pools]
        self._forms = np.stack([-2.0 * one for one in padded])
        self._form_squares = np.stack([np.vecdot(one, one) for one in padded])
        self._heads = self._side_by_side(pools)
        self._tokens_scale = np.concatenate([pool.tokens_scale for pool in pools])

    def opinion(self, features: Features) -> Opinion:
        """What the pools say of a prompt."""
        form = (features.form @ self._form_matrix).reshape(self._form_mean.shape) - self._form_mean
        bounded = form.clip(-FORM_CLIP, FORM_CLIP)
        place = self._place(features, bounded)
        coordinates = np.empty(len(self._heads), dtype=np.float32)
        coordinates[0] = 1.0
        forms = 1 + form.size
        np.multiply(bounded, _FORM_IN_HEADS, out=coordinates[1:forms].reshape(form.shape))
        near = coordinates[forms:]
        for one, where in zip(self._anchors, place, strict=True):
            np.matmul(one.rows, where, out=near[one.all])
        nearest = [float(near[one.known].max()) for one in self._anchors]
        near *= self._sharpness
        near -= self._least
        np.exp(near, out=near)
        for one in self._anchors:
            regions = near[one.regions]
            regions *= REGION_SCALE / regions.sum()
        said = coordinates @ self._heads
        models = len(self._tokens_scale)
        tokens = np.exp(np.minimum(said[models:], LOG_TOKENS_MAX)) * self._tokens_scale
        facts = list(zip(self._pools, nearest, self._distances(form), strict=True))
        return Opinion(
            said[:models].clip(0.0, 1.0),
            tokens.clip(1.0, TOKENS_MAX),
            [
                likeness < likeness_min or distance > distance_max
                for (likeness_min, _, distance_max, _), likeness, distance in facts
            ],
            [caution * max(known - likeness, 0.0) for (_, known, _, caution), likeness, _ in facts],
        )

    def _place(self, features: Features, bounded: Numbers) -> Numbers:
        """Where the prompt stands for each pool, `[pools, n]`: see `Basis.place`."""
        place: Numbers = (features.meaning @ self._matrix).reshape(self._mean.shape)
        place -= self._mean
        place += np.matmul(bounded[:, None], self._bounded_form)[:, 0]
        place /= np.maximum(np.sqrt(np.vecdot(place, place)), _LENGTH_MIN)[:, None]
        return place

    def _distances(self, form: Numbers) -> list[float]:
        """By pool, the square of how far the nearest of its forms is: see `Pool.form_distances`."""
        form = form.clip(-NOVEL_FORM_CLIP, NOVEL_FORM_CLIP)
        squares = np.matmul(self._forms, form[:, :, None])[:, :, 0]
        squares += self._form_squares
        nearest: list[float] = (squares.min(axis=1) + np.vecdot(form, form)).tolist()
        return nearest

    def _side_by_side(self, pools: Sequence[Pool]) -> Numbers:
        """All heads for all coordinates: of quality, then of tokens; zeros for other pools.

        Coordinates are a one, the forms of all pools, and what each pool compares prompts with.
        """
        models = sum(len(pool.models) for pool in pools)
        after_forms, column = 1 + len(pools) * FORM_COUNT, 0
        heads = np.zeros((after_forms + len(self._sharpness), 2 * models), dtype=np.float32)
        for at, (pool, anchors) in enumerate(zip(pools, self._anchors, strict=True)):
            theirs = np.concatenate((np.arange(1 + FORM_COUNT), anchors.coordinates))
            own = [0, *range(1 + FORM_COUNT * at, 1 + FORM_COUNT * (at + 1))]
            own += range(after_forms + anchors.all.start, after_forms + anchors.all.stop)
            columns = np.arange(column, column + len(pool.models))
            heads[np.ix_(own, columns)] = pool.quality[theirs]
            heads[np.ix_(own, models + columns)] = pool.tokens[theirs]
            column += len(pool.models)
        return heads
