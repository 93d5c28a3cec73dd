"""Identifiers: time-ordered UUIDs for calls and holds, and typed integers for rows.

A call's id is made by the server and names one request of a caller; its last four bits are zero.
The hold of its n-th attempt is the call's id plus n, so that all attempts of a call lie side by
side in an index and either id tells the other. Neither is ever chosen by a client.
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
_RANDOM_74 = (0x0FFF << 64) | 0x3FFF_FFFF_FFFF_FFFF

ATTEMPTS_MAX = 15
"""Attempts of one call: what four bits can number."""


def uuid7() -> UUID:
    """A random UUID that sorts by its millisecond of creation (RFC 9562, version 7)."""
    random = int.from_bytes(os.urandom(10), "big") & _RANDOM_74
    milliseconds = time.time_ns() // 1_000_000
    return UUID(int=(milliseconds << 80) | _VERSION_7 | _VARIANT | random)


def new_call_id() -> CallId:
    """The name of one call, as `x-request-id`, the completion's id and the ledger know it."""
    return CallId(UUID(int=uuid7().int & ~ATTEMPTS_MAX))


def new_hold_id() -> HoldId:
    """The name of a hold that belongs to no call."""
    return HoldId(uuid7())


def hold_id_of(call_id: CallId, attempt: int) -> HoldId:
    """The hold of a call's attempt, counted from 1 to ATTEMPTS_MAX."""
    if not 1 <= attempt <= ATTEMPTS_MAX:
        msg = f"attempt {attempt} is not between 1 and {ATTEMPTS_MAX}"
        raise ValueError(msg)
    return HoldId(UUID(int=call_id.int | attempt))


def call_id_of(hold_id: UUID) -> CallId:
    """The call that an attempt's hold belongs to."""
    return CallId(UUID(int=hold_id.int & ~ATTEMPTS_MAX))


def attempt_of(hold_id: UUID) -> int:
    """Which attempt of its call a hold is for."""
    return hold_id.int & ATTEMPTS_MAX
