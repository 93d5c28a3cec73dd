"""Users in PostgreSQL (migrations/0013_tenants.sql): who may sign in, and as what.

Only an owner, or the operator, makes, changes or takes out owners, and an organisation that has an
owner keeps one. Every argument that comes from outside is checked here.
"""

import re
from datetime import datetime
from typing import Any, Final

from psycopg.rows import kwargs_row, scalar_row

from omni_grpc.audit import Actor
from omni_grpc.core.errors import (
    AlreadyExists,
    FieldInvalid,
    NotFound,
    ScopeMissing,
    StillNeeded,
    TooMany,
)
from omni_grpc.core.ids import OrgId
from omni_grpc.core.limits import USERS_MAX
from omni_grpc.core.missing import missing
from omni_grpc.identity.change_store import Changing, change_org, check_etag
from omni_grpc.identity.keys import new_prefix
from omni_grpc.identity.model import Role
from omni_grpc.identity.names import check_display_name, check_line, format_user_name
from omni_grpc.identity.users import WALLET_ISSUER, DeletedUser, User, UserRow
from omni_grpc.storage import Database

ISSUER_CHARS_MAX: Final = 2_048
SUBJECT_CHARS_MAX: Final = 255
"""As OpenID Connect bounds `sub`."""
EMAIL_CHARS_MAX: Final = 254
"""The longest address that mail takes (RFC 5321)."""

_ADDRESS: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
"""A Solana address: 32 bytes in base58."""

_COLUMNS: Final = """
u.id, u.code, u.issuer, u.subject, u.email, u.display_name, u.role, u.revision, u.create_time,
(SELECT slug FROM org WHERE id = u.org_id) AS org_slug
"""
_INSERT: Final = f"""
INSERT INTO org_user AS u (org_id, code, issuer, subject, email, display_name, role)
VALUES (%(org_id)s, %(code)s, %(issuer)s, %(subject)s, %(email)s, %(display_name)s, %(role)s)
ON CONFLICT (issuer, subject, org_id) WHERE delete_time IS NULL DO NOTHING
RETURNING {_COLUMNS}
"""  # noqa: S608 - the columns are ours, as below
_COUNT: Final = """
SELECT count(*) FROM (
  SELECT FROM org_user WHERE org_id = %(org_id)s AND delete_time IS NULL LIMIT %(limit)s) n
"""
_FIND: Final = f"""
SELECT {_COLUMNS} FROM org_user u
WHERE u.code = %(code)s AND u.org_id = %(org_id)s AND u.delete_time IS NULL
"""  # noqa: S608
_LIST: Final = f"""
SELECT {_COLUMNS} FROM org_user u
WHERE (u.org_id, u.id) > (%(org_id)s, %(after)s) AND u.org_id <= %(org_id)s
  AND u.delete_time IS NULL
ORDER BY u.org_id, u.id LIMIT %(limit)s
"""  # noqa: S608
_UPDATE: Final = f"""
UPDATE org_user u SET email = %(email)s, display_name = %(display_name)s, role = %(role)s,
  revision = revision + 1
WHERE u.id = %(id)s RETURNING {_COLUMNS}
"""  # noqa: S608
_DELETE: Final = """
UPDATE org_user SET delete_time = clock_timestamp() WHERE id = %(id)s RETURNING id
"""
_OTHER_OWNER: Final = """
SELECT id FROM org_user
WHERE org_id = %(org_id)s AND role = 'owner' AND delete_time IS NULL AND id <> %(id)s LIMIT 1
"""
_END_SESSIONS: Final = """
UPDATE api_key SET revoke_time = clock_timestamp()
WHERE user_id = %(id)s AND revoke_time IS NULL RETURNING secret_hash
"""


