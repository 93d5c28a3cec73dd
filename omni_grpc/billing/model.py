"""What the ledger shows: balances, entries, usage records and holds, as frozen values.

All amounts are nano-USD.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from omni_grpc.billing.operations import Decider, Final, RequestEnd
from omni_grpc.core.ids import AccountId, CallId, HoldId, call_id_of
from omni_grpc.core.tenancy import BudgetUnit
from omni_grpc.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's credits at a moment; available = posted - held - unresolved."""

    posted: int
    held: int
    unresolved: int
    read_time: datetime

    @property
    def available(self) -> int:
        """What can be spent."""
        return self.posted - self.held - self.unresolved


class EntryKind(StrEnum):
    """What changed a posted balance; the values are posting.kind."""

    CHARGE = "S"
    GRANT = "G"
    REFUND = "R"
    EXPIRY = "E"
    REVERSAL = "B"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One change of an account's posted balance. `position` counts them in commit order from 1.

    `reference` is a call's id, the last part of a hold's name, or the reason of a grant or refund.
    """

    position: int
    kind: EntryKind
    amount: int
    balance_after: int
    reference: str
    create_time: datetime

    def reference_in(self, account: str) -> str:
        """The reference as callers know it: a hold by its full name, of `account`."""
        of_a_hold = self.kind is EntryKind.CHARGE and self.reference.startswith("holds/")
        return f"{account}/{self.reference}" if of_a_hold else self.reference


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What one attempt of a call used and cost. `cost` is None while it is not final.

    `provider_ref` is the provider's name of its answer, where it gave one. `credential` is the
    name of the caller's own that it was sent with; None for the service's account.
    """

    number: int
    model: str
    outcome: str
    held: int | None
    cost: int | None
    price_version: int
    markup_ppm: int
    usage: Usage | None
    end_time: datetime | None
    provider_ref: str | None = None
    credential: str | None = None


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What a call used and cost in all."""

    call_id: CallId
    account_id: AccountId
    attempts: tuple[AttemptRecord, ...]

    @property
    def cost(self) -> int:
        """The sum of what its attempts were charged so far."""
        return sum(attempt.cost or 0 for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class UnresolvedAttempt:
    """An attempt that was sent and of which nobody knows what its provider did.

    `provider_ref` is the provider's name of its answer, where it came so far. Since `lease_until`
    its worker is silent.
    """

    hold_id: HoldId
    account_id: AccountId
    amount: int
    model: str
    provider_ref: str | None
    price_version: int
    markup_ppm: int
    owner: str
    lease_until: datetime
    token_legs: int = 0
    """How many of its hold's legs, the first ones, count tokens."""
    credential: str | None = None
    """The name of the caller's own that it was sent with; None for the service's account."""

    @property
    def call_id(self) -> CallId:
        """The call that the attempt belongs to."""
        return call_id_of(self.hold_id)


@dataclass(frozen=True, slots=True)
class OwnedHold:
    """A hold of a worker's call that is not final; `ends` frees the request of its call."""

    hold_id: HoldId
    account_id: AccountId
    ends: RequestEnd | None = None


@dataclass(frozen=True, slots=True)
class WindowUse:
    """What is spent of a budget in one window, and what calls hold of it, in the budget's unit.

    `budget` is its name. `amount` is None where it limits nothing; `end_time` where it never ends.
    """

    budget: str
    unit: BudgetUnit
    amount: int | None
    spent: int
    held: int
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The first word on an attempt's hold: a posting's kind, who said it, and what it costs whom.

    `charged` is the account's, `loss` the operator's.
    """

    kind: Final
    decider: Decider
    charged: int
    loss: int


class HoldState(StrEnum):
    """Where a hold made through the API stands."""

    OPEN = "open"
    SETTLED = "settled"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Hold:
    """Credits that a team set aside for its own paid work."""

    id: UUID
    state: HoldState
    amount: int
    settled: int | None = None
    expire_time: datetime | None = None
