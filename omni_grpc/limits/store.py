"""The SQL of rate limits (migrations/0016_rate_limits.sql).

They are read for calls with their keys' contexts; here they are administered. A change takes a
`record`, which is called last in its transaction: the audit log's entry.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec
from psycopg.errors import UniqueViolation
from psycopg.rows import kwargs_row, scalar_row

from omni_grpc.core.errors import AlreadyExists, EtagMismatch, TooMany
from omni_grpc.core.ids import OrgId
from omni_grpc.storage import Connection, Database

RATE_LIMITS_MAX: Final = 32
"""Rate limits of one organisation, team, environment or key: a call looks at all of its own."""


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A rate limit as it stands. What is None is not limited."""

    id: int
    slug: str
    models: tuple[str, ...]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent: int | None
    revision: int
    create_time: datetime


class Owner(msgspec.Struct, frozen=True):
    """Whose rate limits: the kind's code in the table, its row, and its organisation."""

    kind: str
    id: int
    org_id: OrgId


Record: TypeAlias = Callable[[Connection, RateLimit | None, RateLimit | None], Awaitable[None]]

_COLUMNS: Final = """
id, slug, models, requests_per_minute, tokens_per_minute, concurrent, revision, create_time
"""
_OF: Final = 'subject_kind = %(kind)s::"char" AND subject_id = %(owner_id)s'
_LOCK_ORG: Final = "SELECT FROM org WHERE id = %(org_id)s FOR NO KEY UPDATE"
_COUNT: Final = f"SELECT count(*) FROM rate_limit WHERE {_OF}"  # noqa: S608 - the texts are ours
_INSERT: Final = f"""
INSERT INTO rate_limit (org_id, subject_kind, subject_id, slug, models, requests_per_minute,
                        tokens_per_minute, concurrent)
VALUES (%(org_id)s, %(kind)s::"char", %(owner_id)s, %(slug)s, %(models)s, %(requests_per_minute)s,
        %(tokens_per_minute)s, %(concurrent)s)
RETURNING {_COLUMNS}
"""  # noqa: S608 - likewise, here and below
_FIND: Final = f"""
SELECT {_COLUMNS} FROM rate_limit WHERE {_OF} AND slug = %(slug)s
"""  # noqa: S608
_FIND_LOCKED: Final = f"{_FIND} FOR NO KEY UPDATE"
_LIST: Final = f"""
SELECT {_COLUMNS} FROM rate_limit WHERE {_OF} AND slug > %(slug)s ORDER BY slug LIMIT %(limit)s
"""  # noqa: S608
_UPDATE: Final = f"""
UPDATE rate_limit
SET models = %(models)s, requests_per_minute = %(requests_per_minute)s,
    tokens_per_minute = %(tokens_per_minute)s, concurrent = %(concurrent)s, revision = revision + 1
WHERE id = %(id)s
RETURNING {_COLUMNS}
"""  # noqa: S608
_DELETE: Final = "DELETE FROM rate_limit WHERE id = %(id)s"


class RateLimitStore:
    """Rate limits. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, owner: Owner, values: dict[str, Any], record: Record) -> RateLimit:
        """Makes a rate limit of these columns.

        Raises:
            AlreadyExists: the owner has one of this id.
            TooMany: it has as many as it can have.
        """
        of = _parameters(owner)

        async def work(connection: Connection) -> RateLimit:
            await connection.execute(_LOCK_ORG, of)  # else two at once would each be the last
            count = connection.cursor(row_factory=scalar_row)
            if (await (await count.execute(_COUNT, of)).fetchone() or 0) >= RATE_LIMITS_MAX:
                raise TooMany(
                    f"The parent has {RATE_LIMITS_MAX} rate limits, which is the most it can "
                    "have. Delete one first.",
                    field="parent",
                    metadata={"limit": str(RATE_LIMITS_MAX)},
                )
            made = await _one(connection, _INSERT, of | values)
            await record(connection, None, made)
            return made

        try:
            return await self._database.transaction(work)
        except UniqueViolation:
            raise AlreadyExists(
                f"There is a rate limit `{values['slug']}` already. Update it, or choose another "
                "id.",
                field="rate_limit_id",
            ) from None

    async def find(self, owner: Owner, slug: str) -> RateLimit | None:
        """A rate limit; None if there is none."""
        return await self._database.fetch_one(
            _FIND, _parameters(owner, slug=slug), row=kwargs_row(_rate_limit)
        )

    async def list_after(self, owner: Owner, slug: str, limit: int) -> list[RateLimit]:
        """Rate limits whose ids come after `slug`, in the order of their ids."""
        return await self._database.fetch_all(
            _LIST, _parameters(owner, slug=slug, limit=limit), row=kwargs_row(_rate_limit)
        )

    async def update(
        self,
        owner: Owner,
        slug: str,
        etag: str,
        change: Callable[[RateLimit], RateLimit],
        record: Record,
    ) -> RateLimit | None:
        """Changes a rate limit; None if there is none.

        Args:
            owner: whose.
            slug: its id.
            etag: what it must be now; anything if empty.
            change: from what it is now.
            record: called with both.

        Raises:
            EtagMismatch: it was changed meanwhile.
        """

        async def work(connection: Connection) -> RateLimit | None:
            old = await _locked(connection, owner, slug, etag)
            if old is None:
                return None
            values = msgspec.structs.asdict(change(old))
            new = await _one(connection, _UPDATE, values | {"models": list(values["models"])})
            await record(connection, old, new)
            return new

        return await self._database.transaction(work)

    async def delete(self, owner: Owner, slug: str, etag: str, record: Record) -> bool:
        """Deletes a rate limit; False if there is none.

        Raises:
            EtagMismatch: it was changed meanwhile.
        """

        async def work(connection: Connection) -> bool:
            old = await _locked(connection, owner, slug, etag)
            if old is None:
                return False
            await connection.execute(_DELETE, {"id": old.id})
            await record(connection, old, None)
            return True

        return await self._database.transaction(work)


def _parameters(owner: Owner, **more: object) -> dict[str, object]:
    return {"kind": owner.kind, "owner_id": owner.id, "org_id": owner.org_id, **more}


async def _one(connection: Connection, statement: Any, values: dict[str, Any]) -> RateLimit:
    cursor = connection.cursor(row_factory=kwargs_row(_rate_limit))
    found = await (await cursor.execute(statement, values)).fetchone()
    if found is None:
        raise TypeError("the database returned no row for what it wrote")
    return found


async def _locked(connection: Connection, owner: Owner, slug: str, etag: str) -> RateLimit | None:
    cursor = connection.cursor(row_factory=kwargs_row(_rate_limit))
    found = await (await cursor.execute(_FIND_LOCKED, _parameters(owner, slug=slug))).fetchone()
    if found is not None and etag and etag != str(found.revision):
        raise EtagMismatch(
            "The rate limit was changed after this etag was read. Read it again, then change it.",
            field="etag",
        )
    return found


def _rate_limit(*, models: list[str], **columns: Any) -> RateLimit:  # as the table has them
    return RateLimit(models=tuple(models), **columns)
