"""API keys in PostgreSQL (migrations/0002_identity.sql and 0013_tenants.sql).

A row with a user is that user's session; it is no API key, and nothing here shows or changes one.
Every argument that comes from outside is checked here, but for what a maker of keys may grant.
"""

from datetime import datetime, timedelta
from typing import Final

import structlog
from psycopg.rows import kwargs_row, scalar_row

from omni_grpc.audit import Actor
from omni_grpc.core.errors import AlreadyExists, FieldInvalid, NotFound, TooMany
from omni_grpc.core.ids import OrgId
from omni_grpc.core.limits import KEYS_MAX
from omni_grpc.core.missing import missing
from omni_grpc.identity.api_keys import (
    LIFE_MAX,
    OVERLAP_DEFAULT,
    OVERLAP_MAX,
    ApiKey,
    KeyGrant,
    KeyRow,
    NewKey,
    check_models,
)
from omni_grpc.identity.change_store import Changing, change_org
from omni_grpc.identity.key_limit_store import carry_limits, check_end, is_limited
from omni_grpc.identity.keys import KeyHasher, key_prefix, new_key_text
from omni_grpc.identity.model import Scope, known_scopes
from omni_grpc.identity.names import check_display_name, format_key_name, format_org_name
from omni_grpc.identity.orgs import OPERATOR_SLUG, Org
from omni_grpc.identity.places import OrgPath
from omni_grpc.storage import Database

_COLUMNS: Final = """
k.id, k.prefix, k.secret_hash, k.display_name, k.scopes, k.models, k.create_time, k.expire_time,
k.revoke_time, o.slug AS org_slug, t.slug AS team_slug, e.slug AS environment_slug,
r.prefix AS replaced_by
"""
_JOINED: Final = """
JOIN org o ON o.id = k.org_id
LEFT JOIN team t ON t.id = k.team_id
LEFT JOIN environment e ON e.id = k.environment_id
LEFT JOIN api_key r ON r.id = k.replaced_by
"""
_PLACE: Final = """
SELECT (SELECT id FROM team WHERE org_id = %(org_id)s AND slug = %(team)s) AS team_id,
       (SELECT e.id FROM environment e JOIN team t ON t.id = e.team_id
        WHERE t.org_id = %(org_id)s AND t.slug = %(team)s AND e.slug = %(environment)s)
         AS environment_id
"""
_INSERT: Final = f"""
WITH k AS (
  INSERT INTO api_key (org_id, team_id, environment_id, prefix, secret_hash, display_name, scopes,
                       models, expire_time, create_by)
  VALUES (%(org_id)s, %(team_id)s, %(environment_id)s, %(prefix)s, %(secret_hash)s,
          %(display_name)s, %(scopes)s, %(models)s, %(expire_time)s, left(%(create_by)s, 256))
  RETURNING *)
SELECT {_COLUMNS} FROM k {_JOINED}
"""  # noqa: S608 - the columns are ours, as below
# As the index api_key_valid has it.
_COUNT: Final = """
SELECT count(*) FROM (
  SELECT FROM api_key WHERE org_id = %(org_id)s AND user_id IS NULL AND revoke_time IS NULL
    AND coalesce(expire_time, 'infinity') > %(now)s LIMIT %(limit)s) n
"""
_FIND: Final = f"""
SELECT {_COLUMNS} FROM api_key k {_JOINED}
WHERE k.prefix = %(prefix)s AND k.org_id = %(org_id)s AND k.user_id IS NULL
"""  # noqa: S608
_NAME_OF: Final = "SELECT prefix FROM api_key WHERE id = %(id)s"
_PLACE_OF: Final = "SELECT team_id, environment_id FROM api_key WHERE id = %(id)s"
_REVOKE: Final = """
UPDATE api_key SET revoke_time = clock_timestamp() WHERE id = %(id)s RETURNING id
"""
_REPLACE: Final = """
UPDATE api_key SET replaced_by = %(by)s, expire_time = %(expire_time)s
WHERE id = %(id)s RETURNING id
"""
_ADMIN_KEY: Final = """
SELECT id FROM api_key
WHERE org_id = %(org_id)s AND revoke_time IS NULL AND 'admin' = ANY (scopes)
  AND (expire_time IS NULL OR expire_time > clock_timestamp()) LIMIT 1
"""


