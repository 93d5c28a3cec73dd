"""A prompt as the model reads it: numbers, and terms in four zones.

Training and analysis both come through here.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.analysis.structure import STRUCTURE_COUNT, structure
from omni_grpc.routing.analysis.view import SHORT_TURN_CHARS, PromptView
from omni_grpc.routing.analysis.vocabulary import EARLIER, SYSTEM, Terms, terms_in, user_terms_in
from omni_grpc.routing.learned import DIMENSIONS, FORM_COUNT, Encoder, Features, question_in

Numbers = NDArray[np.float32]

DENSE_COUNT: Final = DIMENSIONS + FORM_COUNT + STRUCTURE_COUNT + 1
"""The encoded text, its form, the structure, and a one for the bias."""


def dense_features(view: PromptView, read: Features) -> Numbers:
    """`float32[DENSE_COUNT]` of a view and what was read of its text."""
    structured = np.array([*structure(view), 1.0], dtype=np.float32)
    return np.concatenate((read.whole, read.form, structured))


def terms_of(view: PromptView, read: Features, encoder: Encoder) -> Terms:
    """The terms of all zones; earlier turns count where the last one leans on them."""
    if view.text == view.user:
        return user_terms_in(read.question)
    found = [user_terms_in(question_in(view.user, encoder))]
    if view.system:
        found.append(terms_in(question_in(view.system, encoder), SYSTEM))
    if view.earlier and view.user_chars <= SHORT_TURN_CHARS:
        found.append(terms_in(question_in(view.earlier, encoder), EARLIER))
    return np.concatenate(found)
