"""The coordinates in which prompts are compared: regions, landmarks, and form.

A prompt's place is how near it lies to a few hundred landmarks, prompts' centres that training
found; heads are linear in that. The distances to them also say how unlike anything known it is.
All functions take one prompt or many at once: shapes below are `[..., n]`.
"""

from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned.features import Features

Numbers: TypeAlias = NDArray[np.float32]

FORM_CLIP: Final = 3.0
"""Standard deviations of form beyond which more does not count for the place."""

NOVEL_FORM_CLIP: Final = 6.0
"""The same for the question how unlike the known forms it is."""

FORM_WEIGHT: Final = 1.2
REGION_SHARPNESS: Final = 8.0
REGION_SCALE: Final = 2.0
LANDMARK_SHARPNESS: Final = 4.0
FORM_SCALE: Final = 0.05


class Stack(msgspec.Struct, frozen=True):
    """The features of many prompts: each field as in `Features`, with a leading axis."""

    whole: Numbers
    stem: Numbers
    form: Numbers

    @classmethod
    def of(cls, features: list[Features]) -> "Stack":
        """Stacks features, in order."""
        return cls(
            np.stack([one.whole for one in features]),
            np.stack([one.stem for one in features]),
            np.stack([one.form for one in features]),
        )

    def rows(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> "Stack":
        """Some of the prompts."""
        return Stack(self.whole[index], self.stem[index], self.form[index])


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """What training found about prompts as such, without looking at any outcome.

    Habits are the directions in which a prompt moves when the same question is put in another
    wrapper; what lies along them is taken off, since it says nothing about the question.
    """

    whole_mean: Numbers
    stem_mean: Numbers
    form_mean: Numbers
    form_deviation: Numbers
    whole_habits: Numbers
    stem_habits: Numbers
    form_habits: Numbers
    regions: Numbers
    landmarks: Numbers

    def place(self, features: Features | Stack) -> Numbers:
        """Unit vectors of both meanings and the form together."""
        form = np.clip(self._form(features), -FORM_CLIP, FORM_CLIP)
        parts = (
            _units(_without(features.whole - self.whole_mean, self.whole_habits)),
            _units(_without(features.stem - self.stem_mean, self.stem_habits)),
            form * (FORM_WEIGHT / form.shape[-1] ** 0.5),
        )
        return _units(np.concatenate(parts, axis=-1))

    def likeness(self, place: Numbers) -> Numbers:
        """Cosines with the landmarks, `[..., landmarks]`."""
        cosines: Numbers = place @ self.landmarks.T
        return cosines

    def coordinates(self, features: Features | Stack, place: Numbers, likeness: Numbers) -> Numbers:
        """What heads are linear in: a one, the form, the regions, the landmarks' kernel values."""
        form: Numbers = np.clip(self._form(features), -FORM_CLIP, FORM_CLIP) * FORM_SCALE
        near = np.exp(REGION_SHARPNESS * (place @ self.regions.T))
        near = near / near.sum(axis=-1, keepdims=True) * REGION_SCALE
        kernel = np.exp(LANDMARK_SHARPNESS * (likeness - 1.0))
        one = np.ones((*form.shape[:-1], 1), dtype=np.float32)
        joined: Numbers = np.concatenate([one, form, near, kernel], axis=-1, dtype=np.float32)
        return joined

    def form_place(self, features: Features | Stack) -> Numbers:
        """The form alone, in standard deviations."""
        clipped: Numbers = np.clip(self._form(features), -NOVEL_FORM_CLIP, NOVEL_FORM_CLIP)
        return clipped

    def _form(self, features: Features | Stack) -> Numbers:
        form: Numbers = (features.form - self.form_mean) / self.form_deviation
        return _without(form, self.form_habits)


def _without(vectors: Numbers, directions: Numbers) -> Numbers:
    """Vectors without what they have of some orthonormal directions, `[directions, n]`."""
    along: Numbers = vectors @ directions.T
    rest: Numbers = vectors - along @ directions
    return rest


def _units(vectors: Numbers) -> Numbers:
    lengths = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    scaled: Numbers = vectors / np.maximum(lengths, np.float32(1e-9))
    return scaled