def _list(column: str) -> str:
    # Compared as a pair: else PostgreSQL may walk the ids of all organisations to find one's few.
    return f"""
SELECT {_COLUMNS} FROM api_key k {_JOINED}
WHERE (k.{column}, k.id) > (%(of)s, %(after)s) AND k.{column} <= %(of)s AND k.user_id IS NULL
ORDER BY k.{column}, k.id LIMIT %(limit)s
"""  # noqa: S608 - the columns are ours


_LISTS: Final = {
    "o": _list("org_id"),
    "t": _list("team_id"),
    "e": _list("environment_id"),
}

log = structlog.get_logger(__name__)


class ApiKeys:
    """API keys, each method raising LedgerUnavailable when the database is away."""

    def __init__(self, database: Database, hasher: KeyHasher) -> None:
        self._database = database
        self._hasher = hasher

    async def create(
        self,
        actor: Actor,
        org_id: OrgId,
        parent: OrgPath,
        grant: KeyGrant,
        *,
        maker: int | None = None,
    ) -> NewKey:
        """Make a key. Its secret is in what this returns, and nowhere else, for ever.

        Args:
            actor: who makes it.
            org_id: of the parent's organisation.
            parent: whose key it will be: an organisation, a team or an environment.
            grant: what it may do.
            maker: the id of the key of the same organisation that makes it, whose end and limits
                bind it; None where no key does.

        Raises:
            FieldInvalid: a value cannot be, a key of this parent cannot have such a scope, or it
                would outlive its maker.
            NotFound: there is no such parent.
            TooMany: the organisation has as many valid keys as it can have.
        """
        _check_scopes(parent, grant.scopes)
        check_display_name(grant.display_name)
        check_models(grant.models)

        async def work(changing: Changing) -> NewKey:
            _check_expiry(grant.expire_time, changing.now)
            place = await changing.one(
                _PLACE,
                {"org_id": org_id, "team": parent.team, "environment": parent.environment},
                kwargs_row(_place),
            )
            if place[0 if not parent.environment else 1] is None and parent.team:
                raise missing(parent.name, "parent")
            if maker is not None:
                await check_end(changing, maker, grant.expire_time, field="expire_time")
            new, new_id = await self._insert(changing, actor, org_id, place, grant)
            changing.changed("CreateApiKey", new.key.name, new=new.key)
            if maker is not None:
                prefix = await changing.one(_NAME_OF, {"id": maker}, scalar_row)
                name = format_key_name(parent.org, prefix)
                await carry_limits(changing, maker, name, to=new_id, to_name=new.key.name)
            return new

        new = await change_org(self._database, org_id, actor, work)
        _log_created(new.key, actor)
        return new

    async def create_first_admin(self, actor: Actor, operator: Org) -> NewKey | None:
        """Make an admin key unless the operator's organisation has a valid one; then None."""

        async def work(changing: Changing) -> NewKey | None:
            # Whoever comes second waited for the lock, and now sees what the first one did.
            of: dict[str, object] = {"org_id": operator.org_id}
            if await changing.first(_ADMIN_KEY, of, scalar_row) is not None:
                return None
            grant = KeyGrant(display_name="First admin key", scopes=frozenset(Scope))
            new, _ = await self._insert(changing, actor, operator.org_id, (None, None), grant)
            changing.changed("CreateApiKey", new.key.name, new=new.key)
            return new

        new = await change_org(self._database, operator.org_id, actor, work)
        if new is not None:
            _log_created(new.key, actor)
        return new

    async def get(self, org_id: OrgId, org_slug: str, prefix: str) -> ApiKey:
        """A key, valid or not.

        Raises:
            NotFound: the organisation has no such key.
        """
        row = await self._database.fetch_one(
            _FIND, {"org_id": org_id, "prefix": prefix}, row=kwargs_row(_row)
        )
        if row is None:
            raise _missing(org_slug, prefix)
        return row.key

    async def page(self, kind: str, of: int, after: int, limit: int) -> list[KeyRow]:
        """Keys made after the key with the id `after`, oldest first, revoked ones included.

        Args:
            kind: `o`, `t` or `e`: all keys in an organisation, a team, an environment.
            of: its id.
            after: 0 for the first page.
            limit: the most keys.
        """
        return await self._database.fetch_all(
            _LISTS[kind], {"of": of, "after": after, "limit": limit}, row=kwargs_row(_row)
        )

    async def rotate(
        self,
        actor: Actor,
        org_id: OrgId,
        org_slug: str,
        prefix: str,
        overlap: timedelta | None,
        *,
        maker: int | None = None,
    ) -> tuple[NewKey, KeyRow]:
        """Make a key that may do what another may, which ends after the overlap.

        The new key lives as long as the old one was given when it was made, and has its limits; the
        old one no longer than it would have. `maker` is as in `create`.

        Returns:
            The new key, and the old one as it now is.

        Raises:
            FieldInvalid: the overlap cannot be, the key is revoked, expired or rotated already, or
                the new one would have more than its maker.
            NotFound: there is no such key.
            TooMany: the organisation has as many valid keys as it can have.
        """
        overlap = OVERLAP_DEFAULT if overlap is None else overlap
        if not timedelta() <= overlap <= OVERLAP_MAX:
            raise FieldInvalid(f"`overlap` must be 0 to {OVERLAP_MAX.days} days.", field="overlap")

        async def work(changing: Changing) -> tuple[NewKey, KeyRow]:
            old = await self._row(changing, org_id, org_slug, prefix)
            _check_rotatable(old, org_slug, changing.now)
            key = old.key
            life = None if key.expire_time is None else key.expire_time - key.create_time
            grant = KeyGrant(
                display_name=key.display_name,
                scopes=frozenset(key.scopes),
                models=key.models,
                expire_time=None if life is None else changing.now + life,
            )
            if maker is not None:
                await check_end(changing, maker, grant.expire_time, field="name")
                if maker != old.key_id and await is_limited(changing, maker):
                    raise FieldInvalid(
                        "Nobody can give what they do not have: your own key has limits of its "
                        f"own, which `{key.name}` may not have. Create a new key instead.",
                        field="name",
                    )
            of: dict[str, object] = {"id": old.key_id}
            place = await changing.one(_PLACE_OF, of, kwargs_row(_place))
            new, new_id = await self._insert(changing, actor, org_id, place, grant)
            await carry_limits(changing, old.key_id, key.name, to=new_id, to_name=new.key.name)
            end = changing.now + overlap
            if key.expire_time is not None:
                end = min(end, key.expire_time)
            await changing.one(_REPLACE, of | {"by": new_id, "expire_time": end}, scalar_row)
            replaced = await self._row(changing, org_id, org_slug, prefix)
            changing.changed("RotateApiKey", new.key.name, old=key, new=new.key)
            changing.changed("RotateApiKey", key.name, old=key, new=replaced.key)
            return new, replaced

        new, replaced = await change_org(self._database, org_id, actor, work)
        log.info("api_key_rotated", key=replaced.key.name, new=new.key.name, by=actor.name)
        return new, replaced

    async def revoke(self, actor: Actor, org_id: OrgId, org_slug: str, prefix: str) -> KeyRow:
        """Revoke a key. Repeating it changes nothing; `revoke_time` stays that of the first time.

        Raises:
            NotFound: there is no such key.
        """

        async def work(changing: Changing) -> KeyRow:
            old = await self._row(changing, org_id, org_slug, prefix)
            if old.key.revoke_time is not None:
                return old
            await changing.one(_REVOKE, {"id": old.key_id}, scalar_row)
            new = await self._row(changing, org_id, org_slug, prefix)
            changing.changed("RevokeApiKey", new.key.name, old=old.key, new=new.key)
            return new

        revoked = await change_org(self._database, org_id, actor, work)
        log.info("api_key_revoked", key=revoked.key.name, by=actor.name)
        return revoked

    async def _insert(
        self,
        changing: Changing,
        actor: Actor,
        org_id: OrgId,
        place: tuple[int | None, int | None],
        grant: KeyGrant,
    ) -> tuple[NewKey, int]:
        secret = new_key_text()
        values: dict[str, object] = {
            "org_id": org_id,
            "team_id": place[0],
            "environment_id": place[1],
            "prefix": key_prefix(secret),
            "secret_hash": self._hasher.digest(secret),
            "display_name": grant.display_name,
            "scopes": sorted(grant.scopes),
            "models": list(dict.fromkeys(grant.models)),
            "expire_time": grant.expire_time,
            "create_by": actor.name,
        }
        row = await changing.one(_INSERT, values, kwargs_row(_row))
        of: dict[str, object] = {"org_id": org_id, "now": changing.now, "limit": KEYS_MAX + 1}
        if await changing.one(_COUNT, of, scalar_row) > KEYS_MAX:
            raise TooMany(
                f"The organisation has {KEYS_MAX:,} valid keys, which is the most it can have. "
                "Revoke one first.",
                field="parent",
                metadata={"limit": str(KEYS_MAX)},
            )
        return NewKey(key=row.key, secret=secret), row.key_id

    async def _row(self, changing: Changing, org_id: OrgId, org_slug: str, prefix: str) -> KeyRow:
        row = await changing.first(_FIND, {"org_id": org_id, "prefix": prefix}, kwargs_row(_row))
        if row is None:
            raise _missing(org_slug, prefix)
        return row


