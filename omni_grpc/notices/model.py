"""The values of webhooks and their deliveries: frozen, without I/O and without secrets."""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from omni_grpc.core.ids import OrgId

EVENTS: Final = (
    "budget.warning",
    "budget.exhausted",
    "balance.low",
    "top_up.succeeded",
    "top_up.failed",
)
"""What a webhook can be told."""

WEBHOOKS_MAX: Final = 20
"""Webhooks of one organisation: each event is written once for each."""

KEPT_DAYS: Final = 30
"""How long a delivery is kept, whatever became of it."""


class DeliveryState(StrEnum):
    """How a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is told what happens. `revision` is its etag."""

    id: int
    org_id: OrgId
    slug: str
    url: str
    events: tuple[str, ...]
    """What it is told; everything if empty."""
    active: bool
    revision: int
    create_time: datetime


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, for one webhook."""

    id: UUID
    event: str
    body: str
    state: DeliveryState
    attempt_count: int
    last_status: int | None
    last_error: str
    next_attempt_time: datetime | None
    create_time: datetime


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that this sender shall send now; nobody else does until `lease_time`."""

    id: UUID
    webhook_id: int
    org_id: OrgId
    org_slug: str
    slug: str
    url: str
    sealed_secret: bytes
    body: str
    attempt_count: int
    """This attempt included."""
    lease_time: datetime


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one attempt. `status` is None where no answer came."""

    status: int | None = None
    error: str = ""
    """Why it failed, in words for the webhook's owner; empty if it did not."""


def secret_row(org_id: OrgId, slug: str) -> bytes:
    """What a webhook's secret is sealed for."""
    return f"{org_id}/{slug}".encode()
