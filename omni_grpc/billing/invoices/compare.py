"""Compares an invoice that is loaded with our records, and yields what differs as it is found."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from omni_grpc.billing.invoices.model import (
    Billed,
    Comparison,
    Difference,
    InvoiceRow,
    Kind,
)
from omni_grpc.billing.invoices.store import InvoiceStore, Record
from omni_grpc.billing.resolving import PriceLoader
from omni_grpc.core.money import Price, charge
from omni_grpc.core.usage import Usage

MARGIN: Final = timedelta(days=1)
"""How far outside the span a record's beginning may be and still match: a provider's row has
another moment of the same call, and the clocks differ."""

Progress = Callable[[int], None]
"""Told how many of our records were looked at so far."""

_ID_MS_SHIFT: Final = 80
_ID_MS_MAX: Final = 2**48 - 1


async def compare(
    store: InvoiceStore,
    prices: PriceLoader,
    comparison: Comparison,
    *,
    tolerance: Decimal,
    progress: Progress,
) -> AsyncIterator[Difference]:
    """Yields the differences, and counts everything in `comparison`.

    Args:
        store: with the invoice loaded.
        prices: finds price versions.
        comparison: whose invoice it is and which time it covers; filled on the way.
        tolerance: nano-USD by which two costs may differ and still be the same.
        progress: is told of each slice.
    """
    worker = _Comparer(store, prices, comparison, tolerance, progress)
    for slices in (worker.of_records(), worker.of_unresolved(), worker.of_unseen()):
        async for difference in slices:
            comparison.counts[difference.kind] += 1
            yield difference


class _Comparer:
    def __init__(
        self,
        store: InvoiceStore,
        prices: PriceLoader,
        comparison: Comparison,
        tolerance: Decimal,
        progress: Progress,
    ) -> None:
        self._store = store
        self._load_prices = prices
        self._prices: dict[int, Price] = {}
        self._comparison = comparison
        self._tolerance = tolerance
        self._progress = progress

    # --- our records --------------------------------------------------------------------------
    async def of_records(self) -> AsyncIterator[Difference]:
        """What differs of our records; marks the rows that have one."""
        span = self._comparison.span
        after, upto = _id_at(span.since - MARGIN), _id_at(span.until + MARGIN)
        looked_at = 0
        while (end := await self._store.slice_end(after, upto)) is not None:
            records = await self._store.records(after, end, self._comparison.provider)
            numbers = [number for record in records for number in record.rows]
            rows = await self._store.rows(numbers)
            await self._store.mark(numbers)
            await self._price({record.price_version for record in records})
            for record in records:
                for found in self._of_record(record, [rows[number] for number in record.rows]):
                    yield found
            looked_at += len(records)
            self._progress(looked_at)
            after = end

    async def _price(self, versions: set[int]) -> None:
        if new := versions - self._prices.keys():
            self._prices |= await self._load_prices(sorted(new))

    def _of_record(self, record: Record, rows: list[InvoiceRow]) -> list[Difference]:
        ours = self._billed(record)
        if not rows:
            return self._of_unbilled(record, ours)
        comparison = self._comparison
        comparison.ours += ours.cost or 0
        first, *more = rows
        found = [_difference(Kind.TWICE, record, None, row.billed) for row in more]
        if self._is_same(ours, first.billed):
            comparison.matched += 1
        else:
            found.insert(0, _difference(Kind.DIFFERS, record, ours, first.billed))
        return found

    def _of_unbilled(self, record: Record, ours: Billed) -> list[Difference]:
        """Only what lies in the span itself must stand on the invoice, and only what used some."""
        span = self._comparison.span
        if not (ours.prompt or ours.completion) or not (
            span.since <= _time_of(record.hold_id) < span.until
        ):
            return []
        self._comparison.ours += ours.cost or 0
        kind = Kind.UNNAMED if record.id is None else Kind.MISSING_THERE
        return [_difference(kind, record, ours, None)]

    def _billed(self, record: Record) -> Billed:
        """What the provider should have billed: our price of it, without our markup."""
        usage = record.usage
        return Billed(usage.prompt or 0, usage.completion or 0, self._cost(record, usage))

    def _cost(self, record: Record, usage: Usage) -> Decimal | None:
        if usage.prompt is None and usage.completion is None:
            return Decimal(0)
        price = self._prices.get(record.price_version)
        return None if price is None else Decimal(charge(usage, price, 0))

    def _is_same(self, ours: Billed, theirs: Billed) -> bool:
        return (
            theirs.prompt in (None, ours.prompt)
            and theirs.completion in (None, ours.completion)
            and (
                theirs.cost is None
                or ours.cost is None
                or abs(ours.cost - theirs.cost) <= self._tolerance
            )
        )

    # --- rows without one ---------------------------------------------------------------------
    async def of_unresolved(self) -> AsyncIterator[Difference]:
        """Rows of attempts that wait to be resolved: the invoice says how."""
        for hold_id, numbers in await self._store.unresolved(self._comparison.provider):
            rows = await self._store.rows(numbers)
            await self._store.mark(numbers)
            for row in rows.values():
                yield Difference(Kind.UNRESOLVED, row.id, row.model, hold_id, None, row.billed)

    async def of_unseen(self) -> AsyncIterator[Difference]:
        """Rows whose id no attempt here has."""
        after = 0
        while rows := await self._store.unseen(after):
            for row in rows:
                yield Difference(Kind.MISSING_HERE, row.id, row.model, None, None, row.billed)
            after = rows[-1].number


def _difference(
    kind: Kind, record: Record, ours: Billed | None, theirs: Billed | None
) -> Difference:
    return Difference(kind, record.id or "", record.model, record.hold_id, ours, theirs)


def _id_at(moment: datetime) -> UUID:
    """An id before all that are made from this moment on."""
    ms = int(moment.timestamp() * 1_000)
    return UUID(int=min(max(ms, 0), _ID_MS_MAX) << _ID_MS_SHIFT)


def _time_of(hold_id: UUID) -> datetime:
    """When an id was made, to the millisecond."""
    return datetime.fromtimestamp((hold_id.int >> _ID_MS_SHIFT) / 1_000, UTC)
