"""The SQL of users who sign in by a token or a wallet: found, and made at first sight.

Somebody whom an administrator took out of an organisation is not made again; only an administrator
lets them in anew.
"""

from datetime import datetime
from typing import Final

import msgspec
from psycopg.rows import class_row

from omni_grpc.audit import Actor
from omni_grpc.core.ids import OrgId
from omni_grpc.identity.change_store import Changing, change_org
from omni_grpc.identity.keys import new_prefix
from omni_grpc.identity.model import Principal, Role
from omni_grpc.identity.names import format_user_name
from omni_grpc.identity.store import IdentityStore
from omni_grpc.identity.user_store import check_user_count
from omni_grpc.identity.users import User
from omni_grpc.storage import Database

_FIND: Final = """
SELECT o.id AS org_id, u.id AS user_id, u.email, u.display_name, u.role,
       u.id IS NULL AND EXISTS (
         SELECT FROM org_user d WHERE d.issuer = %(issuer)s AND d.subject = %(subject)s
           AND d.org_id = o.id AND d.delete_time IS NOT NULL) AS taken_out
FROM org o
LEFT JOIN org_user u ON u.issuer = %(issuer)s AND u.subject = %(subject)s AND u.org_id = o.id
                    AND u.delete_time IS NULL
WHERE o.slug = %(org)s
"""

_COLUMNS: Final = "code, issuer, subject, email, display_name, role, revision, create_time"
_INSERT: Final = f"""
INSERT INTO org_user (org_id, code, issuer, subject, email, display_name, role)
VALUES (%(org_id)s, %(code)s, %(issuer)s, %(subject)s, %(email)s, %(display_name)s, %(role)s)
RETURNING {_COLUMNS}
"""  # noqa: S608 - the columns are ours, as below
_READ: Final = f"SELECT {_COLUMNS} FROM org_user WHERE id = %(user_id)s"  # noqa: S608
_UPDATE: Final = f"""
UPDATE org_user SET email = %(email)s, display_name = %(display_name)s, role = %(role)s,
                    revision = revision + 1
WHERE id = %(user_id)s AND delete_time IS NULL
RETURNING {_COLUMNS}
"""  # noqa: S608


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What an issuer says of somebody; what it does not say is empty."""

    issuer: str
    subject: str
    email: str = ""
    display_name: str = ""
    role: Role | None = None


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation, and somebody in it."""

    org_id: int
    user_id: int | None
    email: str | None
    display_name: str | None
    role: str | None
    taken_out: bool


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """A user's columns."""

    code: str
    issuer: str
    subject: str
    email: str
    display_name: str
    role: str
    revision: int
    create_time: datetime

    def user(self, org: str) -> User:
        """As the audit log shows it."""
        return User(
            name=format_user_name(org, self.code),
            issuer=self.issuer,
            subject=self.subject,
            email=self.email,
            display_name=self.display_name,
            role=Role(self.role),
            etag=str(self.revision),
            create_time=self.create_time,
        )


class UserPrincipalStore:
    """Users who sign in. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._principals = IdentityStore(database)

    async def principal(self, org: str, profile: Profile) -> Principal | None:
        """Somebody in an organisation, by its slug; None if there is no such user."""
        found = await self._principals.principals_of_user(
            profile.issuer, profile.subject, org_slug=org
        )
        return found[0] if found else None

    async def is_taken_out(self, org: str, profile: Profile) -> bool:
        """Whether an administrator took this user out of the organisation."""
        found = await self._find(org, profile)
        return found is not None and found.taken_out

    async def enter(self, org: str, profile: Profile, address: str) -> Principal | None:
        """Somebody in an organisation, as its issuer now says; made at first sight.

        Args:
            org: the organisation's slug.
            profile: what is known of the user. A role here replaces the stored one; without one a
                new user is a viewer.
            address: whence the user came, for the audit log.

        Returns:
            None if there is no such organisation, or an administrator took the user out of it.

        Raises:
            TooMany: the user is new, and the organisation has as many as it can have.
        """
        found = await self._find(org, profile)
        if found is None or found.taken_out:
            return None
        if found.user_id is None or _changed(found, profile) is not None:
            await self._write(OrgId(found.org_id), org, profile, address)
        return await self.principal(org, profile)

    async def _find(self, org: str, profile: Profile) -> _Found | None:
        return await self._database.fetch_one(
            _FIND, _parameters(org, profile), row=class_row(_Found)
        )

    async def _write(self, org_id: OrgId, org: str, profile: Profile, address: str) -> None:
        """Makes or changes the user, unless another call just did, or took the user out."""
        names = _parameters(org, profile)

        async def work(changing: Changing) -> None:
            found = await changing.first(_FIND, names, class_row(_Found))
            if found is None or found.taken_out:
                return
            if found.user_id is None:
                first: dict[str, object] = {
                    "org_id": found.org_id,
                    "code": new_prefix(),
                    "email": profile.email,
                    "display_name": profile.display_name,
                    "role": (profile.role or Role.VIEWER).value,
                }
                new = (await changing.one(_INSERT, names | first, class_row(_Row))).user(org)
                await check_user_count(changing, found.org_id)
                changing.changed("CreateUser", new.name, new=new)
            elif (change := _changed(found, profile)) is not None:
                of: dict[str, object] = {"user_id": found.user_id}
                old = (await changing.one(_READ, of, class_row(_Row))).user(org)
                new = (await changing.one(_UPDATE, of | change, class_row(_Row))).user(org)
                changing.changed("UpdateUser", new.name, old=old, new=new)

        who = Actor(name=f"{profile.issuer} {profile.subject}", peer=address)
        await change_org(self._database, org_id, who, work)


def _parameters(org: str, profile: Profile) -> dict[str, object]:
    return {"org": org, "issuer": profile.issuer, "subject": profile.subject}


def _changed(found: _Found, profile: Profile) -> dict[str, object] | None:
    """The columns as they should be; None where they are so."""
    change = {
        "email": profile.email or found.email,
        "display_name": profile.display_name or found.display_name,
        "role": found.role if profile.role is None else profile.role.value,
    }
    stored = {"email": found.email, "display_name": found.display_name, "role": found.role}
    return None if change == stored else dict(change)
