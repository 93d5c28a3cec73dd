"""What the doctor reads, as values, and what can be wrong with one posting."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from omni_grpc.billing.invariants.model import Invariant
from omni_grpc.core.usage import Usage


class Span(NamedTuple):
    """The rows of one slice: those with after < key <= upto, `rows` of them when it was made."""

    after: UUID
    upto: UUID
    rows: int


class Wallet(NamedTuple):
    """A wallet's row and its last entry, of one moment."""

    id: int
    credits: int
    debits: int
    pending: int
    entry_count: int
    last_entry: int
    last_balance: int


class Entry(NamedTuple):
    """One change of a wallet's posted balance."""

    wallet: int
    entry: int
    is_credit: bool
    amount: int
    balance_after: int


class Sums(NamedTuple):
    """What was posted to an account."""

    credits: int
    debits: int
    entry_count: int


class Suspect(NamedTuple):
    """A posting with a fault, and the rows that belong to it."""

    id: UUID
    n: int
    kind: str
    decider: str
    wallet: int
    amount: int
    held: int
    loss: int
    loss_account: int | None
    first_kind: str | None
    first_decider: str | None
    wallet_kind: int | None
    usage_wallet: int | None
    asked: int | None
    asked_amount: int | None
    wrong: list[bool | None]


class FaultKind(NamedTuple):
    """A fault that one posting can have; `expected` and `found` are filled in from its row."""

    invariant: Invariant
    what: str
    expected: str
    found: str


FAULT_KINDS: Final = (
    FaultKind(
        Invariant.I2, "its wallet does not exist", "wallet {wallet}", "account kind {wallet_kind}"
    ),
    FaultKind(Invariant.I5, "its hold is open and final", "final", "both"),
    FaultKind(Invariant.I5, "a correction has no first word", "a first word", "none"),
    FaultKind(
        Invariant.I5,
        "a word that admits no correction was corrected",
        "a settle after a void that its owner did not decide",
        "{kind} after {first_kind} by {first_decider}",
    ),
    FaultKind(Invariant.I6, "more was charged than was held", "at most {held}", "{amount}"),
    FaultKind(
        Invariant.I7,
        "a loss was booked while its hold had room",
        "no loss",
        "{loss} beside {amount}",
    ),
    FaultKind(
        Invariant.I7,
        "a loss and the account that bears it go together",
        "both or none",
        "{loss} on account {loss_account}",
    ),
    FaultKind(
        Invariant.I9,
        "a final attempt has no usage record of its wallet",
        "{wallet}",
        "{usage_wallet}",
    ),
    FaultKind(Invariant.I11, "a grant was not asked for once", "1 request", "{asked}"),
    FaultKind(Invariant.I11, "a grant is not what was asked for", "{asked_amount}", "{amount}"),
)


class Charged(NamedTuple):
    """A router's settle, and what its attempt used."""

    id: UUID
    n: int
    cost: Decimal
    price_version: int
    markup_ppm: int
    prompt: int | None
    cached_read: int | None
    cached_write: int | None
    prompt_audio: int | None
    completion: int | None
    reasoning: int | None
    completion_audio: int | None

    @property
    def usage(self) -> Usage:
        """What it used."""
        return Usage(*self[5:])


@dataclass(frozen=True, slots=True)
class SystemBooks:
    """The accounts that are no wallets, and the moment at which they stood so.

    `xmax` and `running` are transaction numbers modulo 2^32, as rows carry them.
    """

    accounts: dict[int, Sums]
    losses: frozenset[int]
    time: datetime
    xmax: int
    running: list[int]
