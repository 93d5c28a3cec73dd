"""What was learned from one pool: prompts that each of a few models answered, and was graded on.

A pool predicts for its own models alone, on a basis of its own prompts, and says how unlike those
a prompt is.
"""

import math
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned.basis import NOVEL_FORM_CLIP, Basis, Numbers, Stack
from omni_grpc.routing.learned.features import Features

TOKENS_MAX: Final = 8_192
"""Output tokens that are predicted at most."""

LOG_TOKENS_MAX: Final = np.float32(math.log(TOKENS_MAX))


class Prediction(msgspec.Struct, frozen=True):
    """How likely a model does a prompt well.

    Attributes:
        mean: 0 to 1.
        lower: what may be counted on, at most `mean`: lower where less is known.
    """

    mean: float
    lower: float

    @property
    def doubt(self) -> float:
        """How much of `mean` may not be counted on."""
        return self.mean - self.lower


class PoolFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a pool besides its arrays.

    Attributes:
        name: of the pool.
        models: its models, by the names of its files.
        premium: the place of the premium model in `models`.
        typical_tokens: prompt and output tokens of the premium model on a typical prompt.
        cost_weight: what all of the typical cost weighs against quality from 0 to 1, as trained.
        likeness_min: prompts with no landmark as near as this are unlike the pool's.
        form_distance_max: prompts with no form as near as this are unlike the pool's.
        doubt: what a prediction may be off by, on average over a kind of prompts.
        likeness_known: prompts with a landmark as near as this are known.
        caution: for prompts that are less known, what a prediction may be off by besides, for each
            1 that their nearest landmark is farther away.
    """

    name: str
    models: tuple[str, ...]
    premium: int
    typical_tokens: tuple[float, float]
    cost_weight: float
    likeness_min: float
    form_distance_max: float
    doubt: float
    likeness_known: float
    caution: float


class Reading(msgspec.Struct, frozen=True):
    """Prompts as a pool sees them.

    Attributes:
        coordinates: what its heads are linear in, `[..., n]`.
        unlike: whether they are unlike all that it knows, `[...]`.
        caution: what they are to be doubted for besides, where they are little known, `[...]`.
    """

    coordinates: Numbers
    unlike: NDArray[np.bool_]
    caution: Numbers


class Pool(PoolFacts, frozen=True, kw_only=True, dict=True):
    """The heads of one pool.

    Attributes:
        basis: the coordinates in which the heads are linear.
        quality: `float32[coordinates, models]`.
        tokens: of the logarithm of output tokens, the same shape.
        tokens_scale: by model, what the exponential is multiplied by: its mean then is right.
        mean_quality: by model, over the pool.
        landmarks: places of those landmarks that stand for prompts of this pool.
        forms: forms that the pool's prompts have, `float32[forms, FORM_COUNT]`.
    """

    basis: Basis
    quality: Numbers
    tokens: Numbers
    tokens_scale: Numbers
    mean_quality: Numbers
    landmarks: NDArray[np.int32]
    forms: Numbers

    def read(self, features: Features | Stack) -> Reading:
        """Reads prompts."""
        basis = self.basis
        form = basis.form(features)
        place = basis.place(features, form)
        likeness = basis.likeness(place)
        nearest = likeness.take(self.landmarks, axis=-1).max(axis=-1)
        return Reading(
            basis.coordinates(form, place, likeness),
            (nearest < self.likeness_min) | (self.form_distances(form) > self.form_distance_max),
            self.caution * np.maximum(self.likeness_known - nearest, 0.0),
        )

    def qualities(self, coordinates: Numbers) -> Numbers:
        """The predicted chances by model, `[..., models]`, 0 to 1."""
        clipped: Numbers = (coordinates @ self.quality).clip(0.0, 1.0)
        return clipped

    def output_tokens(self, coordinates: Numbers) -> Numbers:
        """The expected output tokens by model, `[..., models]`."""
        raw = np.exp(np.minimum(coordinates @ self.tokens, LOG_TOKENS_MAX))
        scaled: Numbers = (raw * self.tokens_scale).clip(1.0, TOKENS_MAX)
        return scaled

    def form_distances(self, form: Numbers) -> Numbers:
        """How far the nearest of the known forms is, `[...]`."""
        form = form.clip(-NOVEL_FORM_CLIP, NOVEL_FORM_CLIP)
        nearest = (self._form_squares - 2.0 * (form @ self.forms.T)).min(axis=-1)
        distances: Numbers = np.sqrt(np.maximum(nearest + np.vecdot(form, form), 0.0))
        return distances

    @cached_property
    def _form_squares(self) -> Numbers:
        squares: Numbers = np.vecdot(self.forms, self.forms)
        return squares
