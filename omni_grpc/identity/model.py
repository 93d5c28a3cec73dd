"""Who is calling and what they may do: scopes, roles, permissions, and the principal of a call."""

from collections.abc import Collection
from datetime import datetime
from enum import Enum, StrEnum
from typing import Final

import msgspec

from omni_grpc.core.errors import FieldInvalid, ScopeMissing
from omni_grpc.core.ids import AccountId, KeyId, OrgId
from omni_grpc.core.likeness import did_you_mean
from omni_grpc.core.tenancy import BudgetRef, RateRule
from omni_grpc.identity.names import (
    format_environment_name,
    format_key_name,
    format_org_name,
    format_team_name,
)


class Scope(StrEnum):
    """What a key may do; all but `ADMIN` within its own organisation alone."""

    INFERENCE = "inference"
    """Chat, and look at models."""

    BILLING = "billing"
    """See balance, entries and usage; make, settle and release holds; add credits."""

    VIEWING = "viewing"
    """See all of one's organisation: also its keys, limits, budgets and audit log."""

    MANAGEMENT = "management"
    """See and change what an organisation has, its owners apart."""

    ADMIN = "admin"
    """All of that, and more, for all organisations."""


class Role(StrEnum):
    """What a user may do in an organisation."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"

    @property
    def scopes(self) -> frozenset[Scope]:
        """What a key would need to do the same; that an owner may change owners is the role's."""
        return _SCOPES_OF_ROLE[self]


_SCOPES_OF_ROLE = {
    Role.OWNER: frozenset({Scope.INFERENCE, Scope.BILLING, Scope.VIEWING, Scope.MANAGEMENT}),
    Role.ADMIN: frozenset({Scope.INFERENCE, Scope.BILLING, Scope.VIEWING, Scope.MANAGEMENT}),
    Role.DEVELOPER: frozenset({Scope.INFERENCE, Scope.BILLING, Scope.VIEWING}),
    Role.VIEWER: frozenset({Scope.VIEWING}),
}


class Permission(Enum):
    """What an RPC or a route asks of its caller: one of these scopes.

    A scope that reaches all organisations covers what it covers in one.
    """

    INFER = (Scope.INFERENCE,)
    """Call models."""

    SEE_MODELS = (Scope.INFERENCE, Scope.VIEWING, Scope.MANAGEMENT, Scope.ADMIN)
    """Look at the catalog."""

    SPEND = (Scope.BILLING, Scope.ADMIN)
    """Hold credits, and buy them."""

    SEE_MONEY = (Scope.BILLING, Scope.VIEWING, Scope.MANAGEMENT, Scope.ADMIN)
    """See balance, entries, usage and top-ups."""

    SEE = (Scope.VIEWING, Scope.MANAGEMENT, Scope.ADMIN)
    """See what an organisation has."""

    MANAGE = (Scope.MANAGEMENT, Scope.ADMIN)
    """Change what an organisation has."""

    OPERATE = (Scope.ADMIN,)
    """Run the service."""

    SIGNED_IN = tuple(Scope)
    """Be known; every scope is enough."""


SCOPES_DEFAULT = frozenset({Scope.INFERENCE, Scope.BILLING})
"""What a new key may do when its maker does not say."""


_SCOPE_CHARS_MAX: Final = 64
"""How much of a wrong scope an error repeats."""


def parse_scopes(names: Collection[str]) -> frozenset[Scope]:
    """Scopes by name; the default ones if none is named.

    Raises:
        FieldInvalid: a name is not that of a scope.
    """
    if not names:
        return SCOPES_DEFAULT
    for name in names:
        if name not in tuple(Scope):
            known = ", ".join(f"`{scope}`" for scope in Scope)
            shown = name[:_SCOPE_CHARS_MAX]
            raise FieldInvalid(
                f"`scopes` may hold {known} only, not {shown!r}.{did_you_mean(shown, Scope)}",
                field="scopes",
            )
    return frozenset(map(Scope, names))


def known_scopes(names: Collection[str]) -> frozenset[Scope]:
    """Those that this code knows: a newer version may have given others meanwhile."""
    return frozenset(scope for scope in Scope if scope in names)


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling. `key_prefix` identifies the key in logs."""

    key_id: KeyId
    key_prefix: str
    org_id: OrgId
    org_slug: str
    account_id: AccountId
    scopes: frozenset[Scope]
    team_id: int | None = None
    team_slug: str | None = None
    environment_id: int | None = None
    environment_slug: str | None = None
    user_name: str | None = None
    """`orgs/{org}/users/{user}` of who signed in by token, signature or session."""
    user_id: int | None = None
    role: Role | None = None
    """Of who signed in; None for an API key."""
    models: tuple[str, ...] = ()
    """The only models that may be called: ids, or `provider/*`; all if empty."""
    rate_rules: tuple[RateRule, ...] = ()
    """Of the key, its environment, team and organisation."""
    budgets: tuple[BudgetRef, ...] = ()
    """Likewise."""
    has_credentials: bool = False
    """Whether its environment, team or organisation has credentials of a provider."""
    expire_time: datetime | None = None
    """When the key or the session ends by itself."""
    suspended: bool = False
    """Whether its organisation is suspended; then nothing is done for it."""

    @property
    def key_name(self) -> str:
        """`orgs/{org}/apiKeys/{prefix}`."""
        return format_key_name(self.org_slug, self.key_prefix)

    @property
    def place(self) -> str:
        """`orgs/{org}`, or the team or the environment of it that the key belongs to."""
        if self.team_slug is None:
            return format_org_name(self.org_slug)
        if self.environment_slug is None:
            return format_team_name(self.org_slug, self.team_slug)
        return format_environment_name(self.org_slug, self.team_slug, self.environment_slug)

    @property
    def actor(self) -> str:
        """Who is calling, as the audit log names it."""
        return self.user_name or self.key_name

    def require(self, permission: Permission) -> None:
        """Go on only if the caller may.

        Raises:
            ScopeMissing: naming the scope that it lacks.
        """
        if self.scopes.isdisjoint(permission.value):
            needed = permission.value[0]
            who = f"The API key {self.key_prefix}"
            other = "Use a key that has it, or ask an administrator for one."
            if self.user_name is not None:
                who = f"{self.user_name}, {self.role}," if self.role else self.user_name
                other = "Ask an administrator of the organisation for another role."
            raise ScopeMissing(
                f"{who} lacks the scope `{needed}`, which this call needs. {other}",
                metadata={"scope": needed.value},
            )
