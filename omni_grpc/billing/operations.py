"""What can be asked of the ledger, and what it answers: pure values, no I/O.

An operation carries everything that its database function needs, so that it can be sent again
unchanged after a lost acknowledgement. Amounts are nano-USD.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from uuid import UUID

from omni_grpc.core.ids import AccountId, HoldId, KeyId
from omni_grpc.core.usage import Usage


class Origin(StrEnum):
    """Who made a hold; an origin reaches only its own holds."""

    ROUTER = "r"
    API = "a"


class Final(StrEnum):
    """How a hold is asked to end."""

    SETTLE = "S"
    VOID = "V"
    LEASE_END = "L"
    UNRESOLVED = "U"


class AttemptOutcome(StrEnum):
    """How an attempt ended, as its usage record says."""

    ANSWERED = "A"
    REFUSED = "R"
    FAILED = "F"
    CANCELLED = "C"


class Code(IntEnum):
    """What became of an operation; the numbers are ledger_apply's `rc`."""

    DONE = 0
    ALREADY = 1
    DECIDED = 2
    UNKNOWN = 3
    SHORT = 4
    REQUEST_REUSED = 5
    REQUEST_REPEATED = 6
    ABOVE_HOLD = 7
    RENEWED = 8


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A caller's own name for an operation, and what it was for."""

    principal: int
    request_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Leg:
    """A further account (a budget window) that a hold reserves on, in that account's unit."""

    account: AccountId
    amount_min: int
    amount_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOp:
    """Reserves between `amount_min` and `amount_max` of a wallet, and of each leg in step."""

    id: HoldId
    origin: Origin
    wallet: AccountId
    amount_min: int
    amount_max: int
    legs: tuple[Leg, ...] = ()
    seconds: int
    key_id: KeyId
    model: str | None = None
    credential: str | None = None
    price_version: int | None = None
    markup_ppm: int | None = None
    request: RequestKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalOp:
    """Ends a hold. `cost` is uncapped: what is above the hold becomes the operator's loss."""

    id: HoldId
    kind: Final
    origin: Origin
    decider: str = "o"
    wallet: AccountId | None = None
    cost: int = 0
    leg_costs: tuple[int, ...] = ()
    outcome: AttemptOutcome | None = None
    usage: Usage | None = None
    request: RequestKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOp:
    """Grants credits to a wallet from the operator's funding account."""

    id: UUID
    wallet: AccountId
    amount: int
    reference: str
    request: RequestKey


Operation = HoldOp | FinalOp | TransferOp


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one operation.

    `amount` is what was granted, charged or credited. `posted` and `pending` are the wallet's
    after the batch, or those of `short_account` where the code is SHORT.
    """

    code: Code
    target: UUID
    amount: int | None = None
    posted: int | None = None
    pending: int | None = None
    short_account: int | None = None
    until: datetime | None = None

    @property
    def available(self) -> int | None:
        """What the wallet can still spend."""
        if self.posted is None or self.pending is None:
            return None
        return self.posted - self.pending
