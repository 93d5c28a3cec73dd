"""The trained weights as they lie in the package: one file, mapped into memory, read-only.

Eight bytes of length, a JSON header with the vocabulary and the shapes, then the arrays as
little-endian numbers. `scripts/train_tasks.py` writes it; the same data give the same bytes.
"""

import struct
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

FILE: Final = Path(__file__).with_name("task_weights.bin")
"""The weights of this version."""

FORMAT: Final = 2
_LENGTH: Final = struct.Struct("<Q")
_ALIGNMENT: Final = 64


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the arrays mean.

    Attributes:
        format: the version of the file's form.
        encoder: the kind of encoder that the weights were trained with.
        tasks: the names of the first outputs, in order.
        vocabulary: words by their places.
        dense_count: rows of the dense weights.
        output_count: columns of both arrays: tasks, then needs, then complexity.
        temperature: what task logits are divided by, so that probabilities hold on new sources.
        need_thresholds: from which probability on a need is said, by need.
        complexity_scale: see `complexity_shift`.
        complexity_shift: the last logit times the scale plus the shift is the calibrated one.
    """

    format: int
    encoder: str
    tasks: tuple[str, ...]
    vocabulary: tuple[str, ...]
    dense_count: int
    output_count: int
    temperature: float
    need_thresholds: tuple[float, ...]
    complexity_scale: float
    complexity_shift: float


class Weights:
    """A mapped file of weights.

    Attributes:
        header: what the arrays mean.
        vocabulary: places of words.
        dense: `float32[dense_count, output_count]`.
        words: `float16[zones * len(vocabulary), output_count]`.
    """

    def __init__(self, path: Path = FILE) -> None:
        """Maps a file; ValueError where its form is not the one that this version reads."""
        with path.open("rb") as file:
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            self.header = msgspec.json.decode(file.read(length), type=Header)
        header = self.header
        if header.format != FORMAT:
            raise ValueError(f"{path}: format {header.format}; this version reads {FORMAT}.")
        start = _aligned(_LENGTH.size + length)
        shape = (header.dense_count, header.output_count)
        self.dense: NDArray[np.float32] = np.memmap(
            path, dtype="<f4", mode="r", offset=start, shape=shape
        )
        start = _aligned(start + self.dense.nbytes)
        rows = (path.stat().st_size - start) // (2 * header.output_count)
        self.words: NDArray[np.float16] = np.memmap(
            path, dtype="<f2", mode="r", offset=start, shape=(rows, header.output_count)
        )
        self.vocabulary = {word: place for place, word in enumerate(header.vocabulary)}


def write(
    path: Path, header: Header, dense: NDArray[np.float64], words: NDArray[np.float64]
) -> None:
    """Writes what `Weights` reads."""
    text = msgspec.json.encode(header)
    body = _padded(_LENGTH.pack(len(text)) + text)
    body += _padded(dense.astype("<f4").tobytes())
    path.write_bytes(body + words.astype("<f2").tobytes())


def _aligned(at: int) -> int:
    return -(-at // _ALIGNMENT) * _ALIGNMENT


def _padded(data: bytes) -> bytes:
    return data.ljust(_aligned(len(data)), b"\x00")
