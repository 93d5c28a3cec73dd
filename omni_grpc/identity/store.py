"""The SQL of a caller's context: all that is known of a key or of a user, in one statement.

Limits, budgets and credentials are those of the key itself, of its environment, of its team and of
its organisation. No secret comes here: only hashes.
"""

from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg.rows import kwargs_row

from omni_grpc.core.ids import AccountId, KeyId, OrgId
from omni_grpc.core.tenancy import BudgetRef, BudgetUnit, RateRule
from omni_grpc.identity.model import Principal, Role, known_scopes
from omni_grpc.identity.names import (
    format_environment_name,
    format_key_name,
    format_org_name,
    format_team_name,
    format_user_name,
)
from omni_grpc.storage import Database

_OF_KEY: Final = """
SELECT id, org_id, team_id, environment_id, user_id, prefix, secret_hash, scopes, models,
       expire_time, revoke_time
FROM api_key WHERE prefix = %(prefix)s
"""

_OF_USER: Final = """
SELECT NULL::bigint AS id, org_id, NULL::bigint AS team_id, NULL::bigint AS environment_id,
       id AS user_id, code AS prefix, ''::bytea AS secret_hash, '{}'::text[] AS scopes,
       '{}'::text[] AS models, NULL::timestamptz AS expire_time, NULL::timestamptz AS revoke_time
FROM org_user WHERE issuer = %(issuer)s AND subject = %(subject)s AND delete_time IS NULL
"""

# What limits a caller belongs to one of these. A session has no limits of its own: its user's id
# stands in the place of a key's.
_SUBJECTS: Final = """
(VALUES ('o'::"char", o.id), ('t', t.id), ('e', e.id),
        ('k', CASE WHEN k.user_id IS NULL THEN k.id END)) s (kind, id)
"""


def _context(source: str, last: str = "") -> str:
    # OFFSET 0: else statistics of few users may bring a join that walks over all of them.
    return f"""
SELECT k.secret_hash, k.id AS key_id, k.prefix, k.scopes, k.models, k.expire_time,
       CASE WHEN k.revoke_time IS NOT NULL THEN 'revoked'
            WHEN k.expire_time <= clock_timestamp() THEN 'expired'
            WHEN k.user_id IS NOT NULL AND u.id IS NULL THEN 'user_deleted' END AS ended,
       o.id AS org_id, o.slug AS org_slug, o.account_id, o.suspend_time IS NOT NULL AS suspended,
       t.id AS team_id, t.slug AS team_slug, e.id AS environment_id, e.slug AS environment_slug,
       u.id AS user_id, u.code AS user_code, u.role,
       (SELECT json_agg(json_build_array(s.kind, r.id, r.slug, r.models, r.requests_per_minute,
                                         r.tokens_per_minute, r.concurrent) ORDER BY r.id)
        FROM {_SUBJECTS} JOIN rate_limit r ON r.subject_kind = s.kind AND r.subject_id = s.id)
         AS rate_rules,
       (SELECT json_agg(json_build_array(b.id, b.unit) ORDER BY b.id)
        FROM {_SUBJECTS} JOIN budget b ON b.subject_kind = s.kind AND b.subject_id = s.id
        WHERE b.delete_time IS NULL) AS budgets,
       EXISTS (SELECT FROM {_SUBJECTS} JOIN provider_credential c
                 ON c.subject_kind = s.kind AND c.subject_id = s.id WHERE c.active)
         AS has_credentials
FROM ({source}) k
JOIN org o ON o.id = k.org_id
LEFT JOIN team t ON t.id = k.team_id
LEFT JOIN environment e ON e.id = k.environment_id
LEFT JOIN LATERAL (
  SELECT id, code, role FROM org_user
  WHERE id = k.user_id AND delete_time IS NULL OFFSET 0) u ON true
{last}"""  # noqa: S608 - its parts are ours


_FIND_KEY: Final = _context(_OF_KEY)
_FIND_USER: Final = _context(
    _OF_USER, "WHERE %(org)s = '' OR o.slug = %(org)s ORDER BY o.id LIMIT %(limit)s"
)

ORGS_OF_USER_MAX: Final = 100
"""Organisations of one person that are looked at when the person does not say which."""


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """What the database knows of a key when it is checked."""

    secret_hash: bytes
    ended: str | None
    """Why the key is not valid, in a word; None while it is."""
    principal: Principal


class IdentityStore:
    """Finds callers, each method raising LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_key(self, prefix: str) -> StoredKey | None:
        """The key or the session of a prefix, valid or not."""
        return await self._database.fetch_one(
            _FIND_KEY, {"prefix": prefix}, row=kwargs_row(_stored_key)
        )

    async def principals_of_user(
        self, issuer: str, subject: str, *, org_slug: str = ""
    ) -> list[Principal]:
        """Who somebody is that an issuer vouches for: one principal for each organisation.

        Args:
            issuer: as the user's row names it.
            subject: likewise.
            org_slug: of one organisation; of all where it is empty, the oldest first.
        """
        found = await self._database.fetch_all(
            _FIND_USER,
            {"issuer": issuer, "subject": subject, "org": org_slug, "limit": ORGS_OF_USER_MAX},
            row=kwargs_row(_stored_key),
        )
        return [one.principal for one in found]


def _stored_key(
    *,
    secret_hash: bytes,
    ended: str | None,
    key_id: int | None,
    prefix: str,
    scopes: list[str],
    models: list[str],
    expire_time: datetime | None,
    org_id: int,
    org_slug: str,
    account_id: int,
    suspended: bool,
    team_id: int | None,
    team_slug: str | None,
    environment_id: int | None,
    environment_slug: str | None,
    user_id: int | None,
    user_code: str | None,
    role: str | None,
    rate_rules: list[list[Any]] | None,
    budgets: list[list[Any]] | None,
    has_credentials: bool,
) -> StoredKey:
    known_role = None if role is None else Role(role)
    parents = {"o": format_org_name(org_slug), "k": format_key_name(org_slug, prefix)}
    if team_slug is not None:
        parents["t"] = format_team_name(org_slug, team_slug)
        if environment_slug is not None:
            parents["e"] = format_environment_name(org_slug, team_slug, environment_slug)
    return StoredKey(
        secret_hash=secret_hash,
        ended=ended,
        principal=Principal(
            # The books name a user by its id with a minus sign, in the place of a key's.
            key_id=KeyId(-user_id if user_id is not None else key_id or 0),
            key_prefix=prefix,
            org_id=OrgId(org_id),
            org_slug=org_slug,
            account_id=AccountId(account_id),
            scopes=known_scopes(scopes) if known_role is None else known_role.scopes,
            team_id=team_id,
            team_slug=team_slug,
            environment_id=environment_id,
            environment_slug=environment_slug,
            user_name=None if user_code is None else format_user_name(org_slug, user_code),
            user_id=user_id,
            role=known_role,
            models=tuple(models),
            rate_rules=tuple(_rate_rule(parents, *row) for row in rate_rules or ()),
            budgets=tuple(BudgetRef(one, BudgetUnit(unit)) for one, unit in budgets or ()),
            has_credentials=has_credentials,
            expire_time=expire_time,
            suspended=suspended,
        ),
    )


def _rate_rule(
    parents: dict[str, str],
    kind: str,
    rule_id: int,
    slug: str,
    models: list[str],
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    concurrent: int | None,
) -> RateRule:
    return RateRule(
        id=rule_id,
        name=f"{parents[kind]}/rateLimits/{slug}",
        models=tuple(models),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent=concurrent,
    )
