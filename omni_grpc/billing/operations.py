"""What can be asked of the ledger, and what it answers: pure values, no I/O.

An operation carries everything that its database function needs, so that it can be sent again
unchanged after a lost acknowledgement. Amounts are nano-USD.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final as Constant
from uuid import UUID

from omni_grpc.core.ids import AccountId, CallId, HoldId, KeyId
from omni_grpc.core.payments import Payment
from omni_grpc.core.tenancy import BudgetUnit
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
    WRITE_OFF = "W"


POSTED: Constant = frozenset({Final.SETTLE, Final.VOID, Final.WRITE_OFF})
"""The ends of a router's hold that leave a posting."""


class Decider(StrEnum):
    """Who ends a hold. Whoever is not its owner decides about unresolved ones only."""

    OWNER = "o"
    TIME = "t"
    OPERATOR = "p"


class Movement(StrEnum):
    """What a transfer is; the values are posting.kind."""

    GRANT = "G"
    REFUND = "R"
    EXPIRY = "E"


class AttemptOutcome(StrEnum):
    """How an attempt ended, as its usage record says."""

    ANSWERED = "A"
    REFUSED = "R"
    FAILED = "F"
    CANCELLED = "C"
    UNKNOWN = "U"


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
    REQUEST_RUNNING = 9
    REQUEST_INTERRUPTED = 10
    NOT_UNRESOLVED = 11
    PAYMENT_REUSED = 12


class Requested(StrEnum):
    """What a request id was for; the values are request.operation."""

    GRANT = "G"
    REFUND = "R"
    HOLD = "H"
    SETTLE = "S"
    RELEASE = "V"
    CHAT = "C"


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A caller's own name for an operation, and what it was for."""

    principal: int
    request_id: str
    fingerprint: bytes
    operation: Requested


class ChatEnd(StrEnum):
    """How a chat with a request id ended."""

    DONE = "D"
    FREE = "F"
    """It failed without a charge: its request id may be used for a new attempt."""


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """The end of a chat that has a request id. `sealed`: its answer, None where it is not kept."""

    principal: int
    request_id: str
    call_id: CallId
    end: ChatEnd
    sealed: bytes | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """What a hold reserves on a budget, in the budget's unit.

    `account` is the budget's id: the database finds the account of its window of the moment.
    """

    account: int
    amount_min: int
    amount_max: int
    unit: BudgetUnit = BudgetUnit.NANOUSD


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOp:
    """Reserves between `amount_min` and `amount_max` of a wallet, and of each leg in step.

    Legs that count tokens stand before all others.
    """

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
    """Ends a hold. `cost` is uncapped: what is above the hold becomes the operator's loss.

    Of a write-off, `cost` is the loss. `leg_costs` are those of the hold's first legs; the others
    count the charge. `provider_ref` is the provider's name of its answer. `hold`
    is what the hold was, with what was granted as its most: a database that lost it is given it
    back. `ends` is the end of the chat's request, where this is the last word on it.
    """

    id: HoldId
    kind: Final
    origin: Origin
    decider: Decider = Decider.OWNER
    wallet: AccountId | None = None
    cost: int = 0
    leg_costs: tuple[int, ...] = ()
    outcome: AttemptOutcome | None = None
    usage: Usage | None = None
    provider_ref: str | None = None
    request: RequestKey | None = None
    hold: HoldOp | None = None
    ends: RequestEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOp:
    """Moves credits between a wallet and the operator: a grant, a refund, an expiry.

    `of` is the charge that is refunded, or the grant that expires, whose amount the ledger finds.
    `payment` is what a grant was bought with, booked once for ever.
    """

    id: UUID
    kind: Movement
    wallet: AccountId
    amount: int
    reference: str | None = None
    of: UUID | None = None
    expire_time: datetime | None = None
    request: RequestKey | None = None
    payment: Payment | None = None


@dataclass(frozen=True, slots=True)
class RequestEndOp:
    """Ends a chat's request apart from any hold. `id` is the call's."""

    id: CallId
    ends: RequestEnd
    request: None = None


Operation = HoldOp | FinalOp | TransferOp | RequestEndOp


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one operation.

    `amount` is what was granted, charged or credited. `posted` and `pending` are the wallet's after
    the operation and others of its batch, or those of `short_account` where the code is SHORT.
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
