"""Organisations: the tenants of the service, each with one wallet."""

from datetime import datetime
from typing import Final

import msgspec

from omni_grpc.core.ids import AccountId, OrgId
from omni_grpc.identity.names import format_org_name

OPERATOR_SLUG: Final = "operator"
"""The organisation of whoever runs the service: the only one whose keys may be admins."""


class OrgShown(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation as callers see it, and its audit log."""

    name: str
    display_name: str
    account: str
    create_time: datetime
    suspended: bool
    low_balance_nanousd: int | None
    etag: str


class Org(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant: it owns keys and one wallet."""

    org_id: OrgId
    slug: str
    display_name: str
    account_id: AccountId
    create_time: datetime
    suspended: bool = False
    low_balance_nanousd: int | None = None
    revision: int = 1

    @property
    def name(self) -> str:
        """`orgs/{org}`."""
        return format_org_name(self.slug)

    @property
    def shown(self) -> OrgShown:
        """What may be told of it."""
        return OrgShown(
            name=self.name,
            display_name=self.display_name,
            account=f"accounts/{self.slug}",
            create_time=self.create_time,
            suspended=self.suspended,
            low_balance_nanousd=self.low_balance_nanousd,
            etag=str(self.revision),
        )
