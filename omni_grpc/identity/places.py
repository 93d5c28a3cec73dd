"""Places in an organisation with keys, limits and budgets of their own: teams, environments."""

from datetime import datetime
from enum import StrEnum

import msgspec

from omni_grpc.identity.names import format_environment_name, format_org_name, format_team_name


class PlaceKind(StrEnum):
    """The kinds, by the letters under which limits, budgets and credentials name them."""

    TEAM = "t"
    ENVIRONMENT = "e"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A team, or an environment of one, as callers see it, and the audit log."""

    name: str
    display_name: str
    etag: str
    create_time: datetime


class PlaceDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """What went with a place, for the audit log."""

    name: str
    display_name: str
    rate_limits: tuple[str, ...]
    budgets: tuple[str, ...]
    provider_credentials: tuple[str, ...]


class OrgPath(msgspec.Struct, frozen=True, kw_only=True):
    """The ids in a name: of an organisation, a team or an environment. Empty from where it ends."""

    org: str
    team: str = ""
    environment: str = ""

    @property
    def name(self) -> str:
        """`orgs/{org}/teams/{team}/environments/{environment}`, as far as it goes."""
        if self.environment:
            return format_environment_name(self.org, self.team, self.environment)
        return format_team_name(self.org, self.team) if self.team else format_org_name(self.org)
