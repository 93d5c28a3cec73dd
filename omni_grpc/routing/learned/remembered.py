"""What was made of short texts, so that it is not made again."""

from collections.abc import Callable
from typing import Final

GENERATION_MAX: Final = 16_384
"""Texts of one generation; two are kept, of some 250 bytes a text."""

CHARS_MAX: Final = 24
"""Longer texts are seldom met again."""

BYTES_MAX: Final = 256
"""Of what is made of a text: short texts of rare signs have more."""


class Remembered(dict[str, bytes]):
    """By text what was made of it: looked up as in a dict, and made where nobody did.

    When a generation is full, the next begins, within a millisecond; what it asks for of the last
    one moves on, so that what is often met stays. Threads may share it.
    """

    def __init__(self, make: Callable[[str], bytes]) -> None:
        super().__init__()
        self._make = make
        self._last: dict[str, bytes] = {}

    def __missing__(self, text: str) -> bytes:
        made = self._last.get(text)
        if made is None:
            made = self._make(text)
            if len(text) > CHARS_MAX or len(made) > BYTES_MAX:
                return made
        if len(self) >= GENERATION_MAX:
            self._last = dict(self)
            self.clear()
        self[text] = made
        return made
