"""Texts as the numbers of their tokens, found piece by piece: most words were read before.

The tokenizer reads a text as one long word, which takes most of a routing decision. No token of its
vocabulary crosses the borders at which a text is cut here, so that the pieces' tokens, one after
the other, are the text's own. Pieces that were read are remembered, within bounds.
"""

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

PIECES_MAX: Final = 16_384
"""Pieces that are remembered, some 250 bytes each; one in twenty of a new text is new by then."""

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
    """Pieces of text with the numbers of their tokens, as the bytes of an array."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._model = tokenizer.model
        self._marks = [token.content for token in tokenizer.get_added_tokens_decoder().values()]

    def tokens(self, text: str) -> NDArray[np.intp]:
        """The numbers of a text's tokens. It must have no lone surrogates."""
        if not text:
            return np.empty(0, dtype=np.intp)
        if any(map(text.__contains__, self._marks)):  # such as `<s>`: not for the model to read
            read = self._tokenizer.encode(text, add_special_tokens=False)
            return np.array(read.ids, dtype=np.intp)
        # The vocabulary begins each text with a space. Joined bytes are quicker than joined lists.
        found = map(self.__getitem__, cut(f" {text}"))
        return np.frombuffer(b"".join(found), dtype=np.intp)

    def __missing__(self, piece: str) -> bytes:
        read = self._model.tokenize(piece.replace(" ", _SPACE))
        tokens = np.array([token.id for token in read], dtype=np.intp).tobytes()
        if len(piece) <= PIECE_CHARS_MAX:
            if len(self) >= PIECES_MAX:
                self.clear()
            self[piece] = tokens
        return tokens
