"""Credentials as they rest, and as they are used. Only `Opened` and `Secret` ever hold a secret.

Neither of those shows it when it is printed, and neither is a Struct, which could be encoded by
mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import msgspec

from omni_grpc.core.ids import OrgId


class Owner(msgspec.Struct, frozen=True):
    """Whose a credential is. `kind` is `o`, `t` or `e`: an organisation, a team, an environment."""

    kind: str
    id: int
    org_id: OrgId
    name: str
    """As `orgs/{org}/teams/{team}`."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A row. What is sealed tells nothing without the master key."""

    id: int
    org_id: OrgId
    subject_kind: str
    subject_id: int
    slug: str
    provider: str
    sealed: bytes
    sealed_key: bytes
    master_key_id: str
    weight: int
    fee_ppm: int | None
    active: bool
    hint: str
    revision: int
    create_time: datetime


class InScope(Stored, frozen=True, kw_only=True):
    """A row that calls may use, with its owner's name."""

    name: str
    """`{parent}/providerCredentials/{provider_credential}`."""


# Dataclasses, since a Struct would show the secret to rich's pretty printer.
@dataclass(frozen=True, slots=True, eq=False)
class Secret:
    """What is sealed: a secret, and other values by the names that the provider's entry has."""

    text: str = field(repr=False)
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A credential that can be used; `secret` is None where no master key here opens it."""

    id: int
    revision: int
    name: str
    provider: str
    weight: int
    fee_ppm: int | None
    secret: Secret | None = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class CredentialSet:
    """The credentials of one provider that a caller's calls use: those of the nearest scope."""

    provider: str
    members: tuple[Opened, ...]
