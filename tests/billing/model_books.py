"""The ledger's books as plain Python values: what the model keeps and what a database is read into.

Times are told by flags: what is over is over. Ids and amounts are those of the ledger.
"""

from dataclasses import dataclass, field
from uuid import UUID

from omni_grpc.billing.operations import Code

FUNDING, REVENUE, LOSSES = 1, 100, 200
WALLET, BUDGET = 1, 2


@dataclass
class Account:
    kind: int
    credits: int = 0
    debits: int = 0
    pending: int = 0
    limit: int | None = None
    entries: int = 0

    @property
    def posted(self) -> int:
        return self.credits - self.debits

    @property
    def room(self) -> int | None:
        """What holds may still take; None is no limit."""
        if self.kind == WALLET:
            return self.posted - self.pending
        if self.limit is not None:
            return self.posted - self.pending + self.limit
        return None


@dataclass
class OpenHold:
    origin: str
    wallet: int
    amount: int
    legs: dict[int, int]
    owner: str
    epoch: int
    is_over: bool
    state: str = "O"
    provider_ref: str | None = None


@dataclass
class Word:
    """One posting."""

    kind: str
    origin: str
    decider: str
    wallet: int
    amount: int
    held: int = 0
    loss: int = 0
    legs: dict[int, int] | None = None
    entry: int | None = None
    balance_after: int | None = None
    of: UUID | None = None
    reversed: int | None = None
    """Of a settle after a write-off: the loss that it takes back."""
    leg_held: dict[int, int] | None = None


@dataclass
class Used:
    """A usage record, as far as the model knows it: all of it is prompt tokens."""

    wallet: int
    outcome: str | None
    is_estimated: bool
    prompt: int | None
    provider_ref: str | None


@dataclass
class Asked:
    """A request row."""

    fingerprint: bytes
    operation: str
    target: UUID
    amount: int | None = None
    is_over: bool | None = None
    """Of a chat: whether the lease of its first hold is over."""


@dataclass
class Lot:
    """A grant that expires."""

    wallet: int
    amount: int
    is_over: bool
    expired: int = 0
    open: bool = True


@dataclass
class Credit:
    """One grant or refund, and what of it is neither spent nor expired."""

    id: UUID
    left: int


@dataclass(frozen=True)
class Said:
    """The answer to an operation, as far as the contract states it."""

    code: Code
    target: UUID
    amount: int | None = None
    posted: int | None = None
    pending: int | None = None
    short_account: int | None = None


@dataclass
class Books:
    accounts: dict[int, Account] = field(default_factory=dict)
    holds: dict[UUID, OpenHold] = field(default_factory=dict)
    words: dict[UUID, list[Word]] = field(default_factory=dict)
    used: dict[UUID, Used] = field(default_factory=dict)
    lots: dict[UUID, Lot] = field(default_factory=dict)
    requests: dict[tuple[int, str], Asked] = field(default_factory=dict)
    answers: dict[UUID, bytes | None] = field(default_factory=dict)
    payments: dict[tuple[str, str], tuple[UUID, int, int]] = field(default_factory=dict)
    """By network and name: the grant, its wallet and its amount."""
