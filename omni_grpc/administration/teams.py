"""Teams over the API: parts of organisations that have keys, limits and budgets of their own."""

from collections.abc import Iterator
from typing import Any

import msgspec

from omni_grpc.administration.access import ORG, TEAM, Access, Named
from omni_grpc.administration.operation import Caller, Nothing, Operation, Page, writable
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.identity import Identity, OrgPath, Permission, Place


class TeamChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a team that can be changed."""

    name: str
    etag: str = ""
    display_name: str = ""


class CreateTeam(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose new team, and what it is called."""

    parent: str
    team_id: str
    display_name: str = ""


class GetTeam(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which team."""

    name: str


class ListTeams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    parent: str
    page_size: int = 0
    page_token: str = ""


class UpdateTeam(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is changed."""

    team: TeamChange
    update_mask: tuple[str, ...] = ()


class DeleteTeam(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which team goes."""

    name: str
    etag: str = ""


class TeamOperations:
    """The operations of teams."""

    def __init__(self, identity: Identity, access: Access, tokens: PageTokens) -> None:
        self._teams = identity.teams
        self._access = access
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateTeam",
            http=f"POST /v1/admin/{{parent={ORG}}}/teams",
            permission=Permission.MANAGE,
            asked=CreateTeam,
            run=self.create,
            result="team",
        )
        yield Operation(
            rpc="GetTeam",
            http=f"GET /v1/admin/{{name={TEAM}}}",
            permission=Permission.SEE,
            asked=GetTeam,
            run=self.get,
            result="team",
        )
        yield Operation(
            rpc="ListTeams",
            http=f"GET /v1/admin/{{parent={ORG}}}/teams",
            permission=Permission.SEE,
            asked=ListTeams,
            run=self.list_teams,
            result="teams",
        )
        yield Operation(
            rpc="UpdateTeam",
            http=f"PATCH /v1/admin/{{team.name={TEAM}}}",
            permission=Permission.MANAGE,
            asked=UpdateTeam,
            run=self.update,
            result="team",
            body="team",
        )
        yield Operation(
            rpc="DeleteTeam",
            http=f"DELETE /v1/admin/{{name={TEAM}}}",
            permission=Permission.MANAGE,
            asked=DeleteTeam,
            run=self.delete,
        )

    async def create(self, caller: Caller, asked: CreateTeam) -> Place:
        """Makes a team."""
        parent = await self._access.named(caller, asked.parent, ORG, field="parent")
        return await self._teams.create(
            caller.actor, parent.org.org_id, parent.path, asked.team_id, asked.display_name
        )

    async def get(self, caller: Caller, asked: GetTeam) -> Place:
        """A team."""
        found = await self._access.named(caller, asked.name, TEAM, field="name")
        return await self._teams.get(found.org.org_id, *_parted(found))

    async def list_teams(self, caller: Caller, asked: ListTeams) -> Page[Place]:
        """A page of an organisation's teams."""
        parent = await self._access.named(caller, asked.parent, ORG, field="parent")
        size = page_size(asked.page_size)
        query = ("teams", asked.parent)
        after = self._tokens.open_text(query, asked.page_token) or ""
        found = await self._teams.page(parent.org.org_id, parent.path, after, size + 1)
        last = found[size - 1].name.rpartition("/")[2] if len(found) > size else ""
        token = self._tokens.seal(query, last) if last else ""
        return Page(tuple(found[:size]), token)

    async def update(self, caller: Caller, asked: UpdateTeam) -> Place:
        """Gives a team another display name."""
        writable(asked.team, asked.update_mask, "team")
        found = await self._access.named(caller, asked.team.name, TEAM, field="team.name")
        return await self._teams.rename(
            caller.actor,
            found.org.org_id,
            *_parted(found),
            display_name=asked.team.display_name,
            etag=asked.team.etag,
        )

    async def delete(self, caller: Caller, asked: DeleteTeam) -> Nothing:
        """Takes a team away, with its limits, budgets and credentials."""
        found = await self._access.named(caller, asked.name, TEAM, field="name")
        await self._teams.delete(caller.actor, found.org.org_id, *_parted(found), etag=asked.etag)
        return Nothing()


def _parted(found: Named) -> tuple[OrgPath, str]:
    """The parent, and the team's id in it."""
    return OrgPath(org=found.path.org), found.path.team
