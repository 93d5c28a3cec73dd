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
"""Words and pairs by number, below `TERMS` in the first zone, and so on; 0 for none."""

HEAD_WORDS: Final = 48
TAIL_WORDS: Final = 30
"""Words that are read of the head and of the tail of a text."""

FIRST_WORDS: Final = 3
"""Words at the very head that count once more, for the place where they stand."""

TERMS: Final = 1 << 16
"""Numbers that the terms of a zone share; few of those that tell anything have the same."""

ZONES: Final = 4
_USER, FIRST, SYSTEM, EARLIER = range(0, ZONES * TERMS, TERMS)
"""What is added to the numbers of a zone: the user's words, the first of them, the system prompt's,
those of earlier turns. The same words weigh differently in each."""

_NUMBER: Final = np.int32(TERMS - 1)
_MIXING: Final = np.int32(40_503)


class Vocabulary(msgspec.Struct, frozen=True):
    """Which terms are known.

    Attributes:
        places: `uint16[TERMS]`, where a term's weights stand in its zone; 0 is for all that are not
            known.
        width: places of a zone, that of the unknown ones among them.
    """

    places: NDArray[np.uint16]
    width: int

    def in_all_zones(self) -> NDArray[np.uint16]:
        """By term of any zone, where its weights stand among those of all zones."""
        zones = [self.places + zone * self.width for zone in range(ZONES)]
        return np.concatenate(zones, dtype=np.uint16)


def terms_in(read: Read, zone: int) -> Terms:
    """The terms of a text's head and tail: each word and what makes it longer, then the pairs."""
    words = _words(read)
    return _numbers(words, _pairs(words)) + zone


def user_terms_in(read: Read) -> Terms:
    """The same of the user's words, and once more of the first of them."""
    words = _words(read)
    first = words[:FIRST_WORDS]
    terms = _numbers(words, _pairs(words), first)
    placed = terms[terms.size - first.size :]
    placed += FIRST
    return terms


def _words(read: Read) -> Terms:
    """The words of a text's head and tail, `[words, 2]`: see `Read`."""
    at = read[:, 1].nonzero()[0]
    if len(at) > HEAD_WORDS + TAIL_WORDS:
        at = np.concatenate((at[:HEAD_WORDS], at[-TAIL_WORDS:]))
    return read.take(at, axis=0)[:, 1:]


def _pairs(words: Terms) -> Terms:
    """Each word with the one before it."""
    whole = words[:, 0]
    return whole[:-1] * _MIXING + whole[1:]


def _numbers(*terms: Terms) -> Terms:
    found = np.concatenate(terms, axis=None)
    found &= _NUMBER
    return found
