"""What the doctor reads, as values, and what can be wrong with one posting."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from omni_grpc.billing.invariants.model import Invariant
from omni_grpc.core.usage import Usage, usage_of


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
    snapshot_entry: int | None
    snapshot_credits: int | None
    snapshot_debits: int | None
    reversed: int
    """Payments that were taken back, where more is held than is there."""


class Entry(NamedTuple):
    """One change of a wallet's posted balance."""

    wallet: int
    entry: int
    kind: str
    amount: int
    balance_after: int
    lot_place: int | None
    """Of a grant that expires: all credits up to it, as its lot says."""

    @property
    def is_credit(self) -> bool:
        """Whether it raised the balance."""
        return self.kind in ("G", "R")


class Snapshot(NamedTuple):
    """What an account had on a day, and the most that it can have had.

    That is what its next snapshot says, or the account itself. `balance` is what the entry says
    that it counted to; that of a wallet's last snapshot is found by the replay.
    """

    account: int
    day: str
    entry_count: int
    credits: int
    debits: int
    entry_count_max: int | None
    credits_max: int | None
    debits_max: int | None
    balance: int


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
    of: UUID | None
    first_kind: str | None
    first_decider: str | None
    wallet_kind: int | None
    usage_wallet: int | None
    asked: int | None
    asked_amount: int | None
    charged: Decimal | None
    refunded: Decimal | None
    lot_wallet: int | None
    reversed: int | None
    written_off: int | None
    paid: str
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
        "a settle after a word that its owner did not decide, or that was lower",
        "{kind} after {first_kind} by {first_decider}",
    ),
    FaultKind(Invariant.I6, "more was charged than was held", "at most {held}", "{amount}"),
    FaultKind(Invariant.I6, "it refunds no charge of its wallet", "a settle", "{of}"),
    FaultKind(
        Invariant.I6, "more was refunded than was charged", "at most {charged}", "{refunded}"
    ),
    FaultKind(
        Invariant.I6,
        "a budget window was given back more than it was charged",
        "at most what {of} charged",
        "more",
    ),
    FaultKind(
        Invariant.I6,
        "a budget window was charged more than it had reserved",
        "at most what {id} held",
        "more",
    ),
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
        Invariant.I7,
        "another loss was taken back than was written off",
        "{written_off}",
        "{reversed}",
    ),
    FaultKind(
        Invariant.I9,
        "a final attempt has no usage record of its wallet",
        "{wallet}",
        "{usage_wallet}",
    ),
    FaultKind(Invariant.I11, "it was not asked for once", "1 request", "{asked}"),
    FaultKind(Invariant.I11, "it is not what was asked for", "{asked_amount}", "{amount}"),
    FaultKind(
        Invariant.I11,
        "its payment was booked for another account or amount",
        "{amount} for {wallet}",
        "{paid}",
    ),
    FaultKind(
        Invariant.I2,
        "it takes back what was not granted to its wallet for a time",
        "a lot of wallet {wallet}",
        "{lot_wallet}",
    ),
    FaultKind(
        Invariant.I11,
        "it takes back another payment than was taken back, or more of it",
        "what was taken back of a payment of wallet {wallet}",
        "{amount} of {of}",
    ),
)


class Charged(NamedTuple):
    """What an attempt was charged and cost above it, corrections included, and what it used."""

    id: UUID
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
    rare_counts: list[int | None] | None

    @property
    def usage(self) -> Usage:
        """What it used."""
        return usage_of(self[4:-1], self.rare_counts)


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
