"""Texts as the numbers of their tokens and words, found piece by piece: most were read before.

The tokenizer reads a text as one long word, which takes most of a routing decision. No token of its
vocabulary crosses the borders at which a text is cut here, so that the pieces' tokens, one after
the other, are the text's own. Pieces that were read are remembered, and the words in them with
their tokens.
"""

import re
from array import array
from collections.abc import Iterable
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from omni_grpc.routing.learned.remembered import Remembered

Read = NDArray[np.int32]
"""A text as it was read, `int32[tokens, 3]`: by token its number; that of the word which begins
with it, or of its stem, the first token of a longer word; and that of the stem and what follows.
0 where no word begins, or none that is longer. Capitals and small letters are one, but where they
make other tokens. Digits and signs are no words; bytes that are tokens, such as a line feed and
those of rare signs, are."""

_NUMBERS: Final = 3

_PIECE: Final = re.compile(
    r" *(?:[A-Za-z]++(?![^\0-\x7f])|[!-/:-@\[-`{-~\r]++(?![^\0-\x7f])|[^ \n\t0-9]++)|[\n\t0-9]| +"
)
"""Letters or signs with the spaces before them; a digit, a line feed; spaces before those. What is
not ASCII has borders of its own, so it stays with all that touches it."""

_ASCII_PIECE: Final = re.compile(r" *(?:[A-Za-z]++|[^ \n\t0-9A-Za-z]++)|[\n\t0-9]| +")
"""The same for texts of ASCII alone, in three quarters of the time."""

_SPACE: Final = "\u2581"
"""What the vocabulary has in the place of a space."""


def cut(text: str) -> list[str]:
    """The pieces of a text, all of it, in order."""
    return (_ASCII_PIECE if text.isascii() else _PIECE).findall(text)


class Pieces:
    """Reads texts. Threads may share it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._model = tokenizer.model
        self._marks = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        self._remembered = Remembered(self._read)

    def read(self, text: str) -> Read:
        """Reads a text. It must have no lone surrogates."""
        if not text:
            return np.empty((0, _NUMBERS), dtype=np.int32)
        # Such as `<s>`: not for the model to read.
        if "<" in text and any(map(text.__contains__, self._marks)):
            read = self._tokenizer.encode(text, add_special_tokens=False)
            return _array(_rows((token, "") for token in read.ids))
        # The vocabulary begins each text with a space. Joined bytes are quicker than joined lists.
        return _array(b"".join(map(self._remembered.__getitem__, cut(f" {text}"))))

    def _read(self, piece: str) -> bytes:
        tokens = self._model.tokenize(piece.replace(" ", _SPACE))
        return _rows([(token.id, token.value) for token in tokens])


def _array(read: bytes) -> Read:
    return np.frombuffer(read, dtype=np.int32).reshape(-1, _NUMBERS)


def _rows(tokens: Iterable[tuple[int, str]]) -> bytes:
    """What is read of a piece's tokens, each a number and a text: the bytes of a `Read`."""
    rows = array("i")
    word, at = "", 0
    for token, text in tokens:
        bare = text.lstrip(_SPACE).lower()
        if not (bare.isalpha() or any(map(str.isalpha, bare))):
            word = ""
        elif word and text[:1].islower():
            if not rows[at + 2]:
                rows[at + 1], rows[at + 2] = _number(f"{word}~"), _number(f"{word}~{bare}")
        else:
            word, at = bare, len(rows)
            rows.extend((token, _number(word), 0))
            continue
        rows.extend((token, 0, 0))
    return rows.tobytes()


def _number(word: str) -> int:
    """A word, or a part of one, as a number from 1 on."""
    return crc32(word.encode()) % (2**31 - 1) + 1
