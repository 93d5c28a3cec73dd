"""All pools asked about one prompt: what each pool says of many, in the fewest steps for one.

On one prompt an array operation takes a microsecond whatever it does. So what the pools have alike
stands in one array, and what can be multiplied before is. Products are `dot`, which makes no
iterator as `@` does for arrays of any shape. Says what `Pool.read`, `Pool.qualities` and
`Pool.output_tokens` say, which training and evaluations ask.
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

_LENGTH_MIN: Final = 1e-9
_WIDTH: Final = FORM_COUNT + 1
"""Of a form with a one after it."""
_AWAY: Final = np.float32(math.exp(-LANDMARK_SHARPNESS))
"""What a landmark's kernel value is at a cosine of 0."""


def _bounds(most: float) -> tuple[Numbers, Numbers]:
    """Bounds of numbers as arrays, which numpy would make of them each time."""
    return np.array(-most, dtype=np.float32), np.array(most, dtype=np.float32)


_CLIP: Final = _bounds(FORM_CLIP)
_NOVEL_CLIP: Final = _bounds(NOVEL_FORM_CLIP)


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


class _Part:
    """What a pool has for itself, and where that stands.

    The coordinates of all pools are one row: of each its form and a one, then of each its regions
    and its landmarks, those that it knows first.

    Attributes:
        pool: the pool.
        form: where its form and the one stand in the row.
        regions, known, near: where its regions stand, the landmarks that it knows, and both with
            all other landmarks.
        axes: where its axes stand among those of all pools.
        landmarks: its landmarks by their places in the basis, in the order of the row.
        anchors: its regions and landmarks, times how sharply each falls off, `[axes, near]`.
        forms: of the squared distance to each known form what depends on both, and last what is
            the known form's alone, `[form and one, forms]`.
        distance_max: the square of how far the nearest of them may be.
        ones: a one for each region, since a product with them is quicker than a sum.
    """

    def __init__(self, pool: Pool, form: int, near: int, axis: int) -> None:
        """The last three are where its form, its regions and its axes begin."""
        self.pool = pool
        basis = pool.basis
        others = np.setdiff1d(np.arange(len(basis.landmarks)), pool.landmarks)
        self.landmarks = np.concatenate((pool.landmarks, others))
        self.form = slice(form, form + _WIDTH)
        self.regions = slice(near, near + len(basis.regions))
        self.known = slice(self.regions.stop, self.regions.stop + len(pool.landmarks))
        self.near = slice(near, self.regions.stop + len(self.landmarks))
        self.axes = slice(axis, axis + len(basis.axes))
        landmarks = basis.landmarks[self.landmarks]
        anchors = (REGION_SHARPNESS * basis.regions, LANDMARK_SHARPNESS * landmarks)
        self.anchors = np.ascontiguousarray(np.concatenate(anchors, dtype=np.float32).T)
        squares = np.vecdot(pool.forms, pool.forms)
        self.forms = np.ascontiguousarray(np.column_stack((-2.0 * pool.forms, squares)).T)
        self.distance_max = pool.form_distance_max**2
        self.ones = np.ones(len(basis.regions), dtype=np.float32)

    def in_row(self, heads: Numbers, width: int) -> Numbers:
        """Heads of the pool as they are for a row of so many coordinates, `[models, width]`.

        What the pool's own coordinates are multiplied by, and those of the row not, is in them.
        """
        placed = np.zeros((heads.shape[1], width), dtype=np.float32)
        one, after_regions = self.form.stop - 1, _WIDTH + len(self.ones)
        placed[:, one] = heads[0]
        placed[:, self.form.start : one] = FORM_SCALE * heads[1:_WIDTH].T
        placed[:, self.regions] = REGION_SCALE * heads[_WIDTH:after_regions].T
        placed[:, self.regions.stop : self.near.stop] = (
            _AWAY * heads[after_regions + self.landmarks].T
        )
        return placed


class Panel:
    """The pools, side by side. Immutable; threads may share it."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self._parts: list[_Part] = []
        self._forms_width = near = len(pools) * _WIDTH
        axis = 0
        for place, pool in enumerate(pools):
            part = _Part(pool, place * _WIDTH, near, axis)
            self._parts.append(part)
            near, axis = part.near.stop, part.axes.stop
        self._width = near
        self._form = np.zeros((FORM_COUNT, self._forms_width), dtype=np.float32)
        self._form_mean = np.full(self._forms_width, -1.0, dtype=np.float32)
        self._of_form = np.zeros((self._forms_width, axis), dtype=np.float32)
        self._matrix = np.concatenate([pool.basis.of_meaning[0] for pool in pools], axis=1)
        self._heads = np.concatenate(
            [part.in_row(part.pool.quality, self._width) for part in self._parts]
            + [part.in_row(part.pool.tokens, self._width) for part in self._parts]
        )
        for part in self._parts:
            basis, one = part.pool.basis, part.form.stop - 1
            form = slice(part.form.start, one)
            self._form[:, form], self._form_mean[form] = basis.of_form
            self._of_form[form, part.axes] = basis.of_bounded_form
            self._of_form[one, part.axes] = -basis.of_meaning[1]
        scales = np.log(np.concatenate([pool.tokens_scale for pool in pools], dtype=np.float64))
        self._models = len(scales)
        self._shift = np.concatenate((np.zeros(self._models), scales))
        most = np.minimum(LOG_TOKENS_MAX + scales, math.log(TOKENS_MAX))
        self._limits = (np.zeros(()), np.concatenate((np.ones(self._models), most)))

    def opinion(self, features: Features) -> Opinion:
        """What the pools say of a prompt."""
        form = features.form.dot(self._form)
        form -= self._form_mean
        row = np.empty(self._width, dtype=np.float32)
        forms, near = row[: self._forms_width], row[self._forms_width :]
        _bounded(form, _CLIP, forms)
        place = features.meaning.dot(self._matrix)
        place += forms.dot(self._of_form)
        nearest = []
        for part in self._parts:
            along = place[part.axes]
            along /= np.float32(max(math.sqrt(along.dot(along)), _LENGTH_MIN))
            along.dot(part.anchors, out=row[part.near])
            known = row[part.known]
            nearest.append(float(known[known.argmax()]) / LANDMARK_SHARPNESS)
        np.exp(near, out=near)
        for part in self._parts:
            regions = row[part.regions]
            regions /= regions.dot(part.ones)
        # Chances, and logarithms of tokens: 0 is the least of both.
        said = self._heads.dot(row).astype(np.float64)
        said += self._shift
        _bounded(said, self._limits, said)
        chances, tokens = said[: self._models], said[self._models :]
        np.exp(tokens, out=tokens)
        _bounded(form, _NOVEL_CLIP, form)
        unlike, caution = [], []
        for part, likeness in zip(self._parts, nearest, strict=True):
            pool = part.pool
            unlike.append(
                likeness < pool.likeness_min
                or _distance(form[part.form], part.forms) > part.distance_max
            )
            caution.append(pool.caution * max(pool.likeness_known - likeness, 0.0))
        return Opinion(chances, tokens, unlike, caution)


def _distance(form: Numbers, forms: Numbers) -> float:
    """The square of how far the nearest of some forms is: see `Pool.form_distances`.

    `form` ends with a one; `forms` are those of a part.
    """
    distances = form.dot(forms)
    return float(distances[distances.argmin()]) + float(form.dot(form)) - 1.0


def _bounded(numbers: Some, bounds: tuple[Some, Some], out: Some) -> None:
    """Clips numbers: what `clip` does, in less time on a few."""
    np.maximum(numbers, bounds[0], out=out)
    np.minimum(out, bounds[1], out=out)
