"""How far models reason, by what is public: for each effort, and where nobody asks for any.

A growth is how many times longer a model's output is than its answer alone. These are guesses;
what calls measured goes before them (`lengths`).
"""

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from omni_grpc.catalog import Offer
from omni_grpc.core.chat import ChatRequest

Amounts: TypeAlias = NDArray[np.float64]

UNASKED_GROWTH: Final = 4.0
"""Where a model reasons as it does by itself.

Between what two public figures say: 8 times the tokens of models that do not reason, on hard
exams (Epoch AI, April 2025: GPQA, MATH level 5, AIME), and twice, since OpenRouter documents half
of all output for a medium effort. It is the geometric mean of both."""

GROWTH_OF_EFFORT: Final[Mapping[str, float]] = {
    "none": 1.0,
    "minimal": 1.25,
    "low": 2.0,
    "medium": UNASKED_GROWTH,
    "high": 8.0,
    "xhigh": 16.0,
    "max": 16.0,
}
"""By the effort that a request asks for: doubled with each step from low on, a rule of thumb."""

_QUIET: Final = re.compile(
    r"claude-.*|gpt-5\.[124](-mini|-nano)?(-20\d\d-\d\d-\d\d)?|gemini-2\.5-flash-lite.*"
)
"""Models that can reason and do not unless they are asked to, as their makers document."""


def unasked_growth(offer: Offer) -> float:
    """How much an offer's output grows by reasoning that nobody asked for."""
    name = offer.model.rpartition("/")[2].lower()
    return 1.0 if not offer.reasoning or _QUIET.fullmatch(name) else UNASKED_GROWTH


def asks_for_reasoning(request: ChatRequest) -> bool:
    """Whether a request says how much to reason, be it not at all."""
    return request.reasoning_effort is not None or request.reasoning_budget is not None


def asked_growth(request: ChatRequest, answers: Amounts) -> Amounts:
    """What the effort or the budget of a request makes of answers of so many tokens.

    Of both the budget is the exacter one: a bound of what would be reasoned without it.
    """
    if request.reasoning_budget is not None:
        reasoned = np.minimum(request.reasoning_budget, answers * (UNASKED_GROWTH - 1.0))
        growth: Amounts = 1.0 + reasoned / np.maximum(answers, 1.0)
        return growth
    growth_of_all = GROWTH_OF_EFFORT.get(request.reasoning_effort or "", UNASKED_GROWTH)
    return np.full(answers.shape, growth_of_all)
