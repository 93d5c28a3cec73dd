"""The SQL of credentials (migrations/0017_credentials.sql). It sees nothing but envelopes."""

from collections.abc import Mapping
from typing import Any, Final

from psycopg.rows import class_row, scalar_row, tuple_row

from omni_grpc.core.ids import OrgId
from omni_grpc.storage import Connection, Database
from omni_grpc.vault.envelope import Envelope
from omni_grpc.vault.model import InScope, Owner, Stored

_COLUMNS: Final = """
c.id, c.org_id, c.subject_kind::text, c.subject_id, c.slug, c.provider, c.sealed, c.sealed_key,
c.master_key_id, c.weight, c.fee_ppm, c.active, c.hint, c.revision, c.create_time
"""
_GET: Final = f"""
SELECT {_COLUMNS} FROM provider_credential c
WHERE c.subject_kind = %s AND c.subject_id = %s AND c.slug = %s
"""  # noqa: S608 - the columns are ours
_GET_FOR_UPDATE: Final = _GET + " FOR UPDATE"
_LIST: Final = f"""
SELECT {_COLUMNS} FROM provider_credential c
WHERE c.subject_kind = %s AND c.subject_id = %s AND c.slug > %s ORDER BY c.slug LIMIT %s
"""  # noqa: S608 - likewise
_NAMED: Final = f"""
SELECT {_COLUMNS},
       'orgs/' || o.slug || coalesce('/teams/' || t.slug, '')
       || coalesce('/environments/' || e.slug, '') || '/providerCredentials/' || c.slug AS name
FROM provider_credential c JOIN org o ON o.id = c.org_id
LEFT JOIN environment e ON c.subject_kind = 'e' AND e.id = c.subject_id
LEFT JOIN team t ON t.id = CASE c.subject_kind WHEN 't' THEN c.subject_id ELSE e.team_id END
"""  # noqa: S608 - likewise
_OF_ORG: Final = _NAMED + "WHERE o.slug = %s AND c.slug = %s"
_IN_SCOPE: Final = f"""
{_NAMED}
WHERE c.active AND ((c.subject_kind, c.subject_id) = ('o', %(org)s)
  OR (c.subject_kind, c.subject_id) = ('t', %(team)s)
  OR (c.subject_kind, c.subject_id) = ('e', %(environment)s))
ORDER BY c.id
"""
_LOCK_ORG: Final = "SELECT id FROM org WHERE id = %s FOR NO KEY UPDATE"
_EXISTS: Final = {
    "o": "SELECT count(*) FROM org WHERE id = %s",
    "t": "SELECT count(*) FROM team WHERE id = %s",
    "e": "SELECT count(*) FROM environment WHERE id = %s",
}
_COUNT: Final = """
SELECT count(*) FROM provider_credential WHERE subject_kind = %s AND subject_id = %s
"""
_NEXT_ID: Final = "SELECT nextval('provider_credential_id')"
_INSERT: Final = f"""
INSERT INTO provider_credential AS c (id, org_id, subject_kind, subject_id, slug, provider, sealed,
  sealed_key, master_key_id, weight, fee_ppm, active, hint)
VALUES (%(id)s, %(org_id)s, %(subject_kind)s, %(subject_id)s, %(slug)s, %(provider)s, %(sealed)s,
  %(sealed_key)s, %(master_key_id)s, %(weight)s, %(fee_ppm)s, %(active)s, %(hint)s)
ON CONFLICT (subject_kind, subject_id, slug) DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 - likewise
_UPDATE: Final = f"""
UPDATE provider_credential c SET sealed = %(sealed)s, sealed_key = %(sealed_key)s,
  master_key_id = %(master_key_id)s, weight = %(weight)s, fee_ppm = %(fee_ppm)s,
  active = %(active)s, hint = %(hint)s, revision = revision + 1