class Users:
    """Users, each method raising LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        actor: Actor,
        org_id: OrgId,
        *,
        issuer: str,
        subject: str,
        email: str = "",
        display_name: str = "",
        role: Role = Role.VIEWER,
        by_owner: bool,
    ) -> User:
        """Let somebody in.

        Args:
            actor: who lets in.
            org_id: into which organisation.
            issuer: who vouches: a URL, or WALLET_ISSUER.
            subject: what the issuer calls the user.
            email: may be empty.
            display_name: may be empty.
            role: what the user may do.
            by_owner: whether an owner or the operator does this.

        Raises:
            FieldInvalid: a value cannot be.
            ScopeMissing: an owner is made by somebody who is none.
            AlreadyExists: the user is in the organisation.
            TooMany: the organisation has as many as it can have.
        """
        _check_identity(issuer, subject)
        _check_email(email)
        check_display_name(display_name)
        values: dict[str, object] = {
            "org_id": org_id,
            "code": new_prefix(),
            "issuer": issuer,
            "subject": subject,
            "email": email,
            "display_name": display_name,
            "role": role.value,
        }

        async def work(changing: Changing) -> User:
            _check_owners(by_owner, role)
            row = await changing.first(_INSERT, values, kwargs_row(_user))
            if row is None:
                raise AlreadyExists(
                    "This issuer's subject is a user of the organisation already.",
                    field="subject",
                )
            await check_user_count(changing, org_id)
            changing.changed("CreateUser", row.user.name, new=row.user)
            return row.user

        return await change_org(self._database, org_id, actor, work)

    async def get(self, org_id: OrgId, org_slug: str, code: str) -> User:
        """A user by the last part of its name.

        Raises:
            NotFound: there is none.
        """
        row = await self._database.fetch_one(
            _FIND, {"org_id": org_id, "code": code}, row=kwargs_row(_user)
        )
        if row is None:
            raise _missing(org_slug, code)
        return row.user

    async def page(self, org_id: OrgId, after: int, limit: int) -> list[UserRow]:
        """Users who were let in after the user with the id `after`, oldest first."""
        return await self._database.fetch_all(
            _LIST, {"org_id": org_id, "after": after, "limit": limit}, row=kwargs_row(_user)
        )

    async def update(
        self,
        actor: Actor,
        org_id: OrgId,
        org_slug: str,
        code: str,
        values: dict[str, Any],
        *,
        etag: str = "",
        by_owner: bool,
    ) -> User:
        """Change some of a user's `email`, `display_name` and `role`; otherwise as `create`.

        Raises:
            FieldInvalid: a value cannot be.
            ScopeMissing: an owner is made or changed by somebody who is none.
            NotFound: there is no such user.
            EtagMismatch: it was changed since.
            StillNeeded: the last owner would be none.
        """
        if "email" in values:
            _check_email(values["email"])
        if "display_name" in values:
            check_display_name(values["display_name"])

        async def work(changing: Changing) -> User:
            row = await self._row(changing, org_id, org_slug, code, etag)
            old = row.user
            role = values.get("role", old.role)
            _check_owners(by_owner, old.role, role)
            if role is not Role.OWNER:
                await _keep_an_owner(changing, org_id, row)
            columns: dict[str, object] = {
                "id": row.user_id,
                "email": values.get("email", old.email),
                "display_name": values.get("display_name", old.display_name),
                "role": role.value,
            }
            new = (await changing.one(_UPDATE, columns, kwargs_row(_user))).user
            changing.changed("UpdateUser", new.name, old=old, new=new)
            return new

        return await change_org(self._database, org_id, actor, work)

    async def delete(
        self,
        actor: Actor,
        org_id: OrgId,
        org_slug: str,
        code: str,
        *,
        etag: str = "",
        by_owner: bool,
    ) -> DeletedUser:
        """Take a user out, whose sessions end.

        Raises:
            ScopeMissing: an owner is taken out by somebody who is none.
            NotFound: there is no such user.
            EtagMismatch: it was changed since.
            StillNeeded: it is the last owner.
        """

        async def work(changing: Changing) -> DeletedUser:
            row = await self._row(changing, org_id, org_slug, code, etag)
            _check_owners(by_owner, row.user.role)
            await _keep_an_owner(changing, org_id, row)
            of: dict[str, object] = {"id": row.user_id}
            await changing.one(_DELETE, of, scalar_row)
            hashes = await changing.all(_END_SESSIONS, of, scalar_row)
            changing.changed("DeleteUser", row.user.name, old=row.user)
            return DeletedUser(user=row.user, session_hashes=tuple(map(bytes, hashes)))

        return await change_org(self._database, org_id, actor, work)

    async def _row(
        self, changing: Changing, org_id: OrgId, org_slug: str, code: str, etag: str
    ) -> UserRow:
        row = await changing.first(_FIND, {"org_id": org_id, "code": code}, kwargs_row(_user))
        if row is None:
            raise _missing(org_slug, code)
        check_etag(etag, row.user.etag, row.user.name)
        return row


async def check_user_count(changing: Changing, org_id: int) -> None:
    """Go on only if an organisation has not too many users, the new one among them.

    Raises:
        TooMany: it has.
    """
    of: dict[str, object] = {"org_id": org_id, "limit": USERS_MAX + 1}
    if await changing.one(_COUNT, of, scalar_row) > USERS_MAX:
        raise TooMany(
            f"The organisation has {USERS_MAX:,} users, which is the most it can have. Take one "
            "out first.",
            field="parent",
            metadata={"limit": str(USERS_MAX)},
        )


def _user(
    *,
    id: int,  # noqa: A002 - the column
    code: str,
    issuer: str,
    subject: str,
    email: str,
    display_name: str,
    role: str,
    revision: int,
    create_time: datetime,
    org_slug: str,
) -> UserRow:
    return UserRow(
        user_id=id,
        user=User(
            name=format_user_name(org_slug, code),
            issuer=issuer,
            subject=subject,
            email=email,
            display_name=display_name,
            role=Role(role),
            etag=str(revision),
            create_time=create_time,
        ),
    )


def _check_identity(issuer: str, subject: str) -> None:
    check_line(issuer, field="issuer", chars_max=ISSUER_CHARS_MAX, empty=False)
    check_line(subject, field="subject", chars_max=SUBJECT_CHARS_MAX, empty=False)
    if issuer == WALLET_ISSUER:
        if not _ADDRESS.fullmatch(subject):
            raise FieldInvalid(
                "`subject` must be a wallet's Solana address, in base58.", field="subject"
            )
    elif not issuer.startswith(("https://", "http://")):
        raise FieldInvalid(
            f"`issuer` must be an OIDC issuer's URL, or `{WALLET_ISSUER}`.", field="issuer"
        )


def _check_email(email: str) -> None:
    check_line(email, field="email", chars_max=EMAIL_CHARS_MAX)
    if email and not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise FieldInvalid("`email` must be an e-mail address.", field="email")


def _check_owners(by_owner: bool, *roles: Role) -> None:
    if Role.OWNER in roles and not by_owner:
        raise ScopeMissing(
            "Only an owner of the organisation may make, change or take out owners. "
            "Sign in as one of them.",
            metadata={"role": Role.OWNER.value},
        )


async def _keep_an_owner(changing: Changing, org_id: OrgId, row: UserRow) -> None:
    """Under the organisation's lock, so that two owners cannot take each other out."""
    if row.user.role is not Role.OWNER:
        return
    of: dict[str, object] = {"org_id": org_id, "id": row.user_id}
    if await changing.first(_OTHER_OWNER, of, scalar_row) is None:
        raise StillNeeded(
            f"`{row.user.name}` is the organisation's last owner. Make another user an owner first."
        )


def _missing(org_slug: str, code: str) -> NotFound:
    return missing(format_user_name(org_slug, code), "name")
