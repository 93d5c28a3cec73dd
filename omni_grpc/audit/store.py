"""The SQL of the audit log (migrations/0014_audit.sql).

`append` is called inside the transaction that makes the change: both are there, or neither is.
"""

from typing import Any, Final

import msgspec
from psycopg.rows import class_row, scalar_row

from omni_grpc.audit.model import Actor, AuditEntry, AuditFilter, Change, Head
from omni_grpc.core.ids import AccountId, OrgId
from omni_grpc.storage import Connection, Database

_APPEND: Final = "SELECT audit_append(%s, %s, %s, %s, %s, %s, %s, %s)"

_COLUMNS: Final = """
org_id, position, create_time, actor, peer, action, resource, old_json, new_json, call_id, hash
"""

_LIST: Final = f"""
SELECT {_COLUMNS} FROM audit_entry
WHERE org_id = %(org_id)s AND position < %(before)s
  AND (%(start)s::timestamptz IS NULL OR create_time >= %(start)s)
  AND (%(end)s::timestamptz IS NULL OR create_time < %(end)s)
  AND (%(actor)s = '' OR actor = %(actor)s) AND (%(action)s = '' OR action = %(action)s)
  AND (%(resource)s = '' OR resource COLLATE "C" = %(resource)s
       OR (resource COLLATE "C" > %(resource)s || '/'
           AND resource COLLATE "C" < %(resource)s || '0'))
ORDER BY position DESC LIMIT %(limit)s
"""  # noqa: S608 - the columns are ours

_READ_ON: Final = f"""
SELECT {_COLUMNS} FROM audit_entry
WHERE org_id = %s AND position > %s ORDER BY position LIMIT %s
"""  # noqa: S608 - likewise

_HEAD: Final = "SELECT org_id, position, hash FROM audit_head WHERE org_id = %s"
_HEADS: Final = """
SELECT org_id, position, hash FROM audit_head WHERE org_id > %s ORDER BY org_id LIMIT %s
"""
_HEADLESS: Final = """
SELECT org_id FROM audit_entry e WHERE position = 1
  AND NOT EXISTS (SELECT FROM audit_head h WHERE h.org_id = e.org_id) ORDER BY org_id LIMIT %s
"""
_LOG_OF: Final = """
SELECT id FROM org WHERE slug IN (%s, 'operator') ORDER BY slug = 'operator' LIMIT 1
"""
_ORG_OF_ACCOUNT: Final = "SELECT org_id FROM account WHERE id = %s"
_OPEN: Final = """
INSERT INTO audit_head VALUES (%s, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING
"""
_LOCK_HEAD: Final = "SELECT FROM audit_head WHERE org_id = %s FOR UPDATE"
_IS_THERE: Final = """
SELECT true FROM audit_entry
WHERE org_id = %s AND resource COLLATE "C" = %s AND action = %s LIMIT 1
"""

POSITION_MAX: Final = 2**63 - 1


async def append(connection: Connection, actor: Actor, change: Change) -> None:
    """Adds one entry, in the connection's transaction. Other writers of the same log wait for it.

    Call it last in the transaction: an organisation's log is locked until the commit.
    """
    await connection.execute(
        _APPEND,
        (
            change.org_id,
            actor.name,
            actor.peer,
            change.action,
            change.resource,
            _json(change.old),
            _json(change.new),
            actor.call_id,
        ),
    )


async def log_of(connection: Connection, org: str) -> OrgId:
    """Whose log a change of an organisation's things belongs to; the operator's if `org` is empty.

    What the operator's tools do before there is its organisation belongs to nobody's, 0.
    """
    cursor = connection.cursor(row_factory=scalar_row)
    found = await (await cursor.execute(_LOG_OF, (org,))).fetchone()
    return OrgId(int(found or 0))


class AuditStore:
    """Reads logs. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def entries(
        self, org_id: OrgId, asked: AuditFilter, before: int | None, limit: int
    ) -> list[AuditEntry]:
        """Entries at positions below `before`, newest first."""
        return await self._database.fetch_all(
            _LIST,
            {
                "org_id": org_id,
                "before": POSITION_MAX if before is None else before,
                "start": asked.start_time,
                "end": asked.end_time,
                "actor": asked.actor,
                "action": asked.action,
                "resource": asked.resource,
                "limit": limit,
            },
            row=class_row(AuditEntry),
        )

    async def after(self, org_id: OrgId, position: int, limit: int) -> list[AuditEntry]:
        """Entries at positions above `position`, oldest first."""
        return await self._database.fetch_all(
            _READ_ON, (org_id, position, limit), row=class_row(AuditEntry)
        )

    async def head(self, org_id: OrgId) -> Head | None:
        """The end of a log; None where nothing was ever written."""
        return await self._database.fetch_one(_HEAD, (org_id,), row=class_row(Head))

    async def heads(self, after: OrgId, limit: int) -> list[Head]:
        """The ends of logs of organisations with a greater id than `after`."""
        return await self._database.fetch_all(_HEADS, (after, limit), row=class_row(Head))

    async def headless(self, limit: int) -> list[OrgId]:
        """Organisations whose logs have entries and no end."""
        return await self._database.fetch_all(_HEADLESS, (limit,), row=scalar_row)

    async def append_of_account(
        self,
        actor: Actor,
        account_id: AccountId,
        *,
        action: str,
        resource: str,
        new: msgspec.Struct,
    ) -> None:
        """Adds one entry for a change that the ledger's lane has made to an account.

        It adds none where there is one of this action and this resource: what is done once, however
        often it is asked for, is told once. So whoever repeats a request whose answer got lost
        also writes the entry that may be missing.
        """

        async def work(connection: Connection) -> None:
            cursor = connection.cursor(row_factory=scalar_row)
            org_id = await (await cursor.execute(_ORG_OF_ACCOUNT, (account_id,))).fetchone()
            change = Change(
                org_id=OrgId(int(org_id or 0)), action=action, resource=resource, new=new
            )
            await connection.execute(_OPEN, (change.org_id,))
            await connection.execute(_LOCK_HEAD, (change.org_id,))
            known = (change.org_id, resource, action)
            if await (await cursor.execute(_IS_THERE, known)).fetchone() is None:
                await append(connection, actor, change)

        await self._database.transaction(work)


def _json(resource: msgspec.Struct | None) -> Any:  # text or None, as the driver takes it
    return None if resource is None else msgspec.json.encode(resource, order="sorted").decode()
