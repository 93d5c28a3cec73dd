"""What was learned from one pool: prompts that each of a few models answered, and was graded on.

A pool predicts for its own models alone, on a basis of its own prompts, and says how unlike those
a prompt is.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned.basis import Basis, Numbers, Stack
from omni_grpc.routing.learned.features import Features

TOKENS_MAX: Final = 8_192
"""Output tokens that are predicted at most."""


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


class Pool(PoolFacts, frozen=True, kw_only=True):
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
        place = self.basis.place(features)
        likeness = self.basis.likeness(place)
        nearest = likeness[..., self.landmarks].max(axis=-1)
        return Reading(
            self.basis.coordinates(features, place, likeness),
            self._unlike(nearest, self.basis.form_place(features)),
            self.caution * np.maximum(self.likeness_known - nearest, 0.0),
        )

    def qualities(self, coordinates: Numbers) -> Numbers:
        """The predicted chances by model, `[..., models]`, 0 to 1."""
        clipped: Numbers = np.clip(coordinates @ self.quality, 0.0, 1.0)
        return clipped

    def output_tokens(self, coordinates: Numbers) -> Numbers:
        """The expected output tokens by model, `[..., models]`."""
        raw = np.exp(np.minimum(coordinates @ self.tokens, np.log(TOKENS_MAX)))
        scaled: Numbers = np.clip(raw * self.tokens_scale, 1.0, TOKENS_MAX)
        return scaled

    def _unlike(self, nearest: Numbers, form_place: Numbers) -> NDArray[np.bool_]:
        """Whether prompts are unlike this pool's, in meaning or in form: `[...]`."""
        squares = (
            (form_place * form_place).sum(axis=-1, keepdims=True)
            + (self.forms * self.forms).sum(axis=-1)
            - 2.0 * (form_place @ self.forms.T)
        )
        distance = np.sqrt(np.maximum(squares.min(axis=-1), 0.0))
        far: NDArray[np.bool_] = (nearest < self.likeness_min) | (distance > self.form_distance_max)
        return far
