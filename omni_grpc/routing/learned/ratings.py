"""Predictions for models that were never trained on, from their ratings.

A rating says how often a model does a typical prompt of a task well; how much harder than typical
this prompt is, is known from the models with heads. In log-odds the two add up. How far such a
prediction may be off is measured by leaving each trained model out in turn.
"""

import math
from typing import Final

import msgspec

from omni_grpc.routing.learned.heads import Prediction

CHANCE_MIN: Final = 0.02
CHANCE_MAX: Final = 0.98
"""Chances are kept within these: nobody is sure, and their log-odds stay finite."""


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

    def prediction(
        self, rating: float, difficulty: float | None, complexity_score: float
    ) -> Prediction:
        """The prediction; `difficulty` is None for prompts unlike anything known."""
        odds = log_odds(rating)
        if difficulty is None:
            odds -= self.complexity_slope * (complexity_score - 0.5)
            doubt = self.unlike_doubt
        else:
            odds -= self.slope * difficulty
            doubt = self.doubt
        mean = 1.0 / (1.0 + math.exp(-odds))
        return Prediction(mean, max(0.0, mean - doubt))

    @staticmethod
    def odds_between(chance: float, typical: float) -> float:
        """How much lower than typical a chance is, in log-odds."""
        return log_odds(typical) - log_odds(chance)


def log_odds(chance: float) -> float:
    """The logarithm of the odds, of a chance within bounds."""
    kept = min(max(chance, CHANCE_MIN), CHANCE_MAX)
    return math.log(kept / (1.0 - kept))
