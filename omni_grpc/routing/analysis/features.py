"""A prompt as the model reads it: numbers, and places of words in four zones.

The same words weigh differently as the user's, at the very head of what the user says, in the
system prompt, and in earlier turns. Training and analysis both come through here.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.analysis.structure import (
    CONVERSATION_COUNT,
    STRUCTURE_COUNT,
    structure,
)
from omni_grpc.routing.analysis.view import SHORT_TURN_CHARS, PromptView
from omni_grpc.routing.analysis.words import first_words_of, places_of, words_of
from omni_grpc.routing.learned import DIMENSIONS

Numbers = NDArray[np.float32]
Zones = tuple[set[str], set[str], set[str], set[str]]
"""The user's words, the first of them, the system prompt's, those of earlier turns."""

DENSE_COUNT: Final = DIMENSIONS + STRUCTURE_COUNT + 1
"""The encoded text, the structure, and a one for the bias."""

_ENCODED_SCALE: Final = 0.7
_FORM_SCALE: Final = 0.18
_CONVERSATION_SCALE: Final = 1.5
"""What a prompt is about and how it looks differ from source to source more than what its words
ask for, so both get less weight at one and the same penalty; tools and parts are plain facts."""

_ONE: Final = np.ones(1, dtype=np.float32)
_SCALES: Final = np.concatenate(
    [
        np.full(DIMENSIONS, _ENCODED_SCALE, dtype=np.float32),
        np.full(STRUCTURE_COUNT - CONVERSATION_COUNT, _FORM_SCALE, dtype=np.float32),
        np.full(CONVERSATION_COUNT, _CONVERSATION_SCALE, dtype=np.float32),
        _ONE,
    ]
)


def dense_features(view: PromptView, encoded: Numbers) -> Numbers:
    """`float32[DENSE_COUNT]` of a view and the vector of its text."""
    features: Numbers = np.concatenate((encoded, structure(view), _ONE)) * _SCALES
    return features


def word_features(view: PromptView) -> Zones:
    """The words of each zone; earlier turns count where the last one leans on them."""
    leans = view.earlier and view.user_chars <= SHORT_TURN_CHARS
    return (
        words_of(view.user),
        first_words_of(view.user),
        words_of(view.system) if view.system else set(),
        words_of(view.earlier) if leans else set(),
    )


def word_places(zones: Zones, vocabulary: Mapping[str, int]) -> list[int]:
    """The rows of the word weights that add up for a prompt."""
    width = len(vocabulary)
    found: list[int] = []
    for zone, words in enumerate(zones):
        found += [zone * width + place for place in places_of(words, vocabulary)]
    return found
