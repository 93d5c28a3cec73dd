"""Training: from recorded answers to a basis, heads and the weight of cost.

Closed forms and a few seeded iterations, so the same data give the same bytes. What is chosen is
chosen on predictions for prompts that the heads did not see.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.evaluation.data import PREMIUM, Amounts, Flags, PoolData
from omni_grpc.routing.learned.basis import (
    LANDMARK_SHARPNESS,
    NOVEL_FORM_CLIP,
    Basis,
    Numbers,
    Stack,
)
from omni_grpc.routing.learned.heads import Pool

Places = NDArray[np.intp]


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What can be turned about training; ablations turn one at a time.

    Attributes:
        regions, landmarks: how many of each.
        penalty: of the ridge for how hard a prompt is, and for output tokens.
        difference_penalty: for how models differ on it: larger, for there is less to be learned.
        rewritten: whether each prompt is also seen in other wrappers.
        steadiness: what it weighs that other wrappers leave a prediction as it is.
        habits: directions of meaning that are taken off, for other wrappers move prompts in them.
        form_habits: the same of form.
        likeness_share: of known prompts, how many may count as unlike them in meaning.
        form_share: the same for the form.
        caution: `PoolFacts.caution`.
        known_share: of known prompts, how many are less known than it takes to be sure.
        spared: what may be saved less for a lower weight of cost: see `choose_weight`.
        forms: known forms that are kept.
    """

    regions: int = 32
    landmarks: int = 600
    penalty: float = 10.0
    difference_penalty: float = 200.0
    rewritten: bool = True
    steadiness: float = 10.0
    habits: int = 8
    form_habits: int = 2
    likeness_share: float = 0.02
    form_share: float = 0.05
    caution: float = 0.0
    known_share: float = 0.65
    spared: float = 0.02
    forms: int = 400


RECIPE: Final = Recipe()
RECIPES: Final = {
    "A": Recipe(
        landmarks=200, difference_penalty=50.0, likeness_share=0.01, form_share=0.03, caution=0.08
    ),
    "B": Recipe(difference_penalty=100.0, likeness_share=0.025, form_share=0.02, form_habits=4),
}
"""By pool, where that differs, by the ablations on the dev files; the guard's shares follow from
what sources left out of training lose."""

FOLDS: Final = 5
FINE_FOLDS: Final = 20
"""Prompts are parted this finely; every `FOLDS`-th part together is one fold of the measurement.
Within it each part is predicted by heads that saw all others: what is chosen there is chosen on
heads almost as good as those it is chosen for."""

SEED: Final = 20_260_101
_REGION_ROUNDS: Final = 20
_LANDMARK_ROUNDS: Final = 8
_EIGENVALUE_MIN: Final = 1e-3
LANDMARK_SCALE: Final = 4.0
"""How much the landmarks weigh in the ridge, beside regions and form."""

_POOL_PROMPTS_PER_LANDMARK: Final = 2
_REGION_PROMPTS_MIN: Final = 50


class Seen(msgspec.Struct, frozen=True):
    """Prompts as features: as they are, and in other wrappers, several times."""

    plain: Stack
    rewritten: tuple[Stack, ...]

    def rows(self, chosen: Flags | Places) -> "Seen":
        """Some of the prompts."""
        return Seen(self.plain.rows(chosen), tuple(one.rows(chosen) for one in self.rewritten))


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


def train_basis(seen: Seen, recipe: Recipe = RECIPE) -> Basis:
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
        regions=empty,
        landmarks=empty,
    )
    place = start.place(stack, start.form(stack))
    regions = centres(place, recipe.regions, _REGION_ROUNDS)
    landmarks = centres(place, recipe.landmarks, _LANDMARK_ROUNDS)
    return msgspec.structs.replace(start, regions=regions, landmarks=landmarks)


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


class Targets(msgspec.Struct, frozen=True):
    """What heads learn: `[prompts, 1 + models + models]`.

    The mean over the models, each model's difference from it, the logarithm of output tokens.
    """

    values: Amounts
    models: int

    @classmethod
    def of(cls, data: PoolData) -> "Targets":
        """From recorded outcomes; output tokens follow from cost and prices."""
        mean = data.quality.mean(axis=1, keepdims=True)
        tokens = np.log(recorded_output_tokens(data))
        return cls(np.hstack([mean, data.quality - mean, tokens]), data.quality.shape[1])


def recorded_output_tokens(data: PoolData) -> Amounts:
    """How many tokens each model answered with, `[prompts, models]`, at least 1."""
    prices = data.prices()
    rest = data.cost_usd - data.prompt_tokens()[:, None] * prices[:, 0]
    return np.maximum(rest / prices[:, 1], 1.0)


class Solved(msgspec.Struct, frozen=True):
    """Heads of one fit, on the basis's coordinates: see `Pool`."""

    quality: Numbers
    tokens: Numbers
    tokens_scale: Numbers


class Moments(msgspec.Struct, frozen=True):
    """Sums over prompts from which heads are solved; those of prompts left out are taken off."""

    gram: Amounts
    cross: Amounts

    @classmethod
    def of(cls, coordinates: Sequence[Numbers], targets: Amounts, steadiness: float) -> "Moments":
        """The sums over prompts, the mean over the ways in which they are written.

        The first way is the prompt as it is; `steadiness` is what the squared change of a
        prediction by another way weighs beside its squared error.
        """
        ways = [np.asarray(one, dtype=np.float64) for one in coordinates]
        gram = sum((one.T @ one for one in ways), start=np.zeros(())) / len(ways)
        for one in ways[1:]:
            moved = one - ways[0]
            gram = gram + steadiness / (len(ways) - 1) * (moved.T @ moved)
        cross = sum((one.T @ targets for one in ways), start=np.zeros(())) / len(ways)
        return cls(gram, cross)

    def without(self, other: "Moments") -> "Moments":
        """The sums without those of some prompts."""
        return Moments(self.gram - other.gram, self.cross - other.cross)