WHERE c.id = %(id)s RETURNING {_COLUMNS}
"""  # noqa: S608 - likewise
_DELETE: Final = "DELETE FROM provider_credential WHERE id = %s"
_REST: Final = f"""
SELECT {_COLUMNS} FROM provider_credential c
WHERE c.id > %s AND c.master_key_id <> %s ORDER BY c.id LIMIT %s
"""  # noqa: S608 - likewise
# Who changed it meanwhile has sealed it anew, under the current key.
_REWRAP: Final = """
UPDATE provider_credential SET sealed_key = %s, master_key_id = %s
WHERE id = %s AND sealed_key = %s
"""
_BY_KEY: Final = """
SELECT master_key_id, count(*) FROM provider_credential GROUP BY 1 ORDER BY 1
"""


class CredentialStore:
    """Reads and writes rows. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, owner: Owner, slug: str) -> Stored | None:
        """One row; None if there is none."""
        return await self._database.fetch_one(
            _GET, (owner.kind, owner.id, slug), row=class_row(Stored)
        )

    async def page(self, owner: Owner, after: str, limit: int) -> list[Stored]:
        """Rows with slugs above `after`, in their order."""
        return await self._database.fetch_all(
            _LIST, (owner.kind, owner.id, after, limit), row=class_row(Stored)
        )

    async def in_scope(
        self, org_id: OrgId, team_id: int | None, environment_id: int | None
    ) -> list[InScope]:
        """The active rows of an organisation, of a team and an environment of it."""
        return await self._database.fetch_all(
            _IN_SCOPE,
            {"org": org_id, "team": team_id, "environment": environment_id},
            row=class_row(InScope),
        )

    async def named(self, name: str) -> InScope | None:
        """The row of a name, active or not; None if there is none."""
        org, slug = name.removeprefix("orgs/").partition("/")[0], name.rpartition("/")[2]
        found = await self._database.fetch_all(_OF_ORG, (org, slug), row=class_row(InScope))
        return next((row for row in found if row.name == name), None)

    async def sealed_otherwise(self, current_id: str, after: int, limit: int) -> list[Stored]:
        """Rows above `after` whose data keys are not under that master key."""
        return await self._database.fetch_all(
            _REST, (after, current_id, limit), row=class_row(Stored)
        )

    async def rewrapped(self, row: Stored, envelope: Envelope) -> bool:
        """Puts a data key under another master key; whether it was still the same."""
        changed = await self._database.execute(
            _REWRAP, (envelope.sealed_key, envelope.master_key_id, row.id, row.sealed_key)
        )
        return changed > 0

    async def counts(self) -> dict[str, int]:
        """How many rows each master key seals."""
        return dict(await self._database.fetch_all(_BY_KEY, row=tuple_row))


async def lock_org(connection: Connection, org_id: OrgId) -> None:
    """Makes other changes of the organisation's things wait until the end of the transaction."""
    await connection.execute(_LOCK_ORG, (org_id,))


async def exists(connection: Connection, owner: Owner) -> bool:
    """Whether an owner is there, once its organisation is locked."""
    return bool(await _one(connection, _EXISTS[owner.kind], (owner.id,)))


async def count(connection: Connection, owner: Owner) -> int:
    """How many an owner has."""
    found: int | None = await _one(connection, _COUNT, (owner.kind, owner.id))
    return found or 0


async def next_id(connection: Connection) -> int:
    """An id that no row has or had."""
    return int(await _one(connection, _NEXT_ID, ()))


async def get_for_update(connection: Connection, owner: Owner, slug: str) -> Stored | None:
    """One row, locked; None if there is none."""
    async with connection.cursor(row_factory=class_row(Stored)) as cursor:
        await cursor.execute(_GET_FOR_UPDATE, (owner.kind, owner.id, slug))
        return await cursor.fetchone()


async def insert(connection: Connection, values: Mapping[str, object]) -> Stored | None:
    """Writes a row; None if its owner has one of that slug."""
    return await _row(connection, _INSERT, values)


async def update(connection: Connection, values: Mapping[str, object]) -> Stored | None:
    """Replaces all that can be changed of a row."""
    return await _row(connection, _UPDATE, values)


async def delete(connection: Connection, row_id: int) -> None:
    """Deletes a row."""
    await connection.execute(_DELETE, (row_id,))


async def _row(
    connection: Connection, statement: str, values: Mapping[str, object]
) -> Stored | None:
    async with connection.cursor(row_factory=class_row(Stored)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchone()


async def _one(connection: Connection, statement: str, values: tuple[object, ...]) -> Any:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchone()
