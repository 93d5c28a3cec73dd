"""Reads the ledger's tables for the doctor; nothing here writes."""

from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from psycopg.rows import args_row, scalar_row, tuple_row

from omni_grpc.billing.invariants import statements
from omni_grpc.billing.invariants.model import Violation
from omni_grpc.billing.invariants.rows import (
    FAULT_KINDS,
    Charged,
    Entry,
    Snapshot,
    Span,
    Sums,
    Suspect,
    SystemBooks,
    Wallet,
)
from omni_grpc.storage import Database

_XID_MASK: Final = 2**32 - 1
_LOSS: Final = 5
"""The kind of an operator's loss account."""


class BooksStore:
    """Reads the ledger's tables for the doctor, on the primary database."""

    def __init__(self, database: Database, slice_rows: int) -> None:
        self._database = database
        self._rows = slice_rows

    async def money(self) -> tuple[int, int]:
        """Credits and debits over all money accounts."""
        row = await self._database.fetch_one(statements.MONEY, row=tuple_row)
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    async def system_books(self) -> SystemBooks:
        """Every account that is not a wallet, in one moment."""
        rows = await self._database.fetch_all(statements.SYSTEM_ACCOUNTS, row=tuple_row)
        _, xmax, running = rows[0][5].split(":")
        return SystemBooks(
            accounts={row[0]: Sums(row[2], row[3], row[4]) for row in rows},
            losses=frozenset(row[0] for row in rows if row[1] == _LOSS),
            time=rows[0][6],
            xmax=int(xmax) & _XID_MASK,
            running=[int(xid) & _XID_MASK for xid in running.split(",") if xid],
        )

    async def wallets(self, after: int) -> list[Wallet]:
        """The next wallets by id."""
        return await self._database.fetch_all(
            statements.WALLETS, [after, self._rows], row=args_row(Wallet)
        )

    async def entries(self, after: tuple[int, int], last_wallet: int) -> list[Entry]:
        """The next entries by wallet and position, up to those of `last_wallet`."""
        return await self._database.fetch_all(
            statements.ENTRIES, [*after, last_wallet, self._rows], row=args_row(Entry)
        )

    async def next_accounts(self, after: int) -> tuple[int, int] | None:
        """The id that ends the next slice of accounts, and its size; None behind the last."""
        return await self._database.fetch_one(
            statements.LAST_ACCOUNT, [after, self._rows], row=tuple_row
        )

    async def pending(self, after: int, upto: int) -> list[tuple[int, int | None, int]]:
        """Accounts whose pending amount (None: no such account) is not the sum of its holds."""
        span = {"after": after, "upto": upto}
        rows = await self._database.fetch_all(statements.PENDING, span, row=tuple_row)
        return [(row[0], row[1], int(row[2])) for row in rows]

    async def lapsed(self, grace_s: float, limit: int) -> list[tuple[UUID, str, datetime]]:
        """Open holds whose lease ended more than `grace_s` ago."""
        rows = await self._database.fetch_all(statements.LAPSED, [grace_s, limit], row=tuple_row)
        return [(row[0], row[1], row[2]) for row in rows]

    async def next_snapshots(self, after: tuple[int, str]) -> tuple[tuple[int, str], int] | None:
        """The key that ends the next slice of snapshots, and its size; None behind the last."""
        row = await self._database.fetch_one(
            statements.LAST_SNAPSHOT, [*after, self._rows], row=tuple_row
        )
        return None if row is None else ((row[0], row[1]), row[2])

    async def snapshots(self, after: tuple[int, str], upto: tuple[int, str]) -> list[Snapshot]:
        """The snapshots of a slice, each beside what came after it."""
        return await self._database.fetch_all(
            statements.SNAPSHOTS, [*after, *upto], row=args_row(Snapshot)
        )

    async def next_postings(self, after: UUID) -> Span | None:
        """The next slice of postings by id; None behind the last."""
        return await self._next(statements.LAST_POSTING, after)

    async def next_usage(self, after: UUID) -> Span | None:
        """The next slice of usage records by id; None behind the last."""
        return await self._next(statements.LAST_USAGE, after)

    async def totals(self, span: Span, books: SystemBooks) -> list[tuple[int, Sums]]:
        """What the postings of a slice moved on each account, as far as `books` knew them."""
        rows = await self._database.fetch_all(
            statements.TOTALS,
            {
                **span._asdict(),
                "time": books.time,
                "xmax": books.xmax,
                "running": books.running,
            },
            row=tuple_row,
        )
        return [(row[0], Sums(int(row[1]), int(row[2]), row[3])) for row in rows]

    async def faults(self, span: Span) -> list[Violation]:
        """What is wrong with single postings of a slice."""
        rows = await self._database.fetch_all(
            statements.FAULTS, span._asdict(), row=args_row(Suspect)
        )
        return [
            Violation(
                kind.invariant,
                kind.what,
                f"posting {row.id}/{row.n}",
                kind.expected.format(**row._asdict()),
                kind.found.format(**row._asdict()),
            )
            for row in rows
            for kind, is_wrong in zip(FAULT_KINDS, row.wrong, strict=True)
            if is_wrong
        ]

    async def charges(self, span: Span) -> list[Charged]:
        """The router's settles of a slice with what they were computed from."""
        return await self._database.fetch_all(
            statements.CHARGES, span._asdict(), row=args_row(Charged)
        )

    async def next_lots(self, after: UUID) -> Span | None:
        """The next slice of grants that expire; None behind the last."""
        return await self._next(statements.LAST_LOT, after)

    async def lots_astray(self, span: Span) -> list[tuple[UUID, str, str]]:
        """Lots of a slice that are not what the postings say: which, what they say, what it is."""
        rows = await self._database.fetch_all(statements.LOTS, span._asdict(), row=tuple_row)
        return [(row[0], row[2], row[1]) for row in rows]

    async def next_payments(self, after: UUID) -> Span | None:
        """The next slice of payments, by their grants; None behind the last."""
        return await self._next(statements.LAST_PAYMENT, after)

    async def payments_alone(self, span: Span) -> list[str]:
        """Payments of a slice for which there is no grant, by network and name."""
        return await self._database.fetch_all(
            statements.PAYMENTS_ALONE, span._asdict(), row=scalar_row
        )

    async def next_answers(self, after: UUID) -> Span | None:
        """The next slice of kept answers; None behind the last."""
        return await self._next(statements.LAST_ANSWER, after)

    async def answers_astray(self, span: Span) -> list[UUID]:
        """Calls whose answer is kept though nothing of them was settled."""
        return await self._database.fetch_all(
            statements.ANSWERS_ASTRAY, span._asdict(), row=scalar_row
        )

    async def usage_alone(self, span: Span) -> list[UUID]:
        """Usage records of a slice that belong to no final attempt."""
        return await self._database.fetch_all(
            statements.USAGE_ALONE, span._asdict(), row=scalar_row
        )

    async def next_requests(self, after: tuple[int, str]) -> tuple[tuple[int, str], int] | None:
        """The key that ends the next slice of requests, and its size; None behind the last."""
        row = await self._database.fetch_one(
            statements.LAST_REQUEST, [*after, self._rows], row=tuple_row
        )
        return None if row is None else ((row[0], row[1]), row[2])

    async def requests_astray(
        self, after: tuple[int, str], upto: tuple[int, str]
    ) -> list[tuple[str, str, str]]:
        """Requests of a slice without their outcome: which, what was asked, what is there."""
        rows = await self._database.fetch_all(statements.REQUESTS, [*after, *upto], row=tuple_row)
        return [(f"request {row[0]}/{row[1]}", row[2], row[3]) for row in rows]

    async def _next(self, query: LiteralString, after: UUID) -> Span | None:
        row = await self._database.fetch_one(query, [after, self._rows], row=tuple_row)
        return None if row is None else Span(after, *row)
