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
from omni_grpc.core.missing import missing
from omni_grpc.identity import Identity, Org, OrgPath, Subjects

ORG: Final = "orgs/*"
TEAM: Final = "orgs/*/teams/*"
ENVIRONMENT: Final = "orgs/*/teams/*/environments/*"
KEY: Final = "orgs/*/apiKeys/*"
USER: Final = "orgs/*/users/*"
TENANTS: Final = f"{ORG}|{TEAM}|{ENVIRONMENT}"
"""What can have keys and credentials, as paths of routes say it."""
SUBJECTS: Final = f"{TENANTS}|{KEY}"
"""What can have limits and budgets."""

_SLUG: Final = "[a-z][a-z0-9-]{1,62}"
_CODE: Final = "[0-9a-hjkmnp-tv-z]{12}"
"""The last part of a key's and of a user's name."""

_WORDS: Final = {
    ORG: "orgs/{org}",
    TEAM: "orgs/{org}/teams/{team}",
    ENVIRONMENT: "orgs/{org}/teams/{team}/environments/{environment}",
    KEY: "orgs/{org}/apiKeys/{api_key}",
    USER: "orgs/{org}/users/{user}",
}
_NAMES: Final = {
    form: re.compile(
        words.replace("{org}", f"(?P<org>{_SLUG})")
        .replace("{team}", f"(?P<team>{_SLUG})")
        .replace("{environment}", f"(?P<environment>{_SLUG})")
        .replace("{api_key}", f"(?P<code>{_CODE})")
        .replace("{user}", f"(?P<code>{_CODE})"),
        re.ASCII,
    )
    for form, words in _WORDS.items()
}


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


class Named(msgspec.Struct, frozen=True):
    """A name of a known form, taken apart, in an organisation that the caller may reach."""

    org: Org
    path: OrgPath
    """The organisation, team and environment in it."""
    code: str
    """The last part of the name of a key or a user; empty in other names."""


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
        absent = missing(f"orgs/{slug}", field)
        if slug != caller.principal.org_slug and not caller.is_operator:
            raise absent
        try:
            return await self._identity.get_org(slug)
        except (NotFound, FieldInvalid):
            raise absent from None

    async def named(self, caller: Caller, name: str, *forms: str, field: str) -> Named:
        """A name of one of some forms. Only its organisation is looked for.

        Args:
            caller: who must be able to reach it.
            name: as `orgs/{org}/teams/{team}`.
            forms: of ORG, TEAM, ENVIRONMENT, KEY and USER.
            field: the request's name for it.

        Raises:
            FieldInvalid: the name is of none of these forms.
            NotFound: there is no such organisation, or it is not the caller's.
        """
        for form in forms:
            match = _NAMES[form].fullmatch(name)
            if match is not None:
                parts = match.groupdict()
                code = parts.pop("code", "")
                return Named(
                    await self.org(caller, parts["org"], field=field), OrgPath(**parts), code
                )
        allowed = ", or ".join(f"`{_WORDS[form]}`" for form in forms)
        raise FieldInvalid(f"`{field}` must have the form {allowed}.", field=field)

    async def named_org(self, caller: Caller, name: str, *, field: str) -> Org:
        """The organisation of `orgs/{org}`; otherwise as `org`.

        Raises:
            FieldInvalid: the name is not of that form.
        """
        return (await self.named(caller, name, ORG, field=field)).org

    async def is_limited(self, caller: Caller, org_slug: str) -> bool:
        """Whether the caller is a key of this organisation with limits or budgets of its own."""
        key = caller.key_of(org_slug)
        return key is not None and await self._subjects.is_key_limited(key)

    async def check_loosened(self, caller: Caller, name: str, *, field: str) -> None:
        """Go on only if the caller may change what a key is limited to.

        A key with limits of its own changes no key's: not its own, nor those of a key it made.

        Args:
            caller: who changes a rate limit or a budget.
            name: whose it is.
            field: the request's name for the limit.

        Raises:
            FieldInvalid: the caller's key has such limits, and the name is a key's.
        """
        match = _NAMES[KEY].fullmatch(name)
        if match is not None and await self.is_limited(caller, match["org"]):
            raise FieldInvalid(
                "Nobody can give what they do not have: your own key has limits of its own, so it "
                "cannot change what keys are limited to. Ask a user, or use a key without limits.",
                field=field,
            )

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
        forms = (ORG, TEAM, ENVIRONMENT, KEY) if keys else (ORG, TEAM, ENVIRONMENT)
        found = await self.named(caller, name, *forms, field=field)
        org_id, path = found.org.org_id, found.path
        row: int | None = org_id
        kind = SubjectKind.ORG
        if found.code:
            kind, row = SubjectKind.KEY, await self._subjects.key_id(org_id, found.code)
        elif path.environment:
            kind = SubjectKind.ENVIRONMENT
            row = await self._subjects.environment_id(org_id, path.team, path.environment)
        elif path.team:
            kind, row = SubjectKind.TEAM, await self._subjects.team_id(org_id, path.team)
        if row is None:
            raise missing(name, field)
        return Subject(kind, row, org_id, name)
