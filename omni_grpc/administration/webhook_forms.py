"""What is asked of webhooks over the API, and what is shown of them: the contract's fields."""

from datetime import datetime

import msgspec

from omni_grpc.notices import Delivery, DeliveryState, Webhook


class WebhookGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook to be created."""

    url: str
    events: tuple[str, ...] = ()
    active: bool = True


class WebhookChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook as its change gives it."""

    name: str
    etag: str = ""
    url: str = ""
    events: tuple[str, ...] = ()
    active: bool = True


class CreateWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is created."""

    parent: str
    webhook_id: str
    webhook: WebhookGiven


class GetWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is got."""

    name: str


class ListWebhooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    parent: str
    page_size: int = 0
    page_token: str = ""


class UpdateWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is changed."""

    webhook: WebhookChange
    update_mask: tuple[str, ...] = ()


class DeleteWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is deleted."""

    name: str
    etag: str = ""


class ListDeliveries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    parent: str
    state: DeliveryState | None = None
    page_size: int = 0
    page_token: str = ""


class ReplayDelivery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sent anew."""

    name: str


class WebhookShown(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as callers see it."""

    name: str
    url: str
    events: tuple[str, ...]
    active: bool
    etag: str
    create_time: datetime


class WebhookCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook at the one moment when its secret is shown."""

    webhook: WebhookShown
    secret: str


class DeliveryShown(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as callers see it."""

    name: str
    event: str
    body_json: str
    state: DeliveryState
    attempt_count: int
    last_status: int | None
    last_error: str
    next_attempt_time: datetime | None
    create_time: datetime


class Nothing(msgspec.Struct, frozen=True):
    """An answer without content."""


def shown(org_name: str, webhook: Webhook) -> WebhookShown:
    """A webhook of an organisation, `orgs/{org}`."""
    return WebhookShown(
        name=f"{org_name}/webhooks/{webhook.slug}",
        url=webhook.url,
        events=webhook.events,
        active=webhook.active,
        etag=str(webhook.revision),
        create_time=webhook.create_time,
    )


def shown_delivery(parent: str, delivery: Delivery) -> DeliveryShown:
    """A delivery of a webhook, `orgs/{org}/webhooks/{webhook}`."""
    return DeliveryShown(
        name=f"{parent}/deliveries/{delivery.id}",
        event=delivery.event,
        body_json=delivery.body,
        state=delivery.state,
        attempt_count=delivery.attempt_count,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        next_attempt_time=delivery.next_attempt_time,
        create_time=delivery.create_time,
    )
