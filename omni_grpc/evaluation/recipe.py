"""What can be turned about training, and how it stands for each pool."""

from typing import Final

import msgspec


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What can be turned about training; ablations turn one at a time.

    Attributes:
        axes, regions, landmarks: how many of each.
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
        source_loss_max: what the weight of cost may lose on any one source, as a share of good
            answers; None is to look at the mean over all sources alone.
        forms: known forms that are kept.
        calibrated: whether heads are stretched and moved as far as held predictions were off.
        wider_landmarks: whether regions and landmarks are found among prompts of other data too.
        freed: how much freer models may differ along what is hard in other data, 0 to 1.
    """

    axes: int = 48
    regions: int = 32
    landmarks: int = 400
    penalty: float = 10.0
    difference_penalty: float = 300.0
    rewritten: bool = True
    steadiness: float = 20.0
    habits: int = 8
    form_habits: int = 4
    likeness_share: float = 0.02
    form_share: float = 0.05
    caution: float = 0.0
    known_share: float = 0.65
    spared: float = 0.02
    source_loss_max: float | None = 0.02
    forms: int = 400
    calibrated: bool = False
    wider_landmarks: bool = False
    freed: float = 0.0


RECIPE: Final = Recipe()
RECIPES: Final = {
    "A": Recipe(
        landmarks=200,
        difference_penalty=100.0,
        form_habits=6,
        likeness_share=0.01,
        form_share=0.03,
        caution=0.08,
        forms=200,
    ),
    "B": Recipe(likeness_share=0.025, form_share=0.02),
}
"""By pool, where that differs, by the ablations on the dev files; the guard's shares follow from
what sources left out of training lose."""
