"""Replays the entries of wallets in commit order, as far as the wallets' own rows counted them.

That prefix is written for ever, so it can be compared with the rows without stopping anybody.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from omni_grpc.billing.invariants.model import Invariant, Violation
from omni_grpc.billing.invariants.rows import Entry, Sums, Wallet

ENTRY_MAX: Final = 2**63 - 1
PAYMENT_REVERSED: Final = "B"


class _Book:
    """Where the replay of one wallet stands."""

    __slots__ = (
        "balance",
        "credits",
        "debits",
        "entry_count",
        "position",
        "reversed",
        "snapshot",
        "then",
    )

    def __init__(self, wallet: Wallet) -> None:
        self.entry_count = wallet.entry_count
        self.snapshot = wallet.snapshot_entry
        self.then = (0, 0) if self.snapshot == 0 else None
        self.credits = 0
        self.debits = 0
        self.reversed = 0
        self.position = 0
        self.balance = 0


class Replay:
    """Takes entries by wallet and position, and says what is wrong with them."""

    def __init__(self, wallets: Sequence[Wallet]) -> None:
        self._books = {wallet.id: _Book(wallet) for wallet in wallets}

    def add(self, entry: Entry) -> Iterator[Violation]:
        """Take the next entry; yields what is wrong with it."""
        book = self._books.get(entry.wallet)
        if book is None or entry.entry > book.entry_count:
            return
        expected = book.balance
        if entry.is_credit:
            book.credits += entry.amount
            expected += entry.amount
        else:
            book.debits += entry.amount
            expected -= entry.amount
            book.reversed += entry.amount if entry.kind == PAYMENT_REVERSED else 0
        if entry.entry != book.position + 1:
            what = "entries are missing before it"
            yield _violation(entry, what, str(book.position + 1), entry.entry)
        elif entry.balance_after != expected:
            what = f"its balance does not follow from {book.balance}"
            yield _violation(entry, what, str(expected), entry.balance_after)
        # Payments that were taken back after they were spent are all that excuses it.
        if entry.balance_after < -book.reversed:
            least = f"at least {-book.reversed}"
            yield _violation(entry, "the balance was below zero", least, entry.balance_after)
        if entry.lot_place not in (None, book.credits):
            what = "a grant that expires has another place among the credits"
            yield _violation(entry, what, str(book.credits), entry.lot_place, Invariant.I2)
        if entry.entry == book.snapshot:
            book.then = (book.credits, book.debits)
        # The stored balance goes on from here, so that one fault is told once.
        book.position, book.balance = entry.entry, entry.balance_after

    def cursor(self, last: Entry) -> tuple[int, int]:
        """After which wallet and position to read on: what came later is left alone."""
        book = self._books.get(last.wallet)
        if book is None or last.entry >= book.entry_count:
            return (last.wallet, ENTRY_MAX)
        return (last.wallet, last.entry)

    def at_snapshot(self, wallet: int) -> tuple[int, int] | None:
        """Credits and debits when a wallet's last snapshot was taken; None if that was not met."""
        return self._books[wallet].then

    def sums(self, wallet: int) -> Sums:
        """What was replayed of a wallet."""
        book = self._books[wallet]
        return Sums(book.credits, book.debits, book.position)


def _violation(
    entry: Entry, what: str, expected: str, found: object, invariant: Invariant = Invariant.I4
) -> Violation:
    where = f"account {entry.wallet} entry {entry.entry}"
    return Violation(invariant, what, where, expected, str(found))
