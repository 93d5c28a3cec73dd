"""API keys over the API: made, shown without their secret, rotated, revoked."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec

from omni_grpc.administration.access import (
    ENVIRONMENT,
    KEY,
    ORG,
    TEAM,
    TENANTS,
    Access,
)
from omni_grpc.administration.granting import check_grant, check_models_granted
from omni_grpc.administration.operation import Caller, Operation, Page
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.identity import (
    ApiKey,
    Identity,
    KeyGrant,
    Permission,
    check_models,
    parse_scopes,
)

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone: without one it could be any of a day's."""


class CreateApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose new key, and what it may do."""

    parent: str
    display_name: str = ""
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    expire_time: Moment | None = None


class GetApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which key."""

    name: str


class ListApiKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    parent: str
    page_size: int = 0
    page_token: str = ""


class RotateApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which key is replaced, and how long it goes on."""

    name: str
    overlap: timedelta | None = None


class RevokeApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which key ends."""

    name: str


class ApiKeyCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A new key; its secret is here and nowhere else."""

    api_key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"ApiKeyCreated({self.api_key!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("api_key", self.api_key)]


class ApiKeyRotated(msgspec.Struct, frozen=True, kw_only=True):
    """A new key with its secret, and the key that it replaces."""

    api_key: ApiKey
    secret: str
    replaced_api_key: ApiKey

    def __repr__(self) -> str:
        return f"ApiKeyRotated({self.api_key!r}, {self.replaced_api_key!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("api_key", self.api_key), ("replaced_api_key", self.replaced_api_key)]


class ApiKeyOperations:
    """The operations of API keys."""

    def __init__(self, identity: Identity, access: Access, tokens: PageTokens) -> None:
        self._identity = identity
        self._access = access
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateApiKey",
            http=f"POST /v1/admin/{{parent={TENANTS}}}/apiKeys",
            permission=Permission.MANAGE,
            asked=CreateApiKey,
            run=self.create,
        )
        yield Operation(
            rpc="GetApiKey",
            http=f"GET /v1/admin/{{name={KEY}}}",
            permission=Permission.SEE,
            asked=GetApiKey,
            run=self.get,
            result="api_key",
        )
        yield Operation(
            rpc="ListApiKeys",
            http=f"GET /v1/admin/{{parent={TENANTS}}}/apiKeys",
            permission=Permission.SEE,
            asked=ListApiKeys,
            run=self.list_keys,
            result="api_keys",
        )
        yield Operation(
            rpc="RotateApiKey",
            http=f"POST /v1/admin/{{name={KEY}}}:rotate",
            permission=Permission.MANAGE,
            asked=RotateApiKey,
            run=self.rotate,
        )
        yield Operation(
            rpc="RevokeApiKey",
            http=f"POST /v1/admin/{{name={KEY}}}:revoke",
            permission=Permission.MANAGE,
            asked=RevokeApiKey,
            run=self.revoke,
            result="api_key",
        )

    async def create(self, caller: Caller, asked: CreateApiKey) -> ApiKeyCreated:
        """Makes a key that may do no more than its maker."""
        parent = await self._access.named(
            caller, asked.parent, ORG, TEAM, ENVIRONMENT, field="parent"
        )
        grant = KeyGrant(
            display_name=asked.display_name,
            scopes=parse_scopes(asked.scopes),
            models=check_models(asked.models),
            expire_time=asked.expire_time,
        )
        check_grant(caller, grant.scopes, field="scopes")
        check_models_granted(caller, parent.org.slug, grant.models)
        new = await self._identity.keys.create(
            caller.actor,
            parent.org.org_id,
            parent.path,
            grant,
            maker=caller.key_of(parent.org.slug),
        )
        return ApiKeyCreated(api_key=new.key, secret=new.secret)

    async def get(self, caller: Caller, asked: GetApiKey) -> ApiKey:
        """A key."""
        found = await self._access.named(caller, asked.name, KEY, field="name")
        return await self._identity.keys.get(found.org.org_id, found.org.slug, found.code)

    async def list_keys(self, caller: Caller, asked: ListApiKeys) -> Page[ApiKey]:
        """A page of the keys in an organisation, a team or an environment, oldest first."""
        parent = await self._access.subject(caller, asked.parent, field="parent", keys=False)
        size = page_size(asked.page_size)
        query = ("api_keys", asked.parent)
        after = self._tokens.open_number(query, asked.page_token) or 0
        found = await self._identity.keys.page(parent.kind.value, parent.id, after, size + 1)
        token = self._tokens.seal(query, found[size - 1].key_id) if len(found) > size else ""
        return Page(tuple(one.key for one in found[:size]), token)

    async def rotate(self, caller: Caller, asked: RotateApiKey) -> ApiKeyRotated:
        """Replaces a key, for those who could make one that may do as much."""
        found = await self._access.named(caller, asked.name, KEY, field="name")
        org = found.org
        key = await self._identity.keys.get(org.org_id, org.slug, found.code)
        # What a key may do never changes, so that the check holds for what is rotated below.
        check_grant(caller, frozenset(key.scopes), field="scopes")
        check_models_granted(caller, org.slug, key.models)
        new, replaced = await self._identity.rotate_api_key(
            caller.actor,
            org.org_id,
            org.slug,
            found.code,
            asked.overlap,
            maker=caller.key_of(org.slug),
        )
        return ApiKeyRotated(api_key=new.key, secret=new.secret, replaced_api_key=replaced)

    async def revoke(self, caller: Caller, asked: RevokeApiKey) -> ApiKey:
        """Revokes a key; repeating it changes nothing."""
        found = await self._access.named(caller, asked.name, KEY, field="name")
        org = found.org
        return await self._identity.revoke_api_key(caller.actor, org.org_id, org.slug, found.code)