def solve(
    moments: Moments,
    mixing: Mixing,
    plain: Numbers,
    targets: Targets,
    recipe: Recipe,
    output_tokens: Amounts,
) -> Solved:
    """Solves the two ridges. `plain` and `output_tokens` set the scale of predicted tokens.

    The first coordinate is a one, and is not penalised.
    """
    models = targets.models
    free = np.eye(len(moments.gram))
    free[0, 0] = 1e-6
    common = np.linalg.solve(moments.gram + recipe.penalty * free, moments.cross)
    differences = np.linalg.solve(
        moments.gram + recipe.difference_penalty * free, moments.cross[:, 1 : 1 + models]
    )
    quality = mixing.unmixed(common[:, :1] + differences)
    tokens = mixing.unmixed(common[:, 1 + models :])
    scale = output_tokens.mean(axis=0) / np.exp(plain @ tokens).mean(axis=0)
    return Solved(quality, tokens, scale.astype(np.float32))


class Held(msgspec.Struct, frozen=True):
    """Predictions for prompts by heads that did not see them."""

    quality: Amounts
    output_tokens: Amounts
    likeness: Amounts
    form_distance: Amounts


class Trained(msgspec.Struct, frozen=True):
    """A pool's heads, with predictions for its own prompts by heads that did not see them."""

    pool: Pool
    held: Held


def train_pool(data: PoolData, seen: Seen, folds: Places, recipe: Recipe = RECIPE) -> Trained:
    """Trains one pool: its basis and its heads.

    Args:
        data: the outcomes.
        seen: the features of the same prompts.
        folds: by prompt; near duplicates share one.
        recipe: of the training.
    """
    basis = train_basis(seen, recipe)
    form = basis.form(seen.plain)
    place = basis.place(seen.plain, form)
    likeness = basis.likeness(place)
    plain = basis.coordinates(form, place, likeness)
    forms = [form]
    ways = [plain]
    if recipe.rewritten:
        for one in seen.rewritten:
            forms.append(basis.form(one))
            other = basis.place(one, forms[-1])
            ways.append(basis.coordinates(forms[-1], other, basis.likeness(other)))
    mixing = Mixing.of(basis)
    ways = [mixing.mixed(way) for way in ways]
    targets, tokens = Targets.of(data), recorded_output_tokens(data)
    moments = Moments.of(ways, targets.values, recipe.steadiness)
    count, models = data.quality.shape
    held = Held(
        np.zeros((count, models)), np.zeros((count, models)), np.zeros(count), np.zeros(count)
    )
    for fold in np.unique(folds):
        out = folds == fold
        off = Moments.of([way[out] for way in ways], targets.values[out], recipe.steadiness)
        solved = solve(moments.without(off), mixing, plain[~out], targets, recipe, tokens[~out])
        known = [one[~out] for one in forms]
        draft = _pool(basis, data.take(~out), likeness[~out], known, solved, recipe)
        held.quality[out] = draft.qualities(plain[out])
        held.output_tokens[out] = draft.output_tokens(plain[out])
        held.likeness[out] = likeness[out][:, draft.landmarks].max(axis=1)
        held.form_distance[out] = draft.form_distances(form[out])
    solved = solve(moments, mixing, plain, targets, recipe, tokens)
    pool = msgspec.structs.replace(
        _pool(basis, data, likeness, forms, solved, recipe),
        likeness_min=float(np.quantile(held.likeness, recipe.likeness_share)),
        form_distance_max=float(np.quantile(held.form_distance, 1.0 - recipe.form_share)),
        doubt=_doubt(basis, place, data, held),
        likeness_known=float(np.quantile(held.likeness, recipe.known_share)),
        caution=recipe.caution,
    )
    return Trained(pool, held)


def _pool(
    basis: Basis,
    data: PoolData,
    likeness: Numbers,
    forms: Sequence[Numbers],
    solved: Solved,
    recipe: Recipe,
) -> Pool:
    nearest = np.bincount(likeness.argmax(axis=1), minlength=len(basis.landmarks))
    rng = np.random.default_rng(SEED)
    known = np.concatenate(forms).clip(-NOVEL_FORM_CLIP, NOVEL_FORM_CLIP)
    sample = rng.choice(len(known), min(recipe.forms, len(known)), replace=False)
    return Pool(
        basis=basis,
        name=data.meta.pool,
        models=data.meta.models,
        premium=PREMIUM,
        typical_tokens=(
            float(data.prompt_tokens().mean()),
            float(recorded_output_tokens(data)[:, PREMIUM].mean()),
        ),
        cost_weight=0.0,
        likeness_min=-1.0,
        form_distance_max=np.inf,
        doubt=0.0,
        likeness_known=-1.0,
        caution=0.0,
        quality=solved.quality,
        tokens=solved.tokens,
        tokens_scale=solved.tokens_scale,
        mean_quality=data.quality.mean(axis=0).astype(np.float32),
        landmarks=np.flatnonzero(nearest >= _POOL_PROMPTS_PER_LANDMARK).astype(np.int32),
        forms=known[np.sort(sample)],
    )


def _doubt(basis: Basis, place: Numbers, data: PoolData, held: Held) -> float:
    """How far off the predicted differences are on average over a region of prompts."""
    region = (place @ basis.regions.T).argmax(axis=1)
    errors = []
    for number in np.unique(region):
        here = region == number
        if here.sum() >= _REGION_PROMPTS_MIN:
            off = (held.quality[here] - data.quality[here]).mean(axis=0)
            errors.append(off - off[PREMIUM])
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0
