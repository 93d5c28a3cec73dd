"""The SQL of sessions: API keys with a user, that live shortly (migrations/0013_tenants.sql)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from psycopg.rows import class_row, scalar_row

from omni_grpc.audit import Actor
from omni_grpc.core.ids import OrgId
from omni_grpc.identity.change_store import Changing, change_org
from omni_grpc.identity.model import Role
from omni_grpc.identity.users import User
from omni_grpc.storage import Database

SESSIONS_MAX: Final = 10
"""Sessions of one user at once: a few machines and browsers. A further one ends the oldest."""

KEPT_AFTER_END: Final = timedelta(days=1)
"""How long an ended session's row stays, so that who asks why it is refused finds it in the log."""

_USER: Final = """
SELECT issuer, subject, email, display_name, role, revision::text AS etag, create_time
FROM org_user WHERE id = %(user_id)s AND org_id = %(org_id)s AND delete_time IS NULL
"""

_INSERT: Final = """
INSERT INTO api_key (org_id, prefix, secret_hash, display_name, scopes, create_by, user_id,
                     expire_time)
VALUES (%(org_id)s, %(prefix)s, %(secret_hash)s, '', '{}', %(user)s, %(user_id)s, %(until)s)
RETURNING id
"""

_END_OLDEST: Final = """
UPDATE api_key SET revoke_time = clock_timestamp()
WHERE id IN (
  SELECT id FROM api_key
  WHERE user_id = %(user_id)s AND revoke_time IS NULL AND expire_time > clock_timestamp()
  ORDER BY id DESC OFFSET %(kept)s)
RETURNING secret_hash
"""

_END: Final = """
UPDATE api_key SET revoke_time = clock_timestamp()
WHERE prefix = %(prefix)s AND user_id = %(user_id)s AND revoke_time IS NULL
RETURNING secret_hash
"""

_FORGET: Final = """
DELETE FROM api_key WHERE id IN (
  SELECT id FROM api_key WHERE user_id IS NOT NULL AND expire_time < clock_timestamp() - %s
  ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
"""


class SessionShown(msgspec.Struct, frozen=True, kw_only=True):
    """A session as the audit log shows it: by its token's public part."""

    prefix: str
    expire_time: datetime


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was made, and the hashes of those that ended for it."""

    user: User
    expire_time: datetime
    ended: tuple[bytes, ...]


class _Columns(msgspec.Struct, frozen=True, kw_only=True):
    issuer: str
    subject: str
    email: str
    display_name: str
    role: str
    etag: str
    create_time: datetime


class SessionStore:
    """Sessions. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        actor: Actor,
        org_id: OrgId,
        user_id: int,
        *,
        prefix: str,
        secret_hash: bytes,
        ttl: timedelta,
    ) -> NewSession | None:
        """Makes a session of a user; None if the user was taken out.

        Args:
            actor: the user, whose name is the session's maker.
            org_id: the user's organisation.
            user_id: the user.
            prefix: the public part of the session's token.
            secret_hash: the hash of all of it.
            ttl: how long it lives.
        """
        of: dict[str, object] = {"org_id": org_id, "user_id": user_id}

        async def work(changing: Changing) -> NewSession | None:
            found = await changing.first(_USER, of, class_row(_Columns))
            if found is None:
                return None
            until = changing.now + ttl
            row = {"prefix": prefix, "secret_hash": secret_hash, "user": actor.name, "until": until}
            await changing.one(_INSERT, of | row, scalar_row)
            ended = await changing.all(_END_OLDEST, of | {"kept": SESSIONS_MAX}, scalar_row)
            shown = SessionShown(prefix=prefix, expire_time=until)
            changing.changed("CreateSession", actor.name, new=shown)
            values = msgspec.structs.asdict(found) | {"role": Role(found.role)}
            return NewSession(
                user=User(name=actor.name, **values), expire_time=until, ended=_hashes(ended)
            )

        return await change_org(self._database, org_id, actor, work)

    async def end(
        self, actor: Actor, org_id: OrgId, user_id: int, prefix: str
    ) -> tuple[bytes, ...]:
        """Ends a session, by its token's public part; the hash of its token, if it was one."""
        of: dict[str, object] = {"user_id": user_id, "prefix": prefix}

        async def work(changing: Changing) -> tuple[bytes, ...]:
            ended = _hashes(await changing.all(_END, of, scalar_row))
            if ended:
                shown = SessionShown(prefix=prefix, expire_time=changing.now)
                changing.changed("EndSession", actor.name, old=shown)
            return ended

        return await change_org(self._database, org_id, actor, work)

    async def forget_ended(self, limit: int) -> int:
        """Deletes up to `limit` sessions that ended long ago; how many. The books name users."""
        return await self._database.execute(_FORGET, (KEPT_AFTER_END, limit))


def _hashes(rows: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(map(bytes, rows))
