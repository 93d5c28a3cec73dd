"""Texts as vectors: the mean of WordLlama's token embeddings, without network and language model.

The weights and the tokenizer are the two files that the installed `wordllama` wheel ships; its own
loader is never called, because it looks in another folder and then downloads. Its embeddings are
Matryoshka: trained so that their first 64, 128 or 256 numbers do for themselves. The first 64 are
copied, 8 MB: docs/routing.md tells that nothing is lost by it, docs/performance.md what is gained.
"""

import importlib.util
import json
import math
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from omni_grpc.routing.learned.pieces import Pieces, Read

# One text at a time is no work for a pool of threads, and a pool does not survive a fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

Vector = NDArray[np.float32]

KIND: Final = "wordllama"
"""What weights say that they were trained with."""

DIMENSIONS: Final = 64
"""Numbers in a vector."""

TEXT_CHARS_MAX: Final = 2_500
"""Characters that are read of a text, half of its head and half of its tail: reading 20,000 takes
milliseconds, and what a task is stands at the ends."""

_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"

_ONES: Final = np.ones(4 * TEXT_CHARS_MAX + 8, dtype=np.float32)
"""One for each token that a text may have: at most one a byte."""


def excerpt(text: str) -> str:
    """The head and the tail of a text, at most `TEXT_CHARS_MAX` characters and a line feed.

    Lone surrogates, which no tokenizer takes, come out as question marks.
    """
    if len(text) > TEXT_CHARS_MAX:
        half = TEXT_CHARS_MAX // 2
        text = f"{text[:half]}\n{text[-half:]}"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Encoder:
    """Turns texts into vectors of `DIMENSIONS`; the same text always gives the same vector."""

    def __init__(self, folder: Path) -> None:
        """`folder` is that of the installed `wordllama` package.

        Raises:
            ValueError: it lacks its files, or has others than are known.
        """
        for name in (_TOKENIZER, _WEIGHTS):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} has no {name}: reinstall the wordllama package.")
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._pieces = Pieces(tokenizer)
        self._table = _embeddings(folder / _WEIGHTS)

    def read(self, text: str) -> Read:
        """The tokens and words of a text.

        The text is read whole, and must have no lone surrogates: see `excerpt`.
        """
        return self._pieces.read(text)

    def total(self, read: Read) -> Vector:
        """The sum of the vectors of a text's tokens; sums of a text's parts may be added."""
        rows: NDArray[np.float32] = self._table.take(read[:, 0], axis=0)
        if len(rows) > len(_ONES):
            total: Vector = rows.sum(axis=0)
        else:
            total = _ONES[: len(rows)].dot(rows)  # in half the time of a sum
        return total


@lru_cache(maxsize=1)
def shared_encoder() -> Encoder:
    """The one encoder of this process; the first call opens its files (about 60 ms).

    Raises:
        ValueError: the wordllama package is not there, lacks its files, or has others than are
            known.
    """
    found = importlib.util.find_spec("wordllama")
    if found is None or found.origin is None:
        raise ValueError("The wordllama package, which texts are read with, is not installed.")
    return Encoder(Path(found.origin).parent)


def _embeddings(path: Path) -> NDArray[np.float32]:
    """The first `DIMENSIONS` of each row of the one table of a safetensors file of half floats."""
    with path.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_bytes))
    entry = header["embedding.weight"]
    rows, columns = entry["shape"]
    if entry["dtype"] != "F16" or columns < DIMENSIONS:
        raise ValueError(f"{path}: expected F16 embeddings of {DIMENSIONS} dimensions or more.")
    start = 8 + header_bytes + int(entry["data_offsets"][0])
    table = np.memmap(path, dtype=np.float16, mode="r", offset=start, shape=(rows, columns))
    return np.array(table[:, :DIMENSIONS], dtype=np.float32)


def unit(vector: Vector) -> Vector:
    """A vector at length 1; a zero vector stays one."""
    length = math.sqrt(vector.dot(vector))
    return vector if length == 0.0 else vector / np.float32(length)
