"""How an organisation's things are changed: one at a time, and with a line in its audit log."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final, TypeVar

import msgspec
from psycopg import AsyncCursor
from psycopg.rows import AsyncRowFactory, scalar_row

from omni_grpc.audit import Actor, Change, append
from omni_grpc.core.errors import EtagMismatch, NotFound
from omni_grpc.core.ids import OrgId
from omni_grpc.storage import Connection, Database

T = TypeVar("T")

# The database's clock, so that servers with other clocks agree on what has expired.
_LOCK: Final = "SELECT clock_timestamp() FROM org WHERE id = %s FOR NO KEY UPDATE"


class Changing:
    """A transaction that has an organisation's lock. `now` is the database's time."""

    def __init__(self, connection: Connection, now: datetime, org_id: OrgId, actor: Actor) -> None:
        self.connection = connection
        self.now = now
        self._org_id = org_id
        self._actor = actor
        self._changes: list[Change] = []

    async def one(self, query: str, parameters: Mapping[str, object], row: AsyncRowFactory[T]) -> T:
        """The one row of a statement that has always one."""
        found = await self.first(query, parameters, row)
        if found is None:
            raise RuntimeError("the statement returned no row")
        return found

    async def first(
        self, query: str, parameters: Mapping[str, object], row: AsyncRowFactory[T]
    ) -> T | None:
        """The first row, None where there is none."""
        return await (await self._run(query, parameters, row)).fetchone()

    async def all(
        self, query: str, parameters: Mapping[str, object], row: AsyncRowFactory[T]
    ) -> list[T]:
        """All rows."""
        return await (await self._run(query, parameters, row)).fetchall()

    def changed(
        self,
        action: str,
        resource: str,
        *,
        old: msgspec.Struct | None = None,
        new: msgspec.Struct | None = None,
    ) -> None:
        """What the audit log will say. `old` and `new` have no secrets."""
        self._changes.append(
            Change(org_id=self._org_id, action=action, resource=resource, old=old, new=new)
        )

    async def tell(self) -> None:
        """Writes the log's lines: last, since the log is locked from then on."""
        for change in self._changes:
            await append(self.connection, self._actor, change)

    async def _run(
        self, query: str, parameters: Mapping[str, object], row: AsyncRowFactory[T]
    ) -> AsyncCursor[T]:
        cursor = self.connection.cursor(row_factory=row)
        return await cursor.execute(query, parameters)


async def change_org(
    database: Database,
    org_id: OrgId,
    actor: Actor,
    work: Callable[[Changing], Awaitable[T]],
) -> T:
    """Does `work` under the organisation's lock, all of it or nothing, with its audit log.

    Raises:
        NotFound: there is no such organisation.
        LedgerUnavailable: the database is away.
    """

    async def whole(connection: Connection) -> T:
        cursor = connection.cursor(row_factory=scalar_row)
        now = await (await cursor.execute(_LOCK, (org_id,))).fetchone()
        if now is None:
            raise NotFound("There is no such organisation.")
        changing = Changing(connection, now, org_id, actor)
        done = await work(changing)
        await changing.tell()
        return done

    return await database.transaction(whole)


def check_etag(given: str, current: str, name: str) -> None:
    """Go on only if a change was asked for what is there.

    Raises:
        EtagMismatch: it was changed meanwhile. The empty etag is no condition.
    """
    if given and given != current:
        raise EtagMismatch(
            f"`{name}` was changed since this etag was read. Read it again, then change it.",
            field="etag",
        )
