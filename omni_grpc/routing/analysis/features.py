"""A prompt as the model reads it: numbers, and terms in four zones.

The same words weigh differently as the user's, at the very head of what the user says, in the
system prompt, and in earlier turns. Training and analysis both come through here.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.analysis.structure import STRUCTURE_COUNT, fill_structure
from omni_grpc.routing.analysis.view import SHORT_TURN_CHARS, PromptView
from omni_grpc.routing.analysis.vocabulary import NOTHING, Terms, Vocabulary, first_of, terms_in
from omni_grpc.routing.learned import DIMENSIONS, Encoder, Features, question_in

Numbers = NDArray[np.float32]
Zones = tuple[Terms, Terms, Terms, Terms]
"""The user's terms, the first of them, the system prompt's, those of earlier turns."""

DENSE_COUNT: Final = DIMENSIONS + STRUCTURE_COUNT + 1
"""The encoded text, the structure, and a one for the bias."""


def dense_features(view: PromptView, read: Features) -> Numbers:
    """`float32[DENSE_COUNT]` of a view and what was read of its text."""
    numbers = np.zeros(DENSE_COUNT, dtype=np.float32)
    numbers[:DIMENSIONS] = read.whole
    fill_structure(view, numbers[DIMENSIONS:-1])
    numbers[-1] = 1.0
    return numbers


def terms_of(view: PromptView, read: Features, encoder: Encoder) -> Zones:
    """The terms of each zone; earlier turns count where the last one leans on them."""

    def of(text: str) -> Terms:
        return terms_in(question_in(text, encoder))

    user = terms_in(read.question) if view.text == view.user else of(view.user)
    leans = view.earlier and view.user_chars <= SHORT_TURN_CHARS
    return (
        user,
        first_of(user),
        of(view.system) if view.system else NOTHING,
        of(view.earlier) if leans else NOTHING,
    )


def places_of(zones: Zones, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """The rows of the weights of terms that add up for a prompt."""
    found = [
        vocabulary.places.take(terms) + at * vocabulary.width
        for at, terms in enumerate(zones)
        if len(terms)
    ]
    return np.concatenate(found, dtype=np.int64) if found else np.empty(0, dtype=np.int64)
