"""Finds names that resemble one that does not exist, for a helpful "not found".

Each name is kept with a bit mask of its letter pairs; counting common bits picks the few names
that difflib then compares in earnest.
"""

import difflib
import heapq
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

_MASK_BITS: Final = 120
_COMPARED_MAX: Final = 32
"""Names that difflib compares: some 50 µs each, and the mask ranks the right one far above this."""

_LIKENESS_MIN: Final = 0.6
_CHARS_COMPARED_MAX: Final = 96
"""Longest name known: 77. What is longer is cut, so that a long wrong name costs no more."""

Fingerprint = tuple[int, int, str]
"""A name with the mask of its letter pairs and the count of bits in it."""


def fingerprint(name: str) -> Fingerprint:
    """What is kept of a name to compare others with it."""
    folded = f" {name.lower()}".encode()
    mask = 0
    for first, second in pairwise(folded):
        mask |= 1 << (first * 31 + second) % _MASK_BITS
    return mask, mask.bit_count(), name


def near(name: str, known: Iterable[Fingerprint], count: int) -> tuple[str, ...]:
    """Up to `count` of the known names that resemble `name`, the likest first."""
    wanted = name[:_CHARS_COMPARED_MAX]
    mask, bits, _ = fingerprint(wanted)
    ranked = heapq.nlargest(
        _COMPARED_MAX,
        (((mask & other).bit_count() / (bits + size), text) for other, size, text in known),
    )
    folded = {text.lower(): text for _, text in ranked}
    found = difflib.get_close_matches(wanted.lower(), folded, n=count, cutoff=_LIKENESS_MIN)
    return tuple(folded[text] for text in found)


def did_you_mean(name: str, known: Iterable[str], count: int = 1) -> str:
    """A question that names what `name` may have meant, with a space before it; empty for none."""
    found = near(name, (fingerprint(str(one)) for one in known), count)
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""
