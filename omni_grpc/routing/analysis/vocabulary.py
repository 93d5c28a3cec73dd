"""The words of a prompt that say what is wanted, as numbers that a vocabulary has places for.

Instructions stand at the head or the tail of a prompt, so only its first and last words count. A
word counts itself and with the word before it; one of several tokens counts as its first, which is
mostly its stem, and with its second. A vocabulary is what training kept: nothing here is a list of
words by hand.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned import Read

Terms = NDArray[np.int32]
"""Words and pairs by number, below `TERMS`; 0 for none."""

HEAD_WORDS: Final = 48
TAIL_WORDS: Final = 30
"""Words that are read of the head and of the tail of a text."""

FIRST_WORDS: Final = 3
"""Words at the very head that count once more, for the place where they stand."""

TERMS: Final = 1 << 16
"""Numbers that all terms share; few of those that tell anything have the same."""

NOTHING: Final[Terms] = np.empty(0, dtype=np.int32)

_NUMBER: Final = np.int32(TERMS - 1)
_MIXING: Final = np.int32(40_503)


class Vocabulary(msgspec.Struct, frozen=True):
    """Which terms are known.

    Attributes:
        places: `uint16[TERMS]`, where a term's weights stand; 0 is for all that are not known.
        width: places, that of the unknown ones among them.
    """

    places: NDArray[np.uint16]
    width: int


def terms_in(read: Read) -> Terms:
    """The terms of a text's head and tail: each word and what makes it longer, then the pairs."""
    words = read[:, 1:]
    words = words[words[:, 0] > 0]
    if len(words) > HEAD_WORDS + TAIL_WORDS:
        words = np.concatenate((words[:HEAD_WORDS], words[-TAIL_WORDS:]))
    whole = words[:, 0]
    pairs = whole[:-1] * _MIXING + whole[1:]
    return np.concatenate((words.ravel(), pairs)) & _NUMBER


def first_of(terms: Terms) -> Terms:
    """Of the terms of a text those of its first words."""
    words = (len(terms) + 1) // 3  # of n words there are 2 n terms and n - 1 pairs
    return terms[: 2 * min(FIRST_WORDS, words)]
