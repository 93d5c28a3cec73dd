"""The records of a call journal, as they lie in its segments.

A journal is read by the version of this code that comes after the one that wrote it, or before it
when that was rolled back: fields are only ever added, at the end and with a default.
"""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

import msgspec

from omni_grpc.billing.operations import FinalOp, HoldOp
from omni_grpc.core.ids import HoldId
from omni_grpc.core.money import Price
from omni_grpc.core.usage import Usage


class Opened(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """Whose journal this is; the first record of each segment.

    `since_ms` is the Unix time in milliseconds from which on it tells of all that was dispatched,
    if this is the first record that is left of it; 0 where nothing was ever deleted. `ledger` is
    the one that its holds are in.
    """

    owner: str
    epoch: int
    boot_id: str
    since_ms: int
    ledger: str = ""


class Dispatched(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """A provider is about to be called under a hold of `granted` nano-USD, at a pinned price."""

    hold: HoldOp
    granted: int
    price: Price


class Progress(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """What is known of a call that runs: its usage, and the provider's name of its answer."""

    hold_id: HoldId
    usage: Usage | None = None
    provider_ref: str | None = None


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """The end of a hold."""

    op: FinalOp


class Acknowledged(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """Holds whose ends the database has committed, in the order in which it did: 16 bytes each."""

    hold_ids: bytes

    def __iter__(self) -> Iterator[HoldId]:
        for at in range(0, len(self.hold_ids), 16):
            yield HoldId(UUID(bytes=self.hold_ids[at : at + 16]))


class Replayed(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The database has lost commits: what was noted as acknowledged before this may be gone."""


Record = Opened | Dispatched | Progress | Ended | Acknowledged | Replayed

_encoder: Final = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder: Final[msgspec.msgpack.Decoder[Record]] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """A record as bytes.

    Raises:
        OverflowError: a number is beyond 64 bits.
    """
    return _encoder.encode(record)


def decode(content: bytes) -> Record:
    """The record of these bytes.

    Raises:
        msgspec.MsgspecError: a newer version of this code wrote them, or another program.
    """
    return _decoder.decode(content)
