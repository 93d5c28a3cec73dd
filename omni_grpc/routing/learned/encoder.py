"""Texts as vectors: the mean of WordLlama's token embeddings, without network and language model.

The weights and the tokenizer are the two files that the installed `wordllama` wheel ships; its own
loader is never called, because it looks in another folder and then downloads. Its embeddings are
Matryoshka: trained so that their first 64, 128 or 256 numbers do for themselves. The first 64 are
copied, 8 MB: docs/routing.md tells that nothing is lost by it, docs/performance.md what is gained.
Where the wheel lacks its files, hashed words take their place: `Encoder.kind` says which, and what
was trained on one kind is never asked with the other.
"""

import hashlib
import importlib.util
import json
import math
import os
import re
import struct
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from omni_grpc.routing.learned.pieces import Pieces

# One text at a time is no work for a pool of threads, and a pool does not survive a fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

Vector = NDArray[np.float32]
Kind = Literal["wordllama", "hashed"]

DIMENSIONS: Final = 64
"""Numbers in a vector."""

TEXT_CHARS_MAX: Final = 2_500
"""Characters that are read of a text, half of its head and half of its tail: reading 20,000 takes
milliseconds, and what a task is stands at the ends."""

_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"
_WORD: Final = re.compile(r"\w+|[^\w\s]")

_ONES: Final = np.ones(4 * TEXT_CHARS_MAX + 8, dtype=np.float32)
"""One for each token that a text may have: at most one a byte."""


def excerpt(text: str) -> str:
    """The head and the tail of a text, at most `TEXT_CHARS_MAX` characters and a line feed.

    Lone surrogates, which no tokenizer takes, come out as question marks.
    """
    if len(text) > TEXT_CHARS_MAX:
        half = TEXT_CHARS_MAX // 2
        text = f"{text[:half]}\n{text[-half:]}"
    return text.encode("utf-8", "replace").decode()


class Encoder:
    """Turns texts into unit vectors of `DIMENSIONS`; the same text always gives the same vector.

    Attributes:
        kind: `wordllama`, or `hashed` where its files are missing.
    """

    def __init__(self, folder: Path | None) -> None:
        """`folder` is that of the installed `wordllama` package; None for hashed words."""
        self.kind: Kind = "hashed"
        self._pieces: Pieces | None = None
        if folder is not None and all((folder / name).is_file() for name in (_WEIGHTS, _TOKENIZER)):
            tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            self._pieces = Pieces(tokenizer)
            self._table = _embeddings(folder / _WEIGHTS)
            self.kind = "wordllama"

    def encode(self, text: str) -> Vector:
        """The vector of a text, `float32[DIMENSIONS]`, of length 1; all zero for an empty text."""
        return unit(self.total(excerpt(text)))

    def total(self, text: str) -> Vector:
        """The sum of the vectors of a text's tokens; sums of a text's parts may be added.

        The text is read whole, and must have no lone surrogates: see `excerpt`.
        """
        if self._pieces is None:
            return _hashed(text)
        tokens = self._pieces.tokens(text)
        rows: NDArray[np.float32] = self._table.take(tokens, axis=0)
        if len(rows) > len(_ONES):
            total: Vector = rows.sum(axis=0)
        else:
            total = _ONES[: len(rows)] @ rows  # in half the time of a sum
        return total


@lru_cache(maxsize=1)
def shared_encoder() -> Encoder:
    """The one encoder of this process; the first call opens its files (about 60 ms)."""
    found = importlib.util.find_spec("wordllama")
    origin = None if found is None else found.origin
    return Encoder(None if origin is None else Path(origin).parent)


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


def _hashed(text: str) -> Vector:
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    for word in _WORD.findall(text.lower()):
        place, sign = _place_of(word)
        vector[place] += sign
    return vector


@lru_cache(maxsize=65_536)
def _place_of(word: str) -> tuple[int, float]:
    digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
    number = int.from_bytes(digest, "little")
    return number % DIMENSIONS, 1.0 if number >> 31 else -1.0


def unit(vector: Vector) -> Vector:
    """A vector at length 1; a zero vector stays one."""
    length = math.sqrt(vector @ vector)
    return vector if length == 0.0 else vector / np.float32(length)
