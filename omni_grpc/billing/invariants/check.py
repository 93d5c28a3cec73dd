"""Goes through the books slice by slice and collects what is wrong."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from omni_grpc.billing.invariants.model import Invariant, Violation
from omni_grpc.billing.invariants.replay import ENTRY_MAX, Replay
from omni_grpc.billing.invariants.rows import (
    Charged,
    Snapshot,
    Span,
    Sums,
    SystemBooks,
    Wallet,
)
from omni_grpc.billing.invariants.store import BooksStore
from omni_grpc.core.limits import HOLD_LEASE_SECONDS
from omni_grpc.core.money import Price, charge
from omni_grpc.storage import Database

SLICE_ROWS: Final = 10_000
"""Rows of one statement: tens of milliseconds, so that it never holds back a vacuum."""

LEASE_GRACE_SECONDS: Final = HOLD_LEASE_SECONDS + 30.0
"""How long past its lease an open hold is in order: after an outage a reaper waits one lease."""

VIOLATIONS_MAX: Final = 100
"""Violations reported of one invariant; more would tell nothing new."""

PriceLoader = Callable[[Sequence[int]], Awaitable[Mapping[int, Price]]]
Progress = Callable[[str, int], None]


async def check(
    database: Database,
    *,
    prices: PriceLoader,
    progress: Progress = lambda _part, _rows: None,
    lease_grace_s: float = LEASE_GRACE_SECONDS,
    slice_rows: int = SLICE_ROWS,
) -> list[Violation]:
    """Check every invariant; traffic may run.

    Args:
        database: the primary. A replica would show old books as wrong ones.
        prices: reads price versions; the catalog's does.
        progress: called after each slice with a part's name and how many of its rows were read.
        lease_grace_s: how long past its lease an open hold is in order.
        slice_rows: the most rows that one statement reads.

    Returns:
        What is wrong, by invariant; at most VIOLATIONS_MAX of each. Nothing for clean books.

    Raises:
        LedgerUnavailable: the database cannot be read now.
    """
    checkup = _Checkup(BooksStore(database, slice_rows), prices, progress, lease_grace_s)
    return await checkup.run()


class _Checkup:
    """One pass over the books."""

    def __init__(
        self, store: BooksStore, prices: PriceLoader, progress: Progress, lease_grace_s: float
    ) -> None:
        self._store = store
        self._load_prices = prices
        self._progress = progress
        self._lease_grace_s = lease_grace_s
        self._prices: dict[int, Price | None] = {}
        self._found: list[Violation] = []
        self._counts: Counter[Invariant] = Counter()
        self._rows: Counter[str] = Counter()

    async def run(self) -> list[Violation]:
        await self._check_money()
        await self._check_pending()
        await self._check_leases()
        await self._check_wallets()
        await self._check_snapshots()
        await self._check_postings()
        await self._check_lots()
        await self._check_usage()
        await self._check_requests()
        await self._check_payments()
        order = list(Invariant)
        return sorted(self._found, key=lambda violation: order.index(violation.invariant))

    def _add(
        self, invariant: Invariant, what: str, where: str, expected: object, found: object
    ) -> None:
        self._keep(Violation(invariant, what, where, str(expected), str(found)))

    def _advance(self, part: str, rows: int) -> None:
        self._rows[part] += rows
        self._progress(part, self._rows[part])

    def _keep(self, violation: Violation) -> None:
        self._counts[violation.invariant] += 1
        if self._counts[violation.invariant] <= VIOLATIONS_MAX:
            self._found.append(violation)

    # --- accounts and holds ---------------------------------------------------------------------
    async def _check_money(self) -> None:
        credited, debited = await self._store.money()
        if credited != debited:
            self._add(
                Invariant.I1, "money was made or lost", "all money accounts", credited, debited
            )

    async def _check_pending(self) -> None:
        after = -1
        while found := await self._store.next_accounts(after):
            upto, rows = found
            await self._check_pending_of(after, upto)
            after = upto
            self._advance("accounts", rows)
        await self._check_pending_of(after, ENTRY_MAX)

    async def _check_pending_of(self, after: int, upto: int) -> None:
        for account, pending, held in await self._store.pending(after, upto):
            found = "no such account" if pending is None else pending
            self._add(
                Invariant.I3,
                "its holds do not add up to what is pending",
                f"account {account}",
                held,
                found,
            )

    async def _check_leases(self) -> None:
        for hold_id, origin, lease_until in await self._store.lapsed(
            self._lease_grace_s, VIOLATIONS_MAX
        ):
            self._add(
                Invariant.I8,
                "nobody ended its lease; a running server does",
                f"hold {hold_id}",
                "void" if origin == "a" else "unresolved",
                f"open, lease until {lease_until.isoformat(timespec='seconds')}",
            )

    # --- wallets, by replaying their entries ----------------------------------------------------
    async def _check_wallets(self) -> None:
        after = -1
        while wallets := await self._store.wallets(after):
            for wallet in wallets:
                self._check_wallet(wallet)
            await self._replay(wallets, after)
            after = wallets[-1].id
            self._advance("wallets", len(wallets))

    def _check_wallet(self, wallet: Wallet) -> None:
        where = f"account {wallet.id}"
        posted = wallet.credits - wallet.debits
        if wallet.entry_count != wallet.last_entry:
            what = "it does not count its entries rightly"
            self._add(Invariant.I2, what, where, wallet.last_entry, wallet.entry_count)
        if posted != wallet.last_balance:
            what = "its balance is not the one after its last entry"
            self._add(Invariant.I12, what, where, wallet.last_balance, posted)
        most = (
            posted + wallet.reversed
        )  # a payment may be taken back while calls hold what it bought
        if most < wallet.pending:
            what = "more is held than is there"
            self._add(Invariant.I4, what, where, f"at most {most}", wallet.pending)

    async def _replay(self, wallets: Sequence[Wallet], after_wallet: int) -> None:
        replay = Replay(wallets)
        cursor = (after_wallet, ENTRY_MAX)
        while entries := await self._store.entries(cursor, wallets[-1].id):
            for entry in entries:
                for violation in replay.add(entry):
                    self._keep(violation)
            cursor = replay.cursor(entries[-1])
            self._advance("entries", len(entries))
        for wallet in wallets:
            stored = Sums(wallet.credits, wallet.debits, wallet.entry_count)
            recomputed = replay.sums(wallet.id)._replace(entry_count=wallet.entry_count)
            self._compare(wallet.id, recomputed, stored)
            self._compare_snapshot(wallet, replay.at_snapshot(wallet.id))

    def _compare_snapshot(self, wallet: Wallet, then: tuple[int, int] | None) -> None:
        snapshot = (wallet.snapshot_credits, wallet.snapshot_debits)
        if then is not None and then != snapshot:
            what = "its last snapshot is not what its entries had come to"
            self._add(Invariant.I12, what, f"account {wallet.id}", then, snapshot)

    async def _check_snapshots(self) -> None:
        after = (-1, "-infinity")
        while found := await self._store.next_snapshots(after):
            upto, rows = found
            for snapshot in await self._store.snapshots(after, upto):
                self._check_snapshot(snapshot)
            after = upto
            self._advance("snapshots", rows)

    def _check_snapshot(self, snapshot: Snapshot) -> None:
        where = f"snapshot of account {snapshot.account} on {snapshot.day}"
        there = (snapshot.entry_count, snapshot.credits, snapshot.debits)
        most = (snapshot.entry_count_max, snapshot.credits_max, snapshot.debits_max)
        if any(limit is None or count > limit for count, limit in zip(there, most, strict=True)):
            what = "it has more than the account had later"
            self._add(Invariant.I12, what, where, f"at most {most}", there)
        elif snapshot.credits - snapshot.debits != snapshot.balance:
            what = "its balance is not the one after its last entry"
            self._add(
                Invariant.I12, what, where, snapshot.balance, snapshot.credits - snapshot.debits
            )

    def _compare(self, account: int, recomputed: Sums, stored: Sums) -> None:
        for name, expected, found in zip(Sums._fields, recomputed, stored, strict=True):
            if expected != found:
                what = f"its {name} are not those of its postings".replace("_", " ")
                self._add(Invariant.I2, what, f"account {account}", expected, found)

    # --- postings, by id ------------------------------------------------------------------------
    async def _check_postings(self) -> None:
        books = await self._store.system_books()
        totals: dict[int, Sums] = {}
        async for span in _spans(self._store.next_postings):
            for account, moved in await self._store.totals(span, books):
                so_far = totals.get(account, Sums(0, 0, 0))
                totals[account] = Sums(*(a + b for a, b in zip(so_far, moved, strict=True)))
            for violation in await self._store.faults(span):
                self._keep(violation)
            await self._check_charges(await self._store.charges(span))
            self._advance("postings", span.rows)
        self._check_system(books, totals)

    def _check_system(self, books: SystemBooks, totals: Mapping[int, Sums]) -> None:
        for account, stored in books.accounts.items():
            recomputed = totals.get(account, Sums(0, 0, 0))
            if account in books.losses and recomputed.debits != stored.debits:
                what = "the operator's loss is not that of the postings"
                where = f"account {account}"
                self._add(Invariant.I7, what, where, recomputed.debits, stored.debits)
                recomputed = recomputed._replace(debits=stored.debits)
            self._compare(account, recomputed, stored)
        for account in totals.keys() - books.accounts.keys():
            what = "postings name an account that does not exist"
            self._add(Invariant.I2, what, f"account {account}", "an account", "none")

    async def _check_charges(self, charges: Sequence[Charged]) -> None:
        versions = {charged.price_version for charged in charges} - self._prices.keys()
        if versions:
            loaded = await self._load_prices(sorted(versions))
            self._prices.update({version: loaded.get(version) for version in versions})
        for charged in charges:
            price = self._prices[charged.price_version]
            expected: object
            if price is None:
                expected = f"a price version {charged.price_version}"
            else:
                try:
                    expected = charge(charged.usage, price, charged.markup_ppm)
                except ValueError as error:
                    expected = f"a price: {error}"
            if expected != charged.cost:
                what = "the charge does not follow from what was used"
                where = f"attempt {charged.id}"
                self._add(Invariant.I10, what, where, expected, charged.cost)

    async def _check_lots(self) -> None:
        async for span in _spans(self._store.next_lots):
            for lot, expected, found in await self._store.lots_astray(span):
                what = "a grant that expires is not what its postings say"
                self._add(Invariant.I2, what, f"lot {lot}", expected, found)
            self._advance("lots", span.rows)

    async def _check_payments(self) -> None:
        async for span in _spans(self._store.next_payments):
            for payment in await self._store.payments_alone(span):
                what = "a payment is booked without a grant"
                self._add(Invariant.I11, what, f"payment {payment}", "a grant", "none")
            self._advance("payments", span.rows)

    # --- usage records and requests -------------------------------------------------------------
    async def _check_usage(self) -> None:
        async for span in _spans(self._store.next_usage):
            for hold_id in await self._store.usage_alone(span):
                what = "a usage record belongs to no final attempt"
                self._add(Invariant.I9, what, f"usage record {hold_id}", "a posting", "none")
            self._advance("usage records", span.rows)

    async def _check_requests(self) -> None:
        after = (-1, "")
        while found := await self._store.next_requests(after):
            upto, rows = found
            for where, asked, outcome in await self._store.requests_astray(after, upto):
                what = "a request id has no outcome of its kind and amount"
                self._add(Invariant.I13, what, where, asked, outcome)
            after = upto
            self._advance("requests", rows)
        async for span in _spans(self._store.next_answers):
            for call_id in await self._store.answers_astray(span):
                what = "an answer is kept of a call that was never settled"
                self._add(Invariant.I13, what, f"answer {call_id}", "a settle", "none")
            self._advance("answers", span.rows)


async def _spans(following: Callable[[UUID], Awaitable[Span | None]]) -> AsyncIterator[Span]:
    """The slices of a table that is ordered by uuid."""
    after = UUID(int=0)
    while span := await following(after):
        yield span
        after = span.upto
