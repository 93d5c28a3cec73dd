"""Predictions for models that were never trained on, from their ratings.

A rating says how often a model does a typical task of the benchmarks well; how much easier recorded
prompts are than those, and how much harder than typical this prompt is, is known from the models
with heads. In log-odds they add up. How far such a prediction may be off is measured by leaving
each trained model out in turn.
"""

import math
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Amounts: TypeAlias = NDArray[np.float64]

CHANCE_MIN: Final = 0.02
CHANCE_MAX: Final = 0.98
"""Chances are kept within these: nobody is sure, and their log-odds stay finite."""

RATING_OFFSET: Final = 2.1
"""How much easier, in log-odds, recorded prompts are than the benchmarks that ratings come from.

Mean over the models that have both, a trained head and a rating of the package; they lie between
1.8 and 2.9, the good and the poor ones alike. Without it every model of 2024 that was trained on
would be predicted to beat all later ones, of which there are ratings alone."""


class RatingScale(msgspec.Struct, frozen=True, kw_only=True):
    """How ratings become predictions, fitted by leaving each model out.

    Attributes:
        slope: how much of a prompt's difficulty, in log-odds, reaches a model.
        complexity_slope: how much one unit of complexity lowers the log-odds.
        doubt: what the chance may be off by, where the prompt is like known ones.
        unlike_doubt: the same where it is not.
    """

    slope: float
    complexity_slope: float
    doubt: float
    unlike_doubt: float

    def predict(
        self, odds: Amounts, difficulty: float | None, complexity_score: float
    ) -> tuple[Amounts, Amounts]:
        """By model, the chance of a good answer and what it may be off by.

        Args:
            odds: of each model, `odds_of_rating`.
            difficulty: how much harder than typical the prompt is, in log-odds; None for prompts
                unlike anything known, which are judged by their complexity.
            complexity_score: 0 to 1.
        """
        if difficulty is None:
            lowered = self.complexity_slope * (complexity_score - 0.5)
            doubt = self.unlike_doubt
        else:
            lowered = self.slope * difficulty
            doubt = self.doubt
        mean: Amounts = 1.0 / (1.0 + np.exp(lowered - odds))
        return mean, np.minimum(mean, doubt)

    @staticmethod
    def odds_between(chance: float, typical: float) -> float:
        """How much lower than typical a chance is, in log-odds."""
        return log_odds(typical) - log_odds(chance)


def odds_of_rating(share: float) -> float:
    """The log-odds with which a model of a rating, 0 to 1, does a typical recorded prompt well."""
    return log_odds(share) + RATING_OFFSET


def log_odds(chance: float) -> float:
    """The logarithm of the odds, of a chance within bounds."""
    kept = min(max(chance, CHANCE_MIN), CHANCE_MAX)
    return math.log(kept / (1.0 - kept))
