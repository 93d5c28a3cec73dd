"""The values of statements, and the text of their rows as CSV: pure, no I/O."""

import csv
import io
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final

import msgspec

from omni_grpc.billing.model import EntryKind
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.money import usd_text

ROWS_MAX: Final = 100_000
"""Rows of one statement; what is more is one row, so that the rows still add up."""

YEAR_MIN: Final = 2000
YEAR_MAX: Final = 9998

_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What makes spreadsheets compute a cell instead of showing it."""

_HEAD: Final = (
    "date", "kind", "model", "key", "count", "amount_nanousd", "amount_usd", "reference", "entry",
)  # fmt: skip
_WORDS: Final = {
    EntryKind.CHARGE: "charge",
    EntryKind.GRANT: "grant",
    EntryKind.REFUND: "refund",
    EntryKind.EXPIRY: "expiry",
    EntryKind.REVERSAL: "reversal",
}
DEBITS: Final = (EntryKind.CHARGE, EntryKind.EXPIRY, EntryKind.REVERSAL)


class Month(msgspec.Struct, frozen=True):
    """A calendar month of UTC: from `start` to before `end`."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """`YYYY-MM`."""
        return f"{self.start:%Y-%m}"


def parse_month(text: str, *, field: str) -> Month:
    """The month of `YYYY-MM`.

    Raises:
        FieldInvalid: it is none.
    """
    match = _MONTH.fullmatch(text)
    if match is None or not YEAR_MIN <= int(match[1]) <= YEAR_MAX:
        raise FieldInvalid(f"`{field}` must be a month, YYYY-MM.", field=field)
    year, month = int(match[1]), int(match[2])
    after = (year + 1, 1) if month == 12 else (year, month + 1)  # noqa: PLR2004 - December
    return Month(datetime(year, month, 1, tzinfo=UTC), datetime(*after, 1, tzinfo=UTC))


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are a month's: those above `first` and up to `last`, with their balances."""

    first: int
    last: int
    opening: int
    closing: int
    read_time: datetime


class Charged(msgspec.Struct, frozen=True, kw_only=True):
    """Charges of a day, model and key together. Both are empty of a hold that a team made itself.

    `key_id` is None likewise, and negative for a user.
    """

    day: date
    model: str
    key_id: int | None
    count: int
    amount: int


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """One entry that is no charge."""

    day: date
    kind: EntryKind
    amount: int
    reference: str
    position: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the CSV. `amount` is what it changed the balance by."""

    day: str
    kind: str
    model: str = ""
    key: str = ""
    count: int = 1
    amount: int
    reference: str = ""
    entry: str = ""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One month of an account; opening + granted - charged + refunded - expired = closing."""

    month: Month
    opening: int
    granted: int
    charged: int
    refunded: int
    expired: int
    closing: int
    final: bool
    rows: tuple[Row, ...]

    @property
    def csv(self) -> str:
        """The rows as RFC 4180 has them: CRLF, quotes where needed, a head.

        What a spreadsheet would take for a formula begins with an apostrophe.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(_HEAD)
        for row in self.rows:
            writer.writerow(
                (
                    row.day,
                    row.kind,
                    _plain(row.model),
                    _plain(row.key),
                    row.count,
                    row.amount,
                    usd_text(row.amount),
                    _plain(row.reference),
                    row.entry,
                )
            )
        return text.getvalue()


def charged_row(charged: Charged, key: str) -> Row:
    """The row of charges."""
    return Row(
        day=charged.day.isoformat(),
        kind=_WORDS[EntryKind.CHARGE],
        model=charged.model,
        key=key,
        count=charged.count,
        amount=-charged.amount,
    )


def booked_row(booked: Booked) -> Row:
    """The row of an entry."""
    return Row(
        day=booked.day.isoformat(),
        kind=_WORDS[booked.kind],
        amount=-booked.amount if booked.kind in DEBITS else booked.amount,
        reference=booked.reference,
        entry=str(booked.position),
    )


def limited(rows: Iterable[Row], rows_max: int = ROWS_MAX) -> tuple[Row, ...]:
    """At most `rows_max` rows; all that are more are the last one."""
    found = tuple(rows)
    if len(found) <= rows_max:
        return found
    rest = found[rows_max - 1 :]
    last = Row(
        day="",
        kind="rest",
        count=sum(row.count for row in rest),
        amount=sum(row.amount for row in rest),
        reference=f"{len(rest)} more rows",
    )
    return (*found[: rows_max - 1], last)


def _plain(cell: str) -> str:
    shown = cell.replace("\x00", "")
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
