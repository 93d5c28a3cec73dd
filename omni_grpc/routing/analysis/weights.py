"""The trained weights as they lie in the package: one file, mapped into memory, read-only.

Eight bytes of length, a JSON header with the shapes, then the arrays as little-endian numbers.
`scripts/train_tasks.py` writes it; the same data give the same bytes.
"""

import struct
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.analysis.vocabulary import TERMS, Vocabulary
from omni_grpc.routing.learned.encoder import KIND

FILE: Final = Path(__file__).with_name("task_weights.bin")
"""The weights of this version."""

FORMAT: Final = 3
_LENGTH: Final = struct.Struct("<Q")
_ALIGNMENT: Final = 64


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the arrays mean.

    Attributes:
        format: the version of the file's form.
        encoder: the kind of encoder that the weights were trained with.
        tasks: the names of the first outputs, in order.
        width: of the vocabulary: see `Vocabulary`.
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
    width: int
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
        vocabulary: the terms that are known.
        dense: `float32[dense_count, output_count]`.
        terms: `float16[zones * width, output_count]`; the first row of each zone is zero.
    """

    def __init__(self, path: Path = FILE) -> None:
        """Maps a file.

        Raises:
            ValueError: its form is not the one that this version reads, or it was trained with
                another encoder.
        """
        with path.open("rb") as file:
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            self.header = msgspec.json.decode(file.read(length), type=Header)
        header = self.header
        if header.format != FORMAT:
            raise ValueError(f"{path}: format {header.format}; this version reads {FORMAT}.")
        if header.encoder != KIND:
            raise ValueError(f"{path} needs the {header.encoder} encoder; this version has {KIND}.")
        start = _aligned(_LENGTH.size + length)

        def mapped(kind: str, *shape: int) -> NDArray[Any]:
            nonlocal start
            array = np.memmap(path, dtype=kind, mode="r", offset=start, shape=shape)
            start = _aligned(start + array.nbytes)
            return array

        # Copied: of a map, each array made from it would be one.
        self.vocabulary = Vocabulary(np.array(mapped("<u2", TERMS)), header.width)
        self.dense: NDArray[np.float32] = mapped("<f4", header.dense_count, header.output_count)
        rows = (path.stat().st_size - start) // (2 * header.output_count)
        self.terms: NDArray[np.float16] = mapped("<f2", rows, header.output_count)


def write(
    path: Path,
    header: Header,
    vocabulary: Vocabulary,
    dense: NDArray[np.float64],
    terms: NDArray[np.float64],
) -> None:
    """Writes what `Weights` reads."""
    text = msgspec.json.encode(header)
    body = _padded(_LENGTH.pack(len(text)) + text)
    body += _padded(vocabulary.places.astype("<u2").tobytes())
    body += _padded(dense.astype("<f4").tobytes())
    path.write_bytes(body + terms.astype("<f2").tobytes())


def _aligned(at: int) -> int:
    return -(-at // _ALIGNMENT) * _ALIGNMENT


def _padded(data: bytes) -> bytes:
    return data.ljust(_aligned(len(data)), b"\x00")
