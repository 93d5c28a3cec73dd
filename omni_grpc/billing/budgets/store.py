"""The SQL of budgets (migrations/0015_budgets.sql), to administer them and to tell of them.

Calls find their windows in the ledger's own statement. A change takes a `record`, which is called
last in its transaction: the audit log's entry.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from psycopg.errors import UniqueViolation
from psycopg.rows import kwargs_row, scalar_row, tuple_row

from omni_grpc.billing.budgets.model import Budget, BudgetOwner, BudgetPeriod, BudgetTold
from omni_grpc.core.errors import AlreadyExists, EtagMismatch, TooMany
from omni_grpc.core.ids import OrgId
from omni_grpc.core.tenancy import BudgetUnit
from omni_grpc.notices import enqueue
from omni_grpc.storage import Connection, Database

BUDGETS_MAX: Final = 16
"""Budgets of one organisation, team, environment or key: each call is held in all of its own."""

AMOUNT_MAX: Final = 10**15
"""The largest limit: a million dollars, or as many tokens."""

Record: TypeAlias = Callable[[Connection, Budget | None, Budget | None], Awaitable[None]]
Cursor: TypeAlias = tuple[str, int]
"""Where a pass over the open windows stands: an end, and a budget."""

START: Final[Cursor] = ("-infinity", 0)

_READ: Final = """
SELECT b.id, b.slug, b.display_name, b.unit, b.amount, b.period, b.time_zone, b.revision,
       b.create_time, coalesce(a.debits_posted - a.credits_posted, 0) AS spent,
       coalesce(a.debits_pending, 0) AS held,
       greatest(coalesce(w.start_time, s.start_time), b.create_time) AS window_start_time,
       nullif(coalesce(w.end_time, s.end_time), 'infinity') AS window_end_time
  FROM budget b
  CROSS JOIN LATERAL budget_span(b.period, b.time_zone, clock_timestamp()) s
  LEFT JOIN LATERAL (
    SELECT * FROM budget_window v
     WHERE v.budget_id = b.id AND v.start_time <= clock_timestamp()
     ORDER BY v.start_time DESC LIMIT 1) w ON w.end_time > clock_timestamp()
  LEFT JOIN account a ON a.id = w.account_id
 WHERE b.delete_time IS NULL
"""
_OF: Final = 'b.subject_kind = %(kind)s::"char" AND b.subject_id = %(owner_id)s'
_FIND: Final = f"{_READ} AND {_OF} AND b.slug = %(slug)s"
_LIST: Final = f"{_READ} AND {_OF} AND b.slug > %(slug)s ORDER BY b.slug LIMIT %(limit)s"
_LOCK_ORG: Final = "SELECT FROM org WHERE id = %(org_id)s FOR NO KEY UPDATE"
_LOCK: Final = f"""
SELECT 1 FROM budget b WHERE b.delete_time IS NULL AND {_OF} AND b.slug = %(slug)s
   FOR NO KEY UPDATE
"""  # noqa: S608 - the texts are ours, here and below
_COUNT: Final = f"SELECT count(*) FROM budget b WHERE b.delete_time IS NULL AND {_OF}"  # noqa: S608
_INSERT: Final = """
INSERT INTO budget (org_id, subject_kind, subject_id, slug, display_name, unit, amount, period,
                    time_zone)
VALUES (%(org_id)s, %(kind)s::"char", %(owner_id)s, %(slug)s, %(display_name)s, %(unit)s,
        %(amount)s, %(period)s, %(time_zone)s)
"""
_UPDATE: Final = """
UPDATE budget SET display_name = %(display_name)s, amount = %(amount)s, revision = revision + 1
 WHERE id = %(id)s
"""
_DELETE: Final = """
UPDATE budget SET delete_time = clock_timestamp(), revision = revision + 1 WHERE id = %(id)s
"""
_LIMIT_CHANGED: Final = "SELECT budget_limit_changed(%(id)s)"
_ZONES: Final = "SELECT name FROM pg_timezone_names"

# Of several that look at once one tells: the others pass over the windows that it has locked.
_REACHED: Final = """
WITH reached AS MATERIALIZED (
  SELECT w.budget_id, w.start_time, budget_reached_ppm(a) AS ppm,
         a.debits_posted - a.credits_posted AS spent, a.debits_pending AS held
    FROM budget_window w JOIN account a ON a.id = w.account_id
   WHERE w.budget_id = ANY (%s) AND w.end_time > clock_timestamp() - interval '1 hour'
     AND a.debits_posted - a.credits_posted >= a.debit_limit / 100 * 80  -- nearly all are below
     AND a.debits_posted > a.credits_posted AND budget_reached_ppm(a) > w.told_ppm
   ORDER BY w.budget_id, w.start_time FOR UPDATE OF w SKIP LOCKED)
UPDATE budget_window w SET told_ppm = r.ppm
  FROM reached r JOIN budget b ON b.id = r.budget_id AND b.delete_time IS NULL
 WHERE w.budget_id = r.budget_id AND w.start_time = r.start_time
RETURNING b.org_id, budget_name(b), b.unit, b.amount, r.spent, r.held, r.ppm / 10000,
          nullif(w.end_time, 'infinity')
"""
_OPEN: Final = """
SELECT w.end_time::text, w.budget_id FROM budget_window w
 WHERE (w.end_time, w.budget_id) > (
         greatest(%s::timestamptz, statement_timestamp() - interval '1 hour'), %s::bigint)
 ORDER BY w.end_time, w.budget_id LIMIT %s
