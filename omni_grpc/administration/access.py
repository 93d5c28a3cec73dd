"""Whose things a caller may reach: its own organisation's, or all of them for the operator.

What is not the caller's answers exactly as what does not exist, in the same words.
"""

import re
from enum import StrEnum
from typing import Final

import msgspec

from omni_grpc.administration.operation import Caller
from omni_grpc.core.errors import FieldInvalid, NotFound
from omni_grpc.core.ids import OrgId
from omni_grpc.identity import Identity, Org, Subjects

ORG: Final = "orgs/*"
TEAM: Final = "orgs/*/teams/*"
ENVIRONMENT: Final = "orgs/*/teams/*/environments/*"
KEY: Final = "orgs/*/apiKeys/*"
TENANTS: Final = f"{ORG}|{TEAM}|{ENVIRONMENT}"
"""What can have keys and credentials, as paths of routes say it."""
SUBJECTS: Final = f"{TENANTS}|{KEY}"
"""What can have limits and budgets."""

_SLUG: Final = "[a-z][a-z0-9-]{0,62}"
_NAME: Final = re.compile(
    rf"orgs/(?P<org>{_SLUG})"
    rf"(?:/teams/(?P<team>{_SLUG})(?:/environments/(?P<environment>{_SLUG}))?"
    r"|/apiKeys/(?P<key>[0-9a-z]{12}))?",
    re.ASCII,
)


class SubjectKind(StrEnum):
    """What limits, budgets and credentials can belong to; the values stand in their tables."""

    ORG = "o"
    TEAM = "t"
    ENVIRONMENT = "e"
    KEY = "k"


class Subject(msgspec.Struct, frozen=True):
    """An organisation, or something of it, that limits, budgets or credentials belong to."""

    kind: SubjectKind
    id: int
    org_id: OrgId
    name: str
    """As `orgs/{org}/teams/{team}`."""


class Access:
    """Resolves names for a caller."""

    def __init__(self, identity: Identity, subjects: Subjects) -> None:
        self._identity = identity
        self._subjects = subjects

    async def org(self, caller: Caller, slug: str, *, field: str) -> Org:
        """The organisation of a slug, for a caller who may reach it.

        Raises:
            NotFound: there is none, or it is not the caller's.
        """
        missing = NotFound(f"There is no `orgs/{slug}`.", field=field)
        if slug != caller.principal.org_slug and not caller.is_operator:
            raise missing
        try:
            return await self._identity.get_org(slug)
        except (NotFound, FieldInvalid):
            raise missing from None

    async def named_org(self, caller: Caller, name: str, *, field: str) -> Org:
        """The organisation of `orgs/{org}`; otherwise as `org`.

        Raises:
            FieldInvalid: the name is not of that form.
        """
        match = _NAME.fullmatch(name)
        if match is None or name != f"orgs/{match['org']}":
            raise FieldInvalid(f"`{field}` must have the form `orgs/{{org}}`.", field=field)
        return await self.org(caller, match["org"], field=field)

    async def subject(self, caller: Caller, name: str, *, field: str, keys: bool = True) -> Subject:
        """What a name stands for: an organisation, a team, an environment, or a key.

        Args:
            caller: who must be able to reach it.
            name: as `orgs/{org}/teams/{team}`.
            field: the request's name for it.
            keys: whether it may be a key.

        Raises:
            FieldInvalid: the name is of no such form.
            NotFound: there is none, or it is not the caller's.
        """
        match = _NAME.fullmatch(name)
        if match is None or (match["key"] and not keys):
            forms = "`orgs/{org}`, or a team or an environment of it" + (
                ", or `orgs/{org}/apiKeys/{api_key}`" if keys else ""
            )
            raise FieldInvalid(f"`{field}` must be {forms}.", field=field)
        org = await self.org(caller, match["org"], field=field)
        kind, found = SubjectKind.ORG, int(org.org_id)
        if match["key"]:
            kind, row = SubjectKind.KEY, await self._subjects.key_id(org.org_id, match["key"])
        elif match["environment"]:
            kind, row = (
                SubjectKind.ENVIRONMENT,
                await self._subjects.environment_id(
                    org.org_id, match["team"], match["environment"]
                ),
            )
        elif match["team"]:
            kind, row = (
                SubjectKind.TEAM,
                await self._subjects.team_id(org.org_id, match["team"]),
            )
        else:
            row = found
        if row is None:
            raise NotFound(f"There is no `{name}`.", field=field)
        return Subject(kind, row, org.org_id, name)
