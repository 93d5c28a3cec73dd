"""What the readers of all wire formats beside chats share: JSON, counts and vectors.

Whatever bytes come end in a value or in a ProviderFault.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from omni_grpc.core.media import Embeddings
from omni_grpc.core.usage import Usage
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.media_dialect import ProviderMedia

COUNT_MAX: Final = 10**9
"""Largest count that is believed, as of a chat's tokens."""

T = TypeVar("T")


def read(data: bytes, kind: type[T], faults: Faults) -> T:
    """An answer of one kind.

    Raises:
        ProviderFault: it is none, or an error in spite of its status.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except BAD_JSON:
        pass
    try:
        found = msgspec.json.decode(data)
    except BAD_JSON:
        raise faults.malformed("its answer is not JSON") from None
    if isinstance(found, dict) and found.get("error") is not None:
        raise faults.error_object(found["error"])
    raise faults.malformed("its answer is not what was asked for")


def embeddings(
    vectors: Sequence[Sequence[float]], asked: int, prompt: int | None, faults: Faults
) -> ProviderMedia:
    """An answer of vectors as numbers; `prompt` is what it says of its tokens.

    Raises:
        ProviderFault: it has not one for each input.
    """
    if len(vectors) != asked:
        raise faults.malformed(f"it gave {len(vectors)} embeddings for {asked} inputs")
    try:
        packed = tuple(pack(one) for one in vectors)
    except (struct.error, OverflowError):
        raise faults.malformed("an embedding of its answer cannot be read") from None
    return ProviderMedia(
        Embeddings(vectors=packed), None if prompt is None else Usage(prompt=prompt)
    )


def pack(numbers: Sequence[float]) -> bytes:
    """A vector as `core.media.Embeddings` has it.

    Raises:
        OverflowError: a number is beyond 32 bits.
    """
    return struct.pack(f"<{len(numbers)}f", *numbers)


def count(value: object) -> int | None:
    """A count that can be believed."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= COUNT_MAX:
        return None
    return value


def given(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that have a value."""
    return {key: value for key, value in fields.items() if value is not None}