def _row(
    *,
    id: int,  # noqa: A002 - the column
    prefix: str,
    secret_hash: bytes,
    display_name: str,
    scopes: list[str],
    models: list[str],
    create_time: datetime,
    expire_time: datetime | None,
    revoke_time: datetime | None,
    org_slug: str,
    team_slug: str | None,
    environment_slug: str | None,
    replaced_by: str | None,
) -> KeyRow:
    parent = OrgPath(org=org_slug, team=team_slug or "", environment=environment_slug or "")
    return KeyRow(
        key_id=id,
        key=ApiKey(
            name=format_key_name(org_slug, prefix),
            parent=parent.name,
            display_name=display_name,
            scopes=tuple(sorted(known_scopes(scopes))),
            models=tuple(models),
            create_time=create_time,
            expire_time=expire_time,
            revoke_time=revoke_time,
        ),
        secret_hash=secret_hash,
        replaced_by=replaced_by,
    )


def _place(*, team_id: int | None, environment_id: int | None) -> tuple[int | None, int | None]:
    return team_id, environment_id


def _check_scopes(parent: OrgPath, scopes: frozenset[Scope]) -> None:
    if Scope.ADMIN in scopes and parent != OrgPath(org=OPERATOR_SLUG):
        raise FieldInvalid(
            f"Only keys of `{format_org_name(OPERATOR_SLUG)}` itself may have the scope "
            f"`{Scope.ADMIN}`: it reaches every organisation.",
            field="scopes",
        )
    if Scope.MANAGEMENT in scopes and parent.team:
        raise FieldInvalid(
            f"A key of a team or an environment cannot have the scope `{Scope.MANAGEMENT}`, which "
            "reaches the whole organisation. Make it a key of the organisation.",
            field="scopes",
        )


def _check_expiry(expire_time: datetime | None, now: datetime) -> None:
    if expire_time is not None and not now < expire_time <= now + LIFE_MAX:
        raise FieldInvalid(
            "`expire_time` must be in the future, and within a hundred years.", field="expire_time"
        )


def _check_rotatable(old: KeyRow, org_slug: str, now: datetime) -> None:
    key = old.key
    if key.revoke_time is not None or (key.expire_time is not None and key.expire_time <= now):
        ended = "expired" if key.revoke_time is None else "revoked"
        raise FieldInvalid(
            f"`{key.name}` is {ended}, so there is nothing to go on beside a new key. Create one.",
            field="name",
        )
    if old.replaced_by is not None:
        raise AlreadyExists(
            f"`{key.name}` was rotated already: "
            f"`{format_key_name(org_slug, old.replaced_by)}` replaces it. Rotate that one.",
            field="name",
        )


def _log_created(key: ApiKey, actor: Actor) -> None:
    scopes = [scope.value for scope in key.scopes]
    log.info("api_key_created", key=key.name, scopes=scopes, create_by=actor.name)


def _missing(org_slug: str, prefix: str) -> NotFound:
    return missing(format_key_name(org_slug, prefix), "name")
