"""What is read of a prompt before anything is predicted: two vectors and its form.

Texts are taken down to their content first: markers of list items and code fences are the habit of
whoever wrote the prompt, and say nothing about how hard it is. Nothing here knows any benchmark.
"""

import math
import re
from typing import Final

import msgspec
import numpy as np

from omni_grpc.routing.learned.encoder import DIMENSIONS, Encoder, Vector, excerpt, unit
from omni_grpc.routing.learned.pieces import Read

FORM_COUNT: Final = 20
"""Numbers in the form of a text."""

_MARKER: Final = re.compile(
    r"[ \t]*(?:(?P<fence>(?:(?:```|~~~)\w*|\[/?[A-Z]+\]|</?\w+>)[ \t]*\Z)"
    r"|(?:[(\[]?(?:[A-Za-z]|\d{1,2})[\])}.:]|[-*•])[ \t]+(?=\S))"
)
"""What a line begins with that is a list's, or a line that is a fence."""

_CLASSES: Final = (
    (b"0123456789", 10),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10),
    (b"\\", 20),
    (b"{}[]()", 10),
    (b"=+*/^<>", 20),
    (b"$", 20),
    (bytes(range(128, 256)), 20),
)
"""Kinds of bytes whose shares are counted, each with what its share is multiplied by."""

_SCALES: Final = [(bytes([code]), scale) for code, (_, scale) in enumerate(_CLASSES, 1)]
_CLASS_OF: Final = bytes(
    next((code for code, (members, _) in enumerate(_CLASSES, 1) if byte in members), 0)
    for byte in range(256)
)
"""By byte, the code of its kind; 0 for all others."""

_RUNS: Final = bytes(0x30 if byte in b"0123456789" else 0x20 for byte in range(256))
"""By byte, a zero for a digit and a space for all else."""

_LONG_NUMBER: Final = b"0000"


class Features(msgspec.Struct, frozen=True):
    """One prompt as numbers.

    Attributes:
        meaning: two vectors in one, `float32[2 * DIMENSIONS]`: of all of it, and of what is no list
            item, which for a multiple choice is the question.
        form: `float32[FORM_COUNT]`: length, shares of digits, symbols and letters, lines, items.
        question: tokens and words of what is no list item.
    """

    meaning: Vector
    form: Vector
    question: Read

    @property
    def whole(self) -> Vector:
        """The vector of all of it, `float32[DIMENSIONS]`, of length 1."""
        return self.meaning[:DIMENSIONS]

    @property
    def stem(self) -> Vector:
        """That of what is no list item; of all of it where there is nothing else."""
        return self.meaning[DIMENSIONS:]


def read_features(text: str, encoder: Encoder) -> Features:
    """Reads a prompt: at most its head and its tail, some 0.1 ms."""
    stem, items = _parts(excerpt(text))
    read = encoder.read(stem)
    total = encoder.total(read)
    whole = question = unit(total)
    if items:
        whole = unit(total + encoder.total(encoder.read("\n".join(items))))
        question = question if stem else whole
    return Features(np.concatenate((whole, question)), _form(stem, items), read)


def question_in(text: str, encoder: Encoder) -> Read:
    """Tokens and words of what is no list item in a text: `Features.question` by itself."""
    stem, _ = _parts(excerpt(text))
    return encoder.read(stem)


def _parts(text: str) -> tuple[str, list[str]]:
    """What is no list item, and the items without their markers."""
    lines = text.split("\n")
    markers = [*map(_MARKER.match, lines)]
    if not any(markers):
        return text.strip(), []
    kept, stem, items = [], [], []
    for line, marker in zip(lines, markers, strict=True):
        if marker is None or marker["fence"] is None:
            kept.append(line)
        if marker is None:
            stem.append(line)
        elif marker["fence"] is None:
            items.append(line[marker.end() :])
    if len(items) == 1:
        # One marked line is no list: "A: what follows" is how people write.
        return "\n".join(kept).strip(), []
    return "\n".join(stem).strip(), items


def _form(stem: str, items: list[str]) -> Vector:
    text = "\n".join((stem, *items)) if items else stem
    count = max(len(text), 1)
    words = text.split()
    word_count = max(len(words), 1)
    lines = text.split("\n")
    data = text.encode()
    digits = data.translate(_RUNS)
    numbers = digits.split()
    count_of = data.translate(_CLASS_OF).count
    return np.array(
        [
            *[scale * count_of(code) / count for code, scale in _SCALES],
            math.log(count) / 8,
            math.log(word_count) / 6,
            math.log1p(len(lines)) / 3,
            len(items) / 10,
            math.log1p(len(numbers)) / 4,
            text.count("?") / 3,
            len("".join(words)) / word_count / 6,
            len(set(words)) / word_count,
            float("def " in text or "return " in text),
            text.count("    ") / len(lines) / 2,
            float(_LONG_NUMBER in digits),
            float(" not " in text or "except" in text.lower()),
            math.log1p(max(map(len, lines))) / 7,
        ],
        dtype=np.float32,
    )
