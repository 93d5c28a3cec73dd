"""Identifiers: time-ordered UUIDs for calls and holds, and typed integers for rows.

A call's id is made by the server and names one request of a caller; a hold's id names one
attempt to serve it. Neither is ever chosen by a client.
"""

import os
import time
from typing import NewType
from uuid import UUID

OrgId = NewType("OrgId", int)
KeyId = NewType("KeyId", int)
AccountId = NewType("AccountId", int)
PriceVersion = NewType("PriceVersion", int)
CallId = NewType("CallId", UUID)
HoldId = NewType("HoldId", UUID)

_VERSION_7 = 0x7000 << 64
_VARIANT = 0x8000 << 48
_RANDOM_74 = (0x0FFF << 64) | (0x3FFF << 48) | 0xFFFF_FFFF_FFFF


def uuid7() -> UUID:
    """A random UUID that sorts by its millisecond of creation (RFC 9562, version 7)."""
    random = int.from_bytes(os.urandom(10), "big") & _RANDOM_74
    milliseconds = time.time_ns() // 1_000_000
    return UUID(int=(milliseconds << 80) | _VERSION_7 | _VARIANT | random)


def new_call_id() -> CallId:
    """The name of one call, as `x-request-id`, the completion's id and the ledger know it."""
    return CallId(uuid7())


def new_hold_id() -> HoldId:
    """The name of one attempt's hold."""
    return HoldId(uuid7())
