"""Organisations over the API: made by the operator, changed by their own administrators."""

from collections.abc import Iterator
from typing import Any

import msgspec

from omni_grpc.administration.access import ORG, Access
from omni_grpc.administration.operation import Caller, Operation, Page, writable
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.errors import ScopeMissing
from omni_grpc.identity import Identity, OrgShown, Permission, Scope


class OrgChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of an organisation that can be changed."""

    name: str
    etag: str = ""
    display_name: str = ""
    low_balance_nanousd: int | None = None
    suspended: bool | None = None


class CreateOrg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new organisation is called."""

    org_id: str
    display_name: str = ""


class GetOrg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which organisation."""

    name: str


class ListOrgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    page_size: int = 0
    page_token: str = ""


class UpdateOrg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is changed."""

    org: OrgChange
    update_mask: tuple[str, ...] = ()


class OrgOperations:
    """The operations of organisations."""

    def __init__(self, identity: Identity, access: Access, tokens: PageTokens) -> None:
        self._orgs = identity.orgs
        self._access = access
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateOrg",
            http="POST /v1/admin/orgs",
            permission=Permission.OPERATE,
            asked=CreateOrg,
            run=self.create,
            result="org",
        )
        yield Operation(
            rpc="GetOrg",
            http=f"GET /v1/admin/{{name={ORG}}}",
            permission=Permission.SEE,
            asked=GetOrg,
            run=self.get,
            result="org",
        )
        yield Operation(
            rpc="ListOrgs",
            http="GET /v1/admin/orgs",
            permission=Permission.SEE,
            asked=ListOrgs,
            run=self.list_orgs,
            result="orgs",
        )
        yield Operation(
            rpc="UpdateOrg",
            http=f"PATCH /v1/admin/{{org.name={ORG}}}",
            permission=Permission.MANAGE,
            asked=UpdateOrg,
            run=self.update,
            result="org",
            body="org",
        )

    async def create(self, caller: Caller, asked: CreateOrg) -> OrgShown:
        """Makes an organisation with an empty account."""
        return (await self._orgs.create(caller.actor, asked.org_id, asked.display_name)).shown

    async def get(self, caller: Caller, asked: GetOrg) -> OrgShown:
        """An organisation."""
        return (await self._access.named_org(caller, asked.name, field="name")).shown

    async def list_orgs(self, caller: Caller, asked: ListOrgs) -> Page[OrgShown]:
        """A page of all organisations for the operator; otherwise the caller's own."""
        size = page_size(asked.page_size)
        query = ("orgs", caller.principal.org_slug if not caller.is_operator else "")
        after = self._tokens.open_text(query, asked.page_token) or ""
        if not caller.is_operator:
            return Page(((await self._orgs.get(caller.principal.org_slug)).shown,))
        found = await self._orgs.page(after, size + 1)
        token = self._tokens.seal(query, found[size - 1].slug) if len(found) > size else ""
        return Page(tuple(one.shown for one in found[:size]), token)

    async def update(self, caller: Caller, asked: UpdateOrg) -> OrgShown:
        """Changes an organisation; suspending is the operator's alone."""
        values = writable(asked.org, asked.update_mask, "org")
        if not caller.is_operator and "suspended" in values:
            if "suspended" in asked.update_mask:
                raise ScopeMissing(
                    "Only whoever runs the service suspends organisations: changing `suspended` "
                    f"needs the scope `{Scope.ADMIN}`.",
                    metadata={"scope": Scope.ADMIN.value},
                )
            del values["suspended"]
        elif values.get("suspended", False) is None:
            values["suspended"] = False
        org = await self._access.named_org(caller, asked.org.name, field="org.name")
        return (await self._orgs.update(caller.actor, org, values, asked.org.etag)).shown
