"""Users over the API: who may sign in to an organisation, and as what.

Only an owner, or the operator, makes, changes or takes out owners. Nobody gives a role that may do
more than the giver may.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from omni_grpc.administration.access import ORG, USER, Access
from omni_grpc.administration.granting import check_role_granted
from omni_grpc.administration.operation import Caller, Nothing, Operation, Page, writable
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.identity import Identity, Permission, Role, User


class UserChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a user that can be changed."""

    name: str
    etag: str = ""
    email: str = ""
    display_name: str = ""
    role: Role | None = None


class CreateUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is let in, and as what."""

    parent: str
    issuer: str
    subject: str
    email: str = ""
    display_name: str = ""
    role: Role = Role.VIEWER


class GetUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which user."""

    name: str


class ListUsers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    parent: str
    page_size: int = 0
    page_token: str = ""


class UpdateUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is changed."""

    user: UserChange
    update_mask: tuple[str, ...] = ()


class DeleteUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is taken out."""

    name: str
    etag: str = ""


class UserOperations:
    """The operations of users."""

    def __init__(self, identity: Identity, access: Access, tokens: PageTokens) -> None:
        self._identity = identity
        self._users = identity.users
        self._access = access
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateUser",
            http=f"POST /v1/admin/{{parent={ORG}}}/users",
            permission=Permission.MANAGE,
            asked=CreateUser,
            run=self.create,
            result="user",
        )
        yield Operation(
            rpc="GetUser",
            http=f"GET /v1/admin/{{name={USER}}}",
            permission=Permission.SEE,
            asked=GetUser,
            run=self.get,
            result="user",
        )
        yield Operation(
            rpc="ListUsers",
            http=f"GET /v1/admin/{{parent={ORG}}}/users",
            permission=Permission.SEE,
            asked=ListUsers,
            run=self.list_users,
            result="users",
        )
        yield Operation(
            rpc="UpdateUser",
            http=f"PATCH /v1/admin/{{user.name={USER}}}",
            permission=Permission.MANAGE,
            asked=UpdateUser,
            run=self.update,
            result="user",
            body="user",
        )
        yield Operation(
            rpc="DeleteUser",
            http=f"DELETE /v1/admin/{{name={USER}}}",
            permission=Permission.MANAGE,
            asked=DeleteUser,
            run=self.delete,
        )

    async def create(self, caller: Caller, asked: CreateUser) -> User:
        """Lets somebody in."""
        org = await self._access.named_org(caller, asked.parent, field="parent")
        check_role_granted(
            caller,
            org.slug,
            asked.role,
            is_limited=await self._access.is_limited(caller, org.slug),
            field="role",
        )
        return await self._users.create(
            caller.actor,
            org.org_id,
            issuer=asked.issuer,
            subject=asked.subject,
            email=asked.email,
            display_name=asked.display_name,
            role=asked.role,
            by_owner=_is_owner(caller),
        )

    async def get(self, caller: Caller, asked: GetUser) -> User:
        """A user."""
        found = await self._access.named(caller, asked.name, USER, field="name")
        return await self._users.get(found.org.org_id, found.org.slug, found.code)

    async def list_users(self, caller: Caller, asked: ListUsers) -> Page[User]:
        """A page of an organisation's users, oldest first."""
        org = await self._access.named_org(caller, asked.parent, field="parent")
        size = page_size(asked.page_size)
        query = ("users", asked.parent)
        after = self._tokens.open_number(query, asked.page_token) or 0
        found = await self._users.page(org.org_id, after, size + 1)
        token = self._tokens.seal(query, found[size - 1].user_id) if len(found) > size else ""
        return Page(tuple(one.user for one in found[:size]), token)

    async def update(self, caller: Caller, asked: UpdateUser) -> User:
        """Changes a user; a new role holds everywhere within seconds."""
        values = writable(asked.user, asked.update_mask, "user")
        if values.get("role", Role.VIEWER) is None:
            if asked.update_mask:
                raise FieldInvalid("`user.role` is required.", field="user.role")
            del values["role"]
        found = await self._access.named(caller, asked.user.name, USER, field="user.name")
        if "role" in values:
            check_role_granted(
                caller,
                found.org.slug,
                values["role"],
                is_limited=await self._access.is_limited(caller, found.org.slug),
                field="user.role",
            )
        return await self._users.update(
            caller.actor,
            found.org.org_id,
            found.org.slug,
            found.code,
            values,
            etag=asked.user.etag,
            by_owner=_is_owner(caller),
        )

    async def delete(self, caller: Caller, asked: DeleteUser) -> Nothing:
        """Takes a user out, whose sessions end."""
        found = await self._access.named(caller, asked.name, USER, field="name")
        await self._identity.delete_user(
            caller.actor,
            found.org.org_id,
            found.org.slug,
            found.code,
            etag=asked.etag,
            by_owner=_is_owner(caller),
        )
        return Nothing()


def _is_owner(caller: Caller) -> bool:
    return caller.is_operator or caller.principal.role is Role.OWNER
