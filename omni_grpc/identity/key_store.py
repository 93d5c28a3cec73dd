"""The SQL of organisations and keys (migrations/0002_identity.sql and 0013_tenants.sql)."""

from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row, kwargs_row, scalar_row

from omni_grpc.core.ids import AccountId, KeyId
from omni_grpc.identity.model import ApiKey, Org, Scope, known_scopes
from omni_grpc.storage import Connection, Database

# The id comes first, since the wallet is opened for it. A taken slug undoes both.
_INSERT_ORG: Final = """
WITH new AS MATERIALIZED (SELECT nextval(pg_get_serial_sequence('org', 'id')) AS id)
INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE
SELECT id, %(slug)s, %(display_name)s, ledger_open_wallet(id) FROM new
RETURNING id AS org_id, slug, display_name, account_id, create_time
"""

_FIND_ORG: Final = """
SELECT id AS org_id, slug, display_name, account_id, create_time FROM org WHERE slug = %s
"""

_FIND_ORG_OF_ACCOUNT: Final = """
SELECT id AS org_id, slug, display_name, account_id, create_time FROM org WHERE account_id = %s
"""

_INSERT_KEY: Final = """
INSERT INTO api_key (org_id, prefix, secret_hash, display_name, scopes, create_by)
SELECT id, %(prefix)s, %(secret_hash)s, %(display_name)s, %(scopes)s, %(create_by)s
FROM org WHERE slug = %(org_slug)s
RETURNING id AS key_id, %(org_slug)s AS org_slug, prefix, display_name, scopes, create_by,
          create_time, revoke_time
"""

_LOCK_ORG: Final = "SELECT FROM org WHERE slug = %s FOR NO KEY UPDATE"

_ADMIN_KEY_EXISTS: Final = """
SELECT true FROM api_key k JOIN org o ON o.id = k.org_id
WHERE o.slug = %s AND k.revoke_time IS NULL AND 'admin' = ANY (k.scopes) LIMIT 1
"""

# Compared as a pair: else PostgreSQL may walk the ids of all organisations to find one's few.
_LIST_KEYS: Final = """
SELECT id AS key_id, %(org_slug)s AS org_slug, prefix, display_name, scopes, create_by,
       create_time, revoke_time
FROM api_key
WHERE (org_id, id) > (%(org_id)s, %(after)s) AND org_id <= %(org_id)s
ORDER BY org_id, id LIMIT %(limit)s
"""

_REVOKE_KEY: Final = """
UPDATE api_key k SET revoke_time = coalesce(k.revoke_time, clock_timestamp())
FROM org o WHERE o.id = k.org_id AND o.slug = %s AND k.prefix = %s
RETURNING k.id AS key_id, o.slug AS org_slug, k.prefix, k.display_name, k.scopes, k.create_by,
          k.create_time, k.revoke_time, k.secret_hash
"""


class NewRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key to be inserted."""

    prefix: str
    secret_hash: bytes
    display_name: str
    scopes: frozenset[Scope]
    create_by: str

    @property
    def scope_names(self) -> list[str]:
        """In one order, always."""
        return sorted(scope.value for scope in self.scopes)

    def parameters(self, org_slug: str) -> dict[str, object]:
        """As the statement takes them."""
        return {
            "org_slug": org_slug,
            "prefix": self.prefix,
            "secret_hash": self.secret_hash,
            "display_name": self.display_name,
            "scopes": self.scope_names,
            "create_by": self.create_by,
        }


class AdminStore:
    """Organisations and keys, each method raising LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_org(self, slug: str, display_name: str) -> Org | None:
        """Make an organisation and its wallet together; None if the slug is taken."""
        try:
            return await self._database.fetch_one(
                _INSERT_ORG, {"slug": slug, "display_name": display_name}, row=class_row(Org)
            )
        except UniqueViolation as error:
            if error.diag.constraint_name == "org_slug_key":
                return None
            raise

    async def find_org(self, slug: str) -> Org | None:
        """The organisation of a slug."""
        return await self._database.fetch_one(_FIND_ORG, (slug,), row=class_row(Org))

    async def find_org_of_account(self, account_id: AccountId) -> Org | None:
        """The organisation whose wallet this is."""
        return await self._database.fetch_one(
            _FIND_ORG_OF_ACCOUNT, (account_id,), row=class_row(Org)
        )

    async def insert_key(self, org_slug: str, new: NewRow) -> ApiKey | None:
        """Make a key; None if there is no such organisation."""
        return await self._database.fetch_one(
            _INSERT_KEY, new.parameters(org_slug), row=kwargs_row(_api_key)
        )

    async def insert_first_admin_key(self, org_slug: str, new: NewRow) -> ApiKey | None:
        """Make a key unless the organisation has an admin key that is not revoked; then None."""

        async def work(connection: Connection) -> ApiKey | None:
            # Whoever comes second waits here, and then sees what the first one did.
            await connection.execute(_LOCK_ORG, (org_slug,))
            exists = connection.cursor(row_factory=scalar_row)
            if await (await exists.execute(_ADMIN_KEY_EXISTS, (org_slug,))).fetchone():
                return None
            cursor = connection.cursor(row_factory=kwargs_row(_api_key))
            return await (await cursor.execute(_INSERT_KEY, new.parameters(org_slug))).fetchone()

        return await self._database.transaction(work)

    async def list_keys(self, org: Org, after: KeyId, limit: int) -> list[ApiKey]:
        """Keys of an organisation with a greater id than `after`, in the order of ids."""
        return await self._database.fetch_all(
            _LIST_KEYS,
            {"org_id": org.org_id, "org_slug": org.slug, "after": after, "limit": limit},
            row=kwargs_row(_api_key),
        )

    async def revoke_key(self, org_slug: str, prefix: str) -> tuple[ApiKey, bytes] | None:
        """Revoke a key, unless it is revoked already; the key and its hash, None if unknown."""
        return await self._database.fetch_one(
            _REVOKE_KEY, (org_slug, prefix), row=kwargs_row(_revoked_key)
        )


def _api_key(
    *,
    key_id: int,
    org_slug: str,
    prefix: str,
    display_name: str,
    scopes: list[str],
    create_by: str,
    create_time: datetime,
    revoke_time: datetime | None,
) -> ApiKey:
    return ApiKey(
        key_id=KeyId(key_id),
        org_slug=org_slug,
        prefix=prefix,
        display_name=display_name,
        scopes=known_scopes(scopes),
        create_by=create_by,
        create_time=create_time,
        revoke_time=revoke_time,
    )


def _revoked_key(*, secret_hash: bytes, **columns: Any) -> tuple[ApiKey, bytes]:  # as _api_key
    return _api_key(**columns), secret_hash
