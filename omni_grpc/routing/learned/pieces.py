"""Texts as the numbers of their tokens and words, found piece by piece: most were read before.

The tokenizer reads a text as one long word, which takes most of a routing decision. No token of its
vocabulary crosses the borders at which a text is cut here, so that the pieces' tokens, one after
the other, are the text's own. Pieces that were read are remembered, within bounds, and the words in
them with their tokens.
"""

import re
from collections.abc import Sequence
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Read = NDArray[np.int32]
"""A text as it was read, `int32[tokens, 3]`: by token its number; that of the word which begins
with it, or of its stem, the first token of a longer word; and that of the stem and what follows.
0 where no word begins, or none that is longer. Capitals and small letters are one, but where they
make other tokens. Digits and signs are no words; bytes that are tokens, such as a line feed and those
of rare signs, are."""

PIECES_MAX: Final = 16_384
"""Pieces that are remembered, some 250 bytes each; one in twenty of a new text is new by then."""

_NUMBERS: Final = 3

PIECE_CHARS_MAX: Final = 24
"""Longer pieces are seldom met again."""

_PIECE: Final = re.compile(
    r" *(?:[A-Za-z]++(?![^\0-\x7f])|[!-/:-@\[-`{-~\r]++(?![^\0-\x7f])|[^ \n\t0-9]++)|[\n\t0-9]| +"
)
"""Letters or signs with the spaces before them; a digit, a line feed; spaces before those. What is
not ASCII has borders of its own, so it stays with all that touches it."""

_SPACE: Final = "\u2581"
"""What the vocabulary has in the place of a space."""


def cut(text: str) -> list[str]:
    """The pieces of a text, all of it, in order."""
    return _PIECE.findall(text)


class Pieces(dict[str, bytes]):
    """Pieces of text with what is read of them, as the bytes of an array."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._model = tokenizer.model
        self._marks = [token.content for token in tokenizer.get_added_tokens_decoder().values()]

    def read(self, text: str) -> Read:
        """Reads a text. It must have no lone surrogates."""
        if not text:
            return np.empty((0, _NUMBERS), dtype=np.int32)
        if any(map(text.__contains__, self._marks)):  # such as `<s>`: not for the model to read
            return _rows(self._tokenizer.encode(text, add_special_tokens=False).ids)
        # The vocabulary begins each text with a space. Joined bytes are quicker than joined lists.
        found = map(self.__getitem__, cut(f" {text}"))
        return np.frombuffer(b"".join(found), dtype=np.int32).reshape(-1, _NUMBERS)

    def __missing__(self, piece: str) -> bytes:
        tokens = self._model.tokenize(piece.replace(" ", _SPACE))
        texts = [token.value.lstrip(_SPACE).lower() for token in tokens]
        begins = [not token.value[:1].islower() for token in tokens]
        read = _rows([token.id for token in tokens], texts, begins).tobytes()
        if len(piece) <= PIECE_CHARS_MAX:
            if len(self) >= PIECES_MAX:
                self.clear()
            self[piece] = read
        return read


def _rows(tokens: Sequence[int], texts: Sequence[str] = (), begins: Sequence[bool] = ()) -> Read:
    """What is read of a piece's tokens, of which some may begin words whatever is before them."""
    rows = np.zeros((len(tokens), _NUMBERS), dtype=np.int32)
    rows[:, 0] = tokens
    is_word = [any(map(str.isalpha, text)) for text in texts]
    goes_on = [
        is_word[at] and at > 0 and is_word[at - 1] and not begins[at] for at in range(len(texts))
    ]
    for at, text in enumerate(texts):
        if is_word[at] and not goes_on[at]:
            if any(goes_on[at + 1 : at + 2]):
                rows[at, 1:] = _number(text + "~"), _number(f"{text}~{texts[at + 1]}")
            else:
                rows[at, 1] = _number(text)
    return rows


def _number(word: str) -> int:
    """A word, or a part of one, as a number from 1 on."""
    return crc32(word.encode()) % (2**31 - 1) + 1
