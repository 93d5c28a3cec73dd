"""Environments over the API: where a team's software runs, such as production or staging."""

from collections.abc import Iterator
from typing import Any

import msgspec

from omni_grpc.administration.access import ENVIRONMENT, TEAM, Access, Named
from omni_grpc.administration.operation import Caller, Nothing, Operation, Page, writable
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.identity import Identity, OrgPath, Permission, Place


class EnvironmentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of an environment that can be changed."""

    name: str
    etag: str = ""
    display_name: str = ""


class CreateEnvironment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose new environment, and what it is called."""

    parent: str
    environment_id: str
    display_name: str = ""


class GetEnvironment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which environment."""

    name: str


class ListEnvironments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    parent: str
    page_size: int = 0
    page_token: str = ""


class UpdateEnvironment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is changed."""

    environment: EnvironmentChange
    update_mask: tuple[str, ...] = ()


class DeleteEnvironment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which environment goes."""

    name: str
    etag: str = ""


class EnvironmentOperations:
    """The operations of environments."""

    def __init__(self, identity: Identity, access: Access, tokens: PageTokens) -> None:
        self._environments = identity.environments
        self._access = access
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateEnvironment",
            http=f"POST /v1/admin/{{parent={TEAM}}}/environments",
            permission=Permission.MANAGE,
            asked=CreateEnvironment,
            run=self.create,
            result="environment",
        )
        yield Operation(
            rpc="GetEnvironment",
            http=f"GET /v1/admin/{{name={ENVIRONMENT}}}",
            permission=Permission.SEE,
            asked=GetEnvironment,
            run=self.get,
            result="environment",
        )
        yield Operation(
            rpc="ListEnvironments",
            http=f"GET /v1/admin/{{parent={TEAM}}}/environments",
            permission=Permission.SEE,
            asked=ListEnvironments,
            run=self.list_environments,
            result="environments",
        )
        yield Operation(
            rpc="UpdateEnvironment",
            http=f"PATCH /v1/admin/{{environment.name={ENVIRONMENT}}}",
            permission=Permission.MANAGE,
            asked=UpdateEnvironment,
            run=self.update,
            result="environment",
            body="environment",
        )
        yield Operation(
            rpc="DeleteEnvironment",
            http=f"DELETE /v1/admin/{{name={ENVIRONMENT}}}",
            permission=Permission.MANAGE,
            asked=DeleteEnvironment,
            run=self.delete,
        )

    async def create(self, caller: Caller, asked: CreateEnvironment) -> Place:
        """Makes an environment."""
        parent = await self._access.named(caller, asked.parent, TEAM, field="parent")
        return await self._environments.create(
            caller.actor, parent.org.org_id, parent.path, asked.environment_id, asked.display_name
        )

    async def get(self, caller: Caller, asked: GetEnvironment) -> Place:
        """An environment."""
        found = await self._access.named(caller, asked.name, ENVIRONMENT, field="name")
        return await self._environments.get(found.org.org_id, *_parted(found))

    async def list_environments(self, caller: Caller, asked: ListEnvironments) -> Page[Place]:
        """A page of a team's environments."""
        parent = await self._access.named(caller, asked.parent, TEAM, field="parent")
        size = page_size(asked.page_size)
        query = ("environments", asked.parent)
        after = self._tokens.open_text(query, asked.page_token) or ""
        found = await self._environments.page(parent.org.org_id, parent.path, after, size + 1)
        last = found[size - 1].name.rpartition("/")[2] if len(found) > size else ""
        token = self._tokens.seal(query, last) if last else ""
        return Page(tuple(found[:size]), token)

    async def update(self, caller: Caller, asked: UpdateEnvironment) -> Place:
        """Gives an environment another display name."""
        writable(asked.environment, asked.update_mask, "environment")
        found = await self._access.named(
            caller, asked.environment.name, ENVIRONMENT, field="environment.name"
        )
        return await self._environments.rename(
            caller.actor,
            found.org.org_id,
            *_parted(found),
            display_name=asked.environment.display_name,
            etag=asked.environment.etag,
        )

    async def delete(self, caller: Caller, asked: DeleteEnvironment) -> Nothing:
        """Takes an environment away, with its limits, budgets and credentials."""
        found = await self._access.named(caller, asked.name, ENVIRONMENT, field="name")
        await self._environments.delete(
            caller.actor, found.org.org_id, *_parted(found), etag=asked.etag
        )
        return Nothing()


def _parted(found: Named) -> tuple[OrgPath, str]:
    """The parent, and the environment's id in it."""
    return OrgPath(org=found.path.org, team=found.path.team), found.path.environment
