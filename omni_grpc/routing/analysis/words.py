"""The words of a prompt that say what is wanted, as places in a fixed vocabulary.

Instructions stand at the head or the tail of a prompt, so only those are read. A word counts
itself, its stem of five letters, and with the word before it; scripts without spaces count pairs
of characters. A vocabulary is what training kept: nothing here is a list of words by hand.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

HEAD_CHARS: Final = 260
"""Characters of a turn's head that are read for words."""

TAIL_CHARS: Final = 160
"""Characters of a turn's tail that are read for words."""

FIRST_WORDS: Final = 3
"""Words at the very head that count once more, for the place where they stand."""

_STEM_CHARS: Final = 5
_STEMMED_CHARS: Final = 7
_UNSPACED_CHARS_MAX: Final = 80
_UNSPACED_FROM: Final = "\u0e00"

_WORD: Final = re.compile(r"[^\W\d_]+")
_ASCII_LETTERS: Final = "".join(
    char.lower() if char.isalpha() else " " for char in map(chr, range(128))
)
"""By ASCII character, its small letter; a space in the place of what is no letter."""


def words_of(text: str) -> set[str]:
    """All features of the head and the tail of a text."""
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        found = _features(text[:HEAD_CHARS])
        found |= _features(text[-TAIL_CHARS:])
        return found
    return _features(text)


def first_words_of(text: str) -> set[str]:
    """The features of the first few words."""
    words = _words(text[:80])
    if words and words[0] >= _UNSPACED_FROM:
        words = [words[0][:8]]
    return _mixed_features(words[:FIRST_WORDS])


def places_of(features: set[str], vocabulary: Mapping[str, int]) -> list[int]:
    """Where features stand in the vocabulary, in order; unknown ones are left out."""
    return sorted([vocabulary[feature] for feature in vocabulary.keys() & features])


def _words(text: str) -> list[str]:
    """The words of a text in small letters."""
    if text.isascii():  # twice as quick as the expression, which says the same
        return text.translate(_ASCII_LETTERS).split()
    return _WORD.findall(text.lower())


def _features(text: str) -> set[str]:
    words = _words(text)
    if not text.isascii():
        return _mixed_features(words)
    found = set(words)
    found.update(map(" ".join, pairwise(words)))
    found.update([word[:_STEM_CHARS] + "~" for word in words if len(word) >= _STEMMED_CHARS])
    return found


def _mixed_features(words: list[str]) -> set[str]:
    """The same where some words may be of scripts without spaces."""
    found: set[str] = set()
    before = ""
    for word in words:
        if word >= _UNSPACED_FROM:
            unspaced = word[:_UNSPACED_CHARS_MAX]
            found.update(unspaced[at : at + 2] for at in range(len(unspaced) - 1))
            before = ""
            continue
        found.add(word)
        if before:
            found.add(f"{before} {word}")
        if len(word) >= _STEMMED_CHARS:
            found.add(word[:_STEM_CHARS] + "~")
        before = word
    return found
