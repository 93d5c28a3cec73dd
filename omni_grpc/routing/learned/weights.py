"""The file of trained weights: a header in JSON, then arrays that are mapped into memory.

The same weights always give the same bytes.
"""

import json
import struct
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned.basis import Basis
from omni_grpc.routing.learned.encoder import KIND
from omni_grpc.routing.learned.heads import Pool, PoolFacts
from omni_grpc.routing.learned.ratings import RatingScale

MAGIC: Final = b"OMNIROUT"
VERSION: Final = 4
ALIGNMENT: Final = 64
_ITEM_BYTES: Final = 4

_BASIS: Final = tuple(field.name for field in msgspec.structs.fields(Basis))
_POOL_FACTS: Final = tuple(field.name for field in msgspec.structs.fields(PoolFacts))
_POOL_ARRAYS: Final = tuple(
    field.name
    for field in msgspec.structs.fields(Pool)
    if field.name not in (*_POOL_FACTS, "basis")
)


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """All that was trained."""

    pools: tuple[Pool, ...]
    scale: RatingScale


def write_weights(path: Path, weights: Weights) -> None:
    """Writes a file of weights, whole or not at all."""
    arrays: dict[str, NDArray[np.float32]] = {}
    pools = []
    for pool in weights.pools:
        arrays |= {f"{pool.name}.{name}": getattr(pool, name) for name in _POOL_ARRAYS}
        arrays |= {f"{pool.name}.basis.{name}": getattr(pool.basis, name) for name in _BASIS}
        pools.append({name: getattr(pool, name) for name in _POOL_FACTS})
    entries, blobs, offset = {}, [], 0
    for name, array in arrays.items():
        if array.dtype.itemsize != _ITEM_BYTES:
            raise ValueError(f"{name} has the type {array.dtype}; weights have 4 bytes a number.")
        blob = np.ascontiguousarray(array).tobytes()
        blob += b"\0" * (-len(blob) % ALIGNMENT)
        entries[name] = [str(array.dtype), list(array.shape), offset]
        blobs.append(blob)
        offset += len(blob)
    header = json.dumps(
        {
            "version": VERSION,
            "encoder": KIND,
            "scale": msgspec.structs.asdict(weights.scale),
            "pools": pools,
            "arrays": entries,
        },
        sort_keys=True,
    ).encode()
    header += b" " * (-(len(MAGIC) + 8 + len(header)) % ALIGNMENT)
    partial = path.with_suffix(".partial")
    partial.write_bytes(MAGIC + struct.pack("<Q", len(header)) + header + b"".join(blobs))
    partial.replace(path)


def read_weights(path: Path) -> Weights:
    """Reads a file of weights; its arrays stay on disk, mapped into memory, read-only.

    Raises:
        ValueError: it is no such file, of another version, or of another encoder.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path} is no file of routing weights.")
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_bytes))
    if header["version"] != VERSION:
        raise ValueError(
            f"{path} has version {header['version']} of the routing weights; "
            f"this release reads version {VERSION}. Train them again."
        )
    if header["encoder"] != KIND:
        raise ValueError(f"{path} needs the {header['encoder']} encoder; this release has {KIND}.")
    start = len(MAGIC) + 8 + header_bytes
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=start)

    def floats(name: str) -> NDArray[np.float32]:
        shape, offset = header["arrays"][name][1:]
        flat = data[offset : offset + int(np.prod(shape)) * _ITEM_BYTES].view(np.float32)
        return flat.reshape(shape).view(np.ndarray)

    def places(name: str) -> NDArray[np.int32]:
        return floats(name).view(np.int32)

    pools = [
        Pool(
            **msgspec.structs.asdict(facts),
            basis=Basis(**{name: floats(f"{facts.name}.basis.{name}") for name in _BASIS}),
            quality=floats(f"{facts.name}.quality"),
            tokens=floats(f"{facts.name}.tokens"),
            tokens_scale=floats(f"{facts.name}.tokens_scale"),
            mean_quality=floats(f"{facts.name}.mean_quality"),
            landmarks=places(f"{facts.name}.landmarks"),
            forms=floats(f"{facts.name}.forms"),
        )
        for facts in msgspec.convert(header["pools"], list[PoolFacts])
    ]
    return Weights(
        pools=tuple(pools),
        scale=msgspec.convert(header["scale"], RatingScale),
    )