"""
_ALL_PERCENT: Final = 100


class BudgetStore:
    """Budgets. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def zones(self) -> list[str]:
        """The time zones that the database knows, which says when a window ends."""
        return await self._database.fetch_all(_ZONES, row=scalar_row)

    async def insert(self, owner: BudgetOwner, values: dict[str, Any], record: Record) -> Budget:
        """Makes a budget of these columns, which counts from now on.

        Raises:
            AlreadyExists: the owner has one of this id.
            TooMany: it has as many as it can have.
        """
        of = _parameters(owner, **values)

        async def work(connection: Connection) -> Budget:
            await connection.execute(_LOCK_ORG, of)  # else two at once would each be the last
            count = connection.cursor(row_factory=scalar_row)
            if (await (await count.execute(_COUNT, of)).fetchone() or 0) >= BUDGETS_MAX:
                raise TooMany(
                    f"The parent has {BUDGETS_MAX} budgets, which is the most it can have. "
                    "Delete one first.",
                    field="parent",
                    metadata={"limit": str(BUDGETS_MAX)},
                )
            await connection.execute(_INSERT, of)
            made = await _found(connection, of)
            await record(connection, None, made)
            return made

        try:
            return await self._database.transaction(work)
        except UniqueViolation:
            raise AlreadyExists(
                f"There is a budget `{values['slug']}` already. Update it, or choose another id.",
                field="budget_id",
            ) from None

    async def find(self, owner: BudgetOwner, slug: str) -> Budget | None:
        """A budget; None if there is none."""
        return await self._database.fetch_one(
            _FIND, _parameters(owner, slug=slug), row=kwargs_row(_budget)
        )

    async def list_after(self, owner: BudgetOwner, slug: str, limit: int) -> list[Budget]:
        """Budgets whose ids come after `slug`, in the order of their ids."""
        return await self._database.fetch_all(
            _LIST, _parameters(owner, slug=slug, limit=limit), row=kwargs_row(_budget)
        )

    async def update(
        self,
        owner: BudgetOwner,
        slug: str,
        etag: str,
        change: Callable[[Budget], Budget],
        record: Record,
    ) -> Budget | None:
        """Changes a budget's name and limit, at once for all calls; None if there is none.

        Args:
            owner: whose.
            slug: its id.
            etag: what it must be now; anything if empty.
            change: from what it is now.
            record: called with both.

        Raises:
            EtagMismatch: it was changed meanwhile.
        """

        async def work(connection: Connection) -> Budget | None:
            old = await _locked(connection, owner, slug, etag)
            if old is None:
                return None
            await connection.execute(_UPDATE, msgspec.structs.asdict(change(old)))
            await connection.execute(_LIMIT_CHANGED, {"id": old.id})
            await tell(connection, [old.id])
            new = await _found(connection, _parameters(owner, slug=slug))
            await record(connection, old, new)
            return new

        return await self._database.transaction(work)

    async def delete(self, owner: BudgetOwner, slug: str, etag: str, record: Record) -> bool:
        """Ends a budget: it limits nothing any more. False if there is none.

        Raises:
            EtagMismatch: it was changed meanwhile.
        """

        async def work(connection: Connection) -> bool:
            old = await _locked(connection, owner, slug, etag)
            if old is None:
                return False
            await connection.execute(_DELETE, {"id": old.id})
            await connection.execute(_LIMIT_CHANGED, {"id": old.id})
            await record(connection, old, None)
            return True

        return await self._database.transaction(work)

    async def tell(self, budgets: Sequence[int]) -> int:
        """Tells webhooks of those budgets whose spending has reached a threshold; how many.

        Each threshold of a window is told once, whoever asks and however often.
        """
        return await self._database.transaction(lambda connection: tell(connection, budgets))

    async def open_windows(self, after: Cursor, limit: int) -> list[Cursor]:
        """The next windows that have not ended, or ended within the hour."""
        return await self._database.fetch_all(_OPEN, [*after, limit], row=tuple_row)


async def tell(connection: Connection, budgets: Sequence[int]) -> int:
    """As `BudgetStore.tell`, in the connection's transaction."""
    cursor = connection.cursor(row_factory=tuple_row)
    rows = await (await cursor.execute(_REACHED, [list(budgets)])).fetchall()
    for org_id, budget, unit, amount, spent, held, percent, end_time in rows:
        body = BudgetTold(
            budget=budget,
            unit=BudgetUnit(unit),
            amount=amount,
            spent=spent,
            held=held,
            percent=percent,
            window_end_time=end_time,
        )
        event = "budget.exhausted" if percent == _ALL_PERCENT else "budget.warning"
        await enqueue(connection, OrgId(org_id), event, body)
    return len(rows)


def _parameters(owner: BudgetOwner, **more: object) -> dict[str, object]:
    return {"kind": owner.kind, "owner_id": owner.id, "org_id": owner.org_id, **more}


async def _found(connection: Connection, parameters: dict[str, object]) -> Budget:
    cursor = connection.cursor(row_factory=kwargs_row(_budget))
    found = await (await cursor.execute(_FIND, parameters)).fetchone()
    if found is None:
        raise TypeError("the database has no budget where it wrote one")
    return found


async def _locked(
    connection: Connection, owner: BudgetOwner, slug: str, etag: str
) -> Budget | None:
    parameters = _parameters(owner, slug=slug)
    if not await (await connection.execute(_LOCK, parameters)).fetchone():
        return None
    found = await _found(connection, parameters)
    if etag and etag != str(found.revision):
        raise EtagMismatch(
            "The budget was changed after this etag was read. Read it again, then change it.",
            field="etag",
        )
    return found


def _budget(*, unit: str, period: str, **columns: Any) -> Budget:  # as the statement has them
    return Budget(unit=BudgetUnit(unit), period=BudgetPeriod(period), **columns)
