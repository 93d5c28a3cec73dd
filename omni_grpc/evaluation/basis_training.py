"""Training of the basis: habits, axes, regions and landmarks of prompts. It looks at no outcome."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.evaluation.data import Amounts, Flags
from omni_grpc.evaluation.recipe import RECIPE, Recipe
from omni_grpc.routing.learned.basis import LANDMARK_SHARPNESS, Basis, Numbers, Stack

Places: TypeAlias = NDArray[np.intp]

SEED: Final = 20_260_101
_REGION_ROUNDS: Final = 20
_LANDMARK_ROUNDS: Final = 8
_EIGENVALUE_MIN: Final = 1e-3
LANDMARK_SCALE: Final = 4.0
"""How much the landmarks weigh in the ridge, beside regions and form."""


class Seen(msgspec.Struct, frozen=True):
    """Prompts as features: as they are, and in other wrappers, several times."""

    plain: Stack
    rewritten: tuple[Stack, ...]

    def rows(self, chosen: Flags | Places) -> "Seen":
        """Some of the prompts."""
        return Seen(self.plain.rows(chosen), tuple(one.rows(chosen) for one in self.rewritten))


class Wider(msgspec.Struct, frozen=True):
    """Prompts of other data, which other models answered.

    Attributes:
        stack: their features.
        grades: how good the answers were on the mean, by prompt.
        groups: by prompt, the data set; grades are compared within one alone.
    """

    stack: Stack
    grades: Amounts
    groups: Places


class Mixing(msgspec.Struct, frozen=True):
    """Makes the landmarks' kernel values uncorrelated, so that one penalty fits all coordinates.

    This is the Nyström approximation. Only training needs it: heads that were solved in mixed
    coordinates are brought back to those of the basis, and a decision is spared the product.
    """

    matrix: Numbers
    plain: int

    @classmethod
    def of(cls, basis: Basis) -> "Mixing":
        """From the kernel between the landmarks."""
        kernel = np.exp(LANDMARK_SHARPNESS * (basis.landmarks @ basis.landmarks.T - 1.0))
        values, vectors = np.linalg.eigh(kernel.astype(np.float64))
        kept = values > _EIGENVALUE_MIN
        matrix = (LANDMARK_SCALE * vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
        return cls(matrix, 1 + len(basis.form_mean) + len(basis.regions))

    def mixed(self, coordinates: Numbers) -> Numbers:
        """Coordinates of prompts, mixed: `[prompts, n]`."""
        kernel = coordinates[:, self.plain :] @ self.matrix
        return np.hstack([coordinates[:, : self.plain], kernel])

    def unmixed(self, heads: NDArray[np.floating]) -> Numbers:
        """Heads `[n, models]` on mixed coordinates as heads on those of the basis."""
        kernel = self.matrix.astype(np.float64) @ heads[self.plain :]
        return np.vstack([heads[: self.plain], kernel]).astype(np.float32)


def train_basis(seen: Seen, recipe: Recipe = RECIPE, wider: Wider | None = None) -> Basis:
    """Finds regions and landmarks among prompts, and habits; looks at no outcome."""
    stack = seen.plain
    empty = np.zeros((1, 1), dtype=np.float32)
    deviation = stack.form.std(axis=0) + np.float32(1e-6)
    moved = [
        (one.whole - stack.whole, one.stem - stack.stem, (one.form - stack.form) / deviation)
        for one in seen.rewritten
    ]
    whole, stem, form = zip(*moved, strict=True) if moved else ((), (), ())
    start = Basis(
        whole_mean=stack.whole.mean(axis=0),
        stem_mean=stack.stem.mean(axis=0),
        form_mean=stack.form.mean(axis=0),
        form_deviation=deviation,
        whole_habits=_habits(whole, recipe.habits, stack.whole.shape[1]),
        stem_habits=_habits(stem, recipe.habits, stack.stem.shape[1]),
        form_habits=_habits(form, recipe.form_habits, stack.form.shape[1]),
        axes=np.eye(stack.meaning.shape[1] + stack.form.shape[1], dtype=np.float32),
        regions=empty,
        landmarks=empty,
    )
    start = msgspec.structs.replace(start, axes=_axes(start, stack, recipe.axes))
    place = start.place(stack, start.form(stack))
    if wider is not None and recipe.wider_landmarks:
        theirs = start.place(wider.stack, start.form(wider.stack))
        place = np.vstack([place, theirs])
    regions = centres(place, recipe.regions, _REGION_ROUNDS)
    landmarks = centres(place, recipe.landmarks, _LANDMARK_ROUNDS)
    return msgspec.structs.replace(start, regions=regions, landmarks=landmarks)


def _axes(basis: Basis, stack: Stack, count: int) -> Numbers:
    """The directions in which prompts' places differ most, `[count, dimensions]`.

    `basis` has every direction for an axis.
    """
    place = basis.place(stack, basis.form(stack)).astype(np.float64)
    _, vectors = np.linalg.eigh(place.T @ place)
    found: Numbers = vectors[:, ::-1][:, :count].T.astype(np.float32)
    return np.ascontiguousarray(found)


def _habits(moved: Sequence[Numbers], count: int, dimensions: int) -> Numbers:
    """The directions in which prompts move most when they are rewritten, `[count, dimensions]`."""
    if count == 0:
        return np.zeros((0, dimensions), dtype=np.float32)
    spread = sum((one.astype(np.float64).T @ one for one in moved), np.zeros((dimensions,) * 2))
    _, vectors = np.linalg.eigh(spread)
    found: Numbers = vectors[:, dimensions - count :].T.astype(np.float32)
    return found


def centres(place: Numbers, count: int, rounds: int) -> Numbers:
    """k-means on unit vectors, seeded."""
    rng = np.random.default_rng(SEED)
    found = place[rng.choice(len(place), min(count, len(place)), replace=False)].copy()
    for _ in range(rounds):
        nearest = (place @ found.T).argmax(axis=1)
        order = np.argsort(nearest, kind="stable")
        starts = np.searchsorted(nearest[order], np.arange(len(found)))
        ends = np.append(starts[1:], len(order))
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            if end > start:
                mean = place[order[start:end]].mean(axis=0)
                found[number] = mean / np.linalg.norm(mean)
    return found
