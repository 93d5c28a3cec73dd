"""Makes statements from the ledger's own postings, a slice of entries at a time."""

from collections import defaultdict
from datetime import date, timedelta
from typing import Final

import msgspec

from omni_grpc.billing.model import EntryKind
from omni_grpc.billing.statements.model import (
    Booked,
    Bounds,
    Charged,
    Month,
    Row,
    Statement,
    booked_row,
    charged_row,
    limited,
)
from omni_grpc.billing.statements.store import StatementStore
from omni_grpc.core.errors import FieldInvalid, Internal
from omni_grpc.core.ids import AccountId

SLICE_ENTRIES: Final = 20_000
"""Entries that one statement reads, well within its time limit."""

SETTLE_SECONDS: Final = 60
"""How long after a month's end its last transactions may still commit."""

_Key = tuple[date, str, int | None]


class Statements:
    """Statements of accounts."""

    def __init__(self, store: StatementStore, *, slice_entries: int = SLICE_ENTRIES) -> None:
        self._store = store
        self._slice_entries = slice_entries

    async def of(self, account_id: AccountId, month: Month) -> Statement:
        """An account's month. Of the current one, what there is by now.

        Raises:
            FieldInvalid: the month has not begun.
            LedgerUnavailable: the database does not answer.
        """
        bounds = await self._store.bounds(account_id, month)
        if bounds.read_time < month.start:
            raise FieldInvalid(
                f"The month {month.name} has not begun; statements are of this month and those "
                "before it.",
                field="month",
            )
        sums: dict[EntryKind, int] = defaultdict(int)
        charges: dict[_Key, tuple[int, int]] = {}
        rest: list[Booked] = []
        after = bounds.first
        while after < bounds.last:
            upto = min(after + self._slice_entries, bounds.last)
            for charged in await self._store.charges(account_id, after, upto):
                sums[EntryKind.CHARGE] += charged.amount
                key = (_within(charged.day, month), charged.model, charged.key_id)
                count, amount = charges.get(key, (0, 0))
                charges[key] = count + charged.count, amount + charged.amount
            for booked in await self._store.booked(account_id, after, upto):
                sums[booked.kind] += booked.amount
                rest.append(msgspec.structs.replace(booked, day=_within(booked.day, month)))
            after = upto
        rows = limited(sorted(await self._rows(charges, rest), key=_order))
        return _checked(_statement(month, bounds, sums, rows))

    async def _rows(self, charges: dict[_Key, tuple[int, int]], rest: list[Booked]) -> list[Row]:
        ids = {key_id for _, _, key_id in charges if key_id is not None}
        names = await self._store.key_names(ids)
        rows = [
            charged_row(
                Charged(day=day, model=model, key_id=key_id, count=count, amount=amount),
                "" if key_id is None else names.get(key_id, str(key_id)),
            )
            for (day, model, key_id), (count, amount) in charges.items()
        ]
        return rows + [booked_row(booked) for booked in rest]


def _statement(
    month: Month, bounds: Bounds, sums: dict[EntryKind, int], rows: tuple[Row, ...]
) -> Statement:
    return Statement(
        month=month,
        opening=bounds.opening,
        granted=sums[EntryKind.GRANT],
        charged=sums[EntryKind.CHARGE],
        refunded=sums[EntryKind.REFUND],
        expired=sums[EntryKind.EXPIRY] + sums[EntryKind.REVERSAL],
        closing=bounds.closing,
        final=bounds.read_time >= month.end + timedelta(seconds=SETTLE_SECONDS),
        rows=rows,
    )


def _checked(statement: Statement) -> Statement:
    """The statement, if it adds up; else none is better than a wrong one."""
    change = statement.granted + statement.refunded - statement.charged - statement.expired
    if statement.opening + change != statement.closing:
        raise Internal("The account's entries do not add up; the operator finds why by `doctor`.")
    return statement


def _within(day: date, month: Month) -> date:
    """The day, within the month that its entry is of: a batch at midnight may have two."""
    return min(max(day, month.start.date()), month.end.date() - timedelta(days=1))


def _order(row: Row) -> tuple[str, bool, str, str, int]:
    return row.day, row.kind == "charge", row.model, row.key, int(row.entry or 0)
