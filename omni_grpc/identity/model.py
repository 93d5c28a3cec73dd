"""The values of identity: organisations, their API keys, and who is calling.

All are frozen. Only `NewKey` ever holds a secret, and it does not show it when it is printed.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import msgspec

from omni_grpc.core.errors import FieldInvalid, ScopeMissing
from omni_grpc.core.ids import AccountId, KeyId, OrgId
from omni_grpc.identity.names import format_key_name, format_org_name

OPERATOR_SLUG = "operator"
"""The organisation of whoever runs the service: the only one whose keys may be admins."""


class Scope(StrEnum):
    """What a key may do; all but `ADMIN` within its own organisation alone."""

    INFERENCE = "inference"
    """Chat, and look at models."""

    BILLING = "billing"
    """See balance, entries and usage; make, settle and release holds."""

    ADMIN = "admin"
    """Make organisations and keys, and grant credits, for all organisations."""


SCOPES_DEFAULT = frozenset({Scope.INFERENCE, Scope.BILLING})
"""What a new key may do when its maker does not say."""


def parse_scopes(names: Collection[str]) -> frozenset[Scope]:
    """Scopes by name; the default ones if none is named.

    Raises:
        FieldInvalid: a name is not that of a scope.
    """
    if not names:
        return SCOPES_DEFAULT
    try:
        return frozenset(map(Scope, names))
    except ValueError:
        known = ", ".join(f"`{scope}`" for scope in Scope)
        raise FieldInvalid(f"`scopes` may hold {known} only.", field="scopes") from None


class Org(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant: it owns keys and one wallet."""

    org_id: OrgId
    slug: str
    display_name: str
    account_id: AccountId
    create_time: datetime

    @property
    def name(self) -> str:
        """`orgs/{org}`."""
        return format_org_name(self.slug)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told about a key. `create_by` names the key or the tool that made it."""

    key_id: KeyId
    org_slug: str
    prefix: str
    display_name: str
    scopes: frozenset[Scope]
    create_by: str
    create_time: datetime
    revoke_time: datetime | None

    @property
    def name(self) -> str:
        """`orgs/{org}/apiKeys/{prefix}`."""
        return format_key_name(self.org_slug, self.prefix)


class ApiKeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of one organisation, oldest first. `next_after` is None on the last page."""

    keys: tuple[ApiKey, ...]
    next_after: KeyId | None


# A dataclass, since a Struct would show the secret to rich's pretty printer.
@dataclass(frozen=True, slots=True, eq=False)
class NewKey:
    """A key at the one moment when its secret is known. `secret` is the whole presented text."""

    key: ApiKey
    secret: str = field(repr=False)


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling. `key_prefix` identifies the key in logs."""

    key_id: KeyId
    key_prefix: str
    org_id: OrgId
    org_slug: str
    account_id: AccountId
    scopes: frozenset[Scope]

    @property
    def key_name(self) -> str:
        """`orgs/{org}/apiKeys/{prefix}`."""
        return format_key_name(self.org_slug, self.key_prefix)

    def require(self, scope: Scope) -> None:
        """Go on only if the caller may.

        Raises:
            ScopeMissing: naming the scope that the key lacks.
        """
        if scope not in self.scopes:
            raise ScopeMissing(
                f"The API key {self.key_prefix} lacks the scope `{scope}`, which this call needs. "
                "Use a key that has it, or ask an administrator for one.",
                metadata={"scope": scope.value},
            )
