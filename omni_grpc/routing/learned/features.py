"""What is read of a prompt before anything is predicted: two vectors and its form.

Texts are taken down to their content first: markers of list items and code fences are the habit of
whoever wrote the prompt, and say nothing about how hard it is. Nothing here knows any benchmark.
"""

import math
import re
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned.encoder import DIMENSIONS, Encoder, Vector, excerpt, unit

FORM_COUNT: Final = 20
"""Numbers in the form of a text."""

_ITEM: Final = re.compile(r"[ \t]*(?:[(\[]?(?:[A-Za-z]|\d{1,2})[\])}.:]|[-*•])[ \t]+(?=\S)")
_FENCE: Final = re.compile(r"[ \t]*(?:(?:```|~~~)\w*|\[/?[A-Z]+\]|</?\w+>)[ \t]*")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")

_CLASSES: Final = (
    b"0123456789",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"\\",
    b"{}[]()",
    b"=+*/^<>",
    b"$",
    bytes(range(128, 256)),
)
_CLASS_SCALES: Final = (10, 10, 20, 10, 20, 20, 20)


class Features(msgspec.Struct, frozen=True):
    """One prompt as numbers.

    Attributes:
        meaning: two vectors in one, `float32[2 * DIMENSIONS]`: of all of it, and of what is no list
            item, which for a multiple choice is the question.
        form: `float32[FORM_COUNT]`: length, shares of digits, symbols and letters, lines, items.
    """

    meaning: Vector
    form: Vector

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
    of_stem = encoder.total(stem)
    whole = unit(of_stem + encoder.total("\n".join(items))) if items else unit(of_stem)
    question = unit(of_stem) if stem and items else whole
    return Features(np.concatenate((whole, question)), _form(stem, items))


def _parts(text: str) -> tuple[str, list[str]]:
    """What is no list item, and the items without their markers."""
    stem, items = [], []
    lines = [line for line in text.split("\n") if _FENCE.fullmatch(line) is None]
    for line in lines:
        marker = _ITEM.match(line)
        if marker is None:
            stem.append(line)
        else:
            items.append(line[marker.end() :])
    if len(items) == 1:
        # One marked line is no list: "A: what follows" is how people write.
        return "\n".join(lines).strip(), []
    return "\n".join(stem).strip(), items


def _form(stem: str, items: list[str]) -> Vector:
    text = "\n".join((stem, *items))
    count = max(len(text), 1)
    words = text.split()
    word_count = max(len(words), 1)
    lines = text.split("\n")
    numbers = _NUMBER.findall(text)
    symbols = np.bincount(np.frombuffer(text.encode(), dtype=np.uint8), minlength=256)
    shares = (symbols @ _CLASS_OF) / count
    return np.array(
        [
            *shares.tolist(),
            math.log(count) / 8,
            math.log(word_count) / 6,
            math.log1p(len(lines)) / 3,
            len(items) / 10,
            math.log1p(len(numbers)) / 4,
            text.count("?") / 3,
            sum(map(len, words)) / word_count / 6,
            len(set(words)) / word_count,
            float("def " in text or "return " in text),
            text.count("    ") / len(lines) / 2,
            float(max(map(len, numbers), default=0) >= _LONG_NUMBER),
            float(" not " in text or "except" in text.lower()),
            math.log1p(max(map(len, lines))) / 7,
        ],
        dtype=np.float32,
    )


_LONG_NUMBER: Final = 4


def _class_table() -> NDArray[np.float64]:
    table = np.zeros((256, len(_CLASSES)))
    for column, (members, scale) in enumerate(zip(_CLASSES, _CLASS_SCALES, strict=True)):
        table[list(members), column] = scale
    return table


_CLASS_OF: Final = _class_table()
