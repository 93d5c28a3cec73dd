"""The coordinates in which prompts are compared: regions, landmarks, and form.

A prompt's place is a direction along the few dozen axes in which prompts differ most. Heads are
linear in how near that lies to a few hundred landmarks, prompts' centres that training found; the
distances to them also say how unlike anything known it is.
All functions take one prompt or many at once: shapes below are `[..., n]`.
"""

from functools import cached_property
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned.encoder import DIMENSIONS
from omni_grpc.routing.learned.features import Features

Numbers: TypeAlias = NDArray[np.float32]

FORM_CLIP: Final = 3.0
"""Standard deviations of form beyond which more does not count for the place."""

NOVEL_FORM_CLIP: Final = 6.0
"""The same for the question how unlike the known forms it is."""

FORM_WEIGHT: Final = 1.0
REGION_SHARPNESS: Final = 8.0
REGION_SCALE: Final = 2.0
LANDMARK_SHARPNESS: Final = 5.0
FORM_SCALE: Final = 0.05


class Stack(msgspec.Struct, frozen=True):
    """The features of many prompts: each field as in `Features`, with a leading axis."""

    meaning: Numbers
    form: Numbers

    @classmethod
    def of(cls, features: list[Features]) -> "Stack":
        """Stacks features, in order."""
        return cls(
            np.stack([one.meaning for one in features]), np.stack([one.form for one in features])
        )

    @property
    def whole(self) -> Numbers:
        """The vectors of all of each prompt, `[prompts, DIMENSIONS]`."""
        return self.meaning[:, :DIMENSIONS]

    @property
    def stem(self) -> Numbers:
        """Those of what is no list item."""
        return self.meaning[:, DIMENSIONS:]

    def rows(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> "Stack":
        """Some of the prompts."""
        return Stack(self.meaning[index], self.form[index])


class Basis(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What training found about prompts as such, without looking at any outcome.

    Habits are the directions in which a prompt moves when the same question is put in another
    wrapper; what lies along them is taken off, since it says nothing about the question. Axes are
    the directions of both meanings and the form together in which prompts differ most.
    """

    whole_mean: Numbers
    stem_mean: Numbers
    form_mean: Numbers
    form_deviation: Numbers
    whole_habits: Numbers
    stem_habits: Numbers
    form_habits: Numbers
    axes: Numbers
    regions: Numbers
    landmarks: Numbers

    def form(self, features: Features | Stack) -> Numbers:
        """The form in standard deviations, without its habits."""
        matrix, mean = self.of_form
        form: Numbers = features.form @ matrix - mean
        return form

    def place(self, features: Features | Stack, form: Numbers) -> Numbers:
        """Unit vectors along the axes, of both meanings and the form together."""
        matrix, mean = self.of_meaning
        along = features.meaning @ matrix - mean
        along += form.clip(-FORM_CLIP, FORM_CLIP) @ self.of_bounded_form
        return _units(along)

    def likeness(self, place: Numbers) -> Numbers:
        """Cosines with the landmarks, `[..., landmarks]`."""
        cosines: Numbers = place @ self.landmarks.T
        return cosines

    def coordinates(self, form: Numbers, place: Numbers, likeness: Numbers) -> Numbers:
        """What heads are linear in: a one, the form, the regions, the landmarks' kernel values."""
        after_form = 1 + form.shape[-1]
        after_regions = after_form + len(self.regions)
        joined = np.empty((*form.shape[:-1], after_regions + likeness.shape[-1]), dtype=np.float32)
        joined[..., 0] = 1.0
        joined[..., 1:after_form] = form.clip(-FORM_CLIP, FORM_CLIP) * FORM_SCALE
        near = np.exp(REGION_SHARPNESS * (place @ self.regions.T))
        joined[..., after_form:after_regions] = near * (
            REGION_SCALE / near.sum(axis=-1, keepdims=True)
        )
        np.exp(LANDMARK_SHARPNESS * (likeness - 1.0), out=joined[..., after_regions:])
        return joined

    # What follows is the same for all prompts. It is made once: on one prompt each array operation
    # takes a microsecond, whatever it does.

    @cached_property
    def of_meaning(self) -> tuple[Numbers, Numbers]:
        """What takes the habits off both vectors and brings them along the axes; the mean so."""
        axes, parts = self.axes[:, : 2 * DIMENSIONS].T, []
        for at, habits in enumerate((self.whole_habits, self.stem_habits)):
            part = axes[at * DIMENSIONS : (at + 1) * DIMENSIONS]
            parts.append(part - habits.T @ (habits @ part))
        matrix: Numbers = np.concatenate(parts)
        return matrix, np.concatenate((self.whole_mean, self.stem_mean)) @ matrix

    @cached_property
    def of_bounded_form(self) -> Numbers:
        """What brings a form, in standard deviations and within its bounds, along the axes."""
        axes = self.axes[:, 2 * DIMENSIONS :].T
        weighted: Numbers = axes * np.float32(FORM_WEIGHT / len(axes) ** 0.5)
        return weighted

    @cached_property
    def of_form(self) -> tuple[Numbers, Numbers]:
        """What brings a form into standard deviations and takes its habits off, and the mean so."""
        habits = self.form_habits
        without: Numbers = np.eye(len(self.form_mean), dtype=np.float32) - habits.T @ habits
        matrix: Numbers = without / self.form_deviation[:, None]
        return matrix, self.form_mean @ matrix


def _units(vectors: Numbers) -> Numbers:
    lengths = np.sqrt(np.vecdot(vectors, vectors))
    scaled: Numbers = vectors / np.maximum(lengths, np.float32(1e-9))[..., None]
    return scaled
