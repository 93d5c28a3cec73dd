"""Training: from recorded answers to a pool's heads, on a basis of its prompts.

Closed forms and a few seeded iterations, so the same data give the same bytes. What is chosen is
chosen on predictions for prompts that the heads did not see.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from omni_grpc.evaluation.basis_training import SEED, Mixing, Places, Seen, Wider, train_basis
from omni_grpc.evaluation.data import PREMIUM, Amounts, PoolData
from omni_grpc.evaluation.recipe import RECIPE, Recipe
from omni_grpc.routing.learned.basis import NOVEL_FORM_CLIP, Basis, Numbers
from omni_grpc.routing.learned.heads import Pool

FOLDS: Final = 5
FINE_FOLDS: Final = 20
"""Prompts are parted this finely; every `FOLDS`-th part together is one fold of the measurement.
Within it each part is predicted by heads that saw all others: what is chosen there is chosen on
heads almost as good as those it is chosen for."""

_POOL_PROMPTS_PER_LANDMARK: Final = 2
_REGION_PROMPTS_MIN: Final = 50


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
    penalties: tuple[Amounts, Amounts],
    output_tokens: Amounts,
) -> Solved:
    """Solves the two ridges. `plain` and `output_tokens` set the scale of predicted tokens.

    `penalties` are matrices: for how hard a prompt is and for output tokens, and for how models
    differ.
    """
    models = targets.models
    common = np.linalg.solve(moments.gram + penalties[0], moments.cross)
    differences = np.linalg.solve(moments.gram + penalties[1], moments.cross[:, 1 : 1 + models])
    quality = mixing.unmixed(common[:, :1] + differences)
    tokens = mixing.unmixed(common[:, 1 + models :])
    scale = output_tokens.mean(axis=0) / np.exp(plain @ tokens).mean(axis=0)
    return Solved(quality, tokens, scale.astype(np.float32))


def _stiffness(count: int) -> Amounts:
    """The penalty matrix of 1. The first coordinate is a one, and is not penalised."""
    free = np.eye(count)
    free[0, 0] = 1e-6
    return free


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


def train_pool(
    data: PoolData,
    seen: Seen,
    folds: Places,
    recipe: Recipe = RECIPE,
    wider: Wider | None = None,
) -> Trained:
    """Trains one pool: its basis and its heads.

    Args:
        data: the outcomes.
        seen: the features of the same prompts.
        folds: by prompt; near duplicates share one.
        recipe: of the training.
        wider: prompts of other data, for those recipes that use them.
    """
    basis = train_basis(seen, recipe, wider)
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
    stiffness = _stiffness(len(moments.gram))
    looser = stiffness
    if wider is not None and recipe.freed:
        hardness = _hardness(wider, basis, mixing, recipe.penalty)
        looser = stiffness - recipe.freed * np.outer(hardness, hardness)
    penalties = recipe.penalty * stiffness, recipe.difference_penalty * looser
    count, models = data.quality.shape
    held = Held(
        np.zeros((count, models)), np.zeros((count, models)), np.zeros(count), np.zeros(count)
    )
    for fold in np.unique(folds):
        out = folds == fold
        off = Moments.of([way[out] for way in ways], targets.values[out], recipe.steadiness)
        solved = solve(moments.without(off), mixing, plain[~out], targets, penalties, tokens[~out])
        known = [one[~out] for one in forms]
        draft = _pool(basis, data.take(~out), likeness[~out], known, solved, recipe)
        held.quality[out] = draft.qualities(plain[out])
        held.output_tokens[out] = draft.output_tokens(plain[out])
        held.likeness[out] = likeness[out][:, draft.landmarks].max(axis=1)
        held.form_distance[out] = draft.form_distances(form[out])
    solved = solve(moments, mixing, plain, targets, penalties, tokens)
    if recipe.calibrated:
        solved = _calibrated(solved, held, data)
    pool = msgspec.structs.replace(
        _pool(basis, data, likeness, forms, solved, recipe),
        likeness_min=float(np.quantile(held.likeness, recipe.likeness_share)),
        form_distance_max=float(np.quantile(held.form_distance, 1.0 - recipe.form_share)),
        doubt=_doubt(basis, place, data, held),
        likeness_known=float(np.quantile(held.likeness, recipe.known_share)),
        caution=recipe.caution,
    )
    return Trained(pool, held)


def _hardness(wider: Wider, basis: Basis, mixing: Mixing, penalty: float) -> Amounts:
    """The direction in which prompts of other data get easier, `[coordinates]`, of length 1."""
    form = basis.form(wider.stack)
    place = basis.place(wider.stack, form)
    coordinates = basis.coordinates(form, place, basis.likeness(place))
    mixed = mixing.mixed(coordinates).astype(np.float64)
    grades = wider.grades.copy()
    for group in np.unique(wider.groups):
        here = wider.groups == group
        mixed[here] -= mixed[here].mean(axis=0)
        grades[here] = (grades[here] - grades[here].mean()) / grades[here].std()
    gram = mixed.T @ mixed + penalty * np.eye(mixed.shape[1])
    easier = np.linalg.solve(gram, mixed.T @ grades)
    direction: Amounts = easier / np.linalg.norm(easier)
    return direction


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


def _calibrated(solved: Solved, held: Held, data: PoolData) -> Solved:
    """Heads whose differences from the premium model's are stretched and moved, for held ones.

    The differences that are held are changed alike.
    """
    quality, premium = solved.quality.copy(), solved.quality[:, PREMIUM]
    for model in range(quality.shape[1]):
        if model == PREMIUM:
            continue
        found = held.quality[:, model] - held.quality[:, PREMIUM]
        truth = data.quality[:, model] - data.quality[:, PREMIUM]
        slope, offset = np.polyfit(found, truth, 1)
        held.quality[:, model] = held.quality[:, PREMIUM] + slope * found + offset
        quality[:, model] = premium + slope * (quality[:, model] - premium)
        quality[0, model] += offset
    return msgspec.structs.replace(solved, quality=quality)


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
