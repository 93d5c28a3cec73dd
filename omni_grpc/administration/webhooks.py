"""Webhooks over the API: who is told what happens, and how the telling stands."""

import re
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

import msgspec

from omni_grpc.administration.access import ORG, Access
from omni_grpc.administration.operation import Caller, Operation, Page, writable
from omni_grpc.administration.webhook_forms import (
    CreateWebhook,
    DeleteWebhook,
    DeliveryShown,
    GetWebhook,
    ListDeliveries,
    ListWebhooks,
    Nothing,
    ReplayDelivery,
    UpdateWebhook,
    WebhookCreated,
    WebhookShown,
    shown,
    shown_delivery,
)
from omni_grpc.audit import Actor, Change, append
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.missing import missing
from omni_grpc.identity import Org, Permission
from omni_grpc.notices import (
    EVENTS,
    Delivery,
    NewWebhook,
    Record,
    Webhook,
    WebhookStore,
    check_url,
    new_secret,
    secret_row,
)
from omni_grpc.storage import Connection, Sealer

_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,62}", re.ASCII)
_NAME: Final = re.compile(
    r"orgs/(?P<org>[^/]{1,64})/webhooks/(?P<webhook>[^/]{1,64})"
    r"(?:/deliveries/(?P<delivery>[0-9a-f-]{36}))?",
    re.ASCII,
)
_SENDER: Final = Actor(name="omni-grpc webhooks")
"""Who turns a webhook off that answers 410 Gone."""


class WebhookOperations:
    """The operations of webhooks.

    Args:
        store: where they stand.
        sealer: seals their secrets.
        access: who reaches which.
        tokens: of lists.
        private_hosts: whether they may lead to private addresses.
    """

    def __init__(
        self,
        store: WebhookStore,
        sealer: Sealer,
        access: Access,
        tokens: PageTokens,
        *,
        private_hosts: bool,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._access = access
        self._tokens = tokens
        self._private_hosts = private_hosts

    def __iter__(self) -> Iterator[Operation[Any]]:
        one = f"{ORG}/webhooks/*"
        yield Operation(
            rpc="CreateWebhook",
            http=f"POST /v1/admin/{{parent={ORG}}}/webhooks",
            permission=Permission.MANAGE,
            asked=CreateWebhook,
            run=self.create,
        )
        yield Operation(
            rpc="GetWebhook",
            http=f"GET /v1/admin/{{name={one}}}",
            permission=Permission.SEE,
            asked=GetWebhook,
            run=self.get,
            result="webhook",
        )
        yield Operation(
            rpc="ListWebhooks",
            http=f"GET /v1/admin/{{parent={ORG}}}/webhooks",
            permission=Permission.SEE,
            asked=ListWebhooks,
            run=self.list_webhooks,
            result="webhooks",
        )
        yield Operation(
            rpc="UpdateWebhook",
            http=f"PATCH /v1/admin/{{webhook.name={one}}}",
            permission=Permission.MANAGE,
            asked=UpdateWebhook,
            run=self.update,
            result="webhook",
            body="webhook",
        )
        yield Operation(
            rpc="DeleteWebhook",
            http=f"DELETE /v1/admin/{{name={one}}}",
            permission=Permission.MANAGE,
            asked=DeleteWebhook,
            run=self.delete,
        )
        yield Operation(
            rpc="ListWebhookDeliveries",
            http=f"GET /v1/admin/{{parent={one}}}/deliveries",
            permission=Permission.SEE,
            asked=ListDeliveries,
            run=self.list_deliveries,
            result="deliveries",
        )
        yield Operation(
            rpc="ReplayWebhookDelivery",
            http=f"POST /v1/admin/{{name={one}/deliveries/*}}:replay",
            permission=Permission.MANAGE,
            asked=ReplayDelivery,
            run=self.replay,
            result="delivery",
        )

    async def create(self, caller: Caller, asked: CreateWebhook) -> WebhookCreated:
        """Makes a webhook with a new secret."""
        org = await self._access.named_org(caller, asked.parent, field="parent")
        slug = asked.webhook_id
        if _ID.fullmatch(slug) is None:
            raise FieldInvalid(
                "`webhook_id` must be a small letter and 1 to 62 more of small letters, digits "
                "and hyphens.",
                field="webhook_id",
            )
        secret = new_secret()
        new = NewWebhook(
            org_id=org.org_id,
            slug=slug,
            url=self._url(asked.webhook.url),
            events=_events(asked.webhook.events),
            active=asked.webhook.active,
            sealed_secret=self._sealer.seal(secret.encode(), secret_row(org.org_id, slug)),
        )
        made = await self._store.insert(new, _record(caller.actor, org.name, "CreateWebhook"))
        return WebhookCreated(webhook=shown(org.name, made), secret=secret)

    async def get(self, caller: Caller, asked: GetWebhook) -> WebhookShown:
        """A webhook."""
        org, webhook = await self._found(caller, asked.name, field="name")
        return shown(org.name, webhook)

    async def list_webhooks(self, caller: Caller, asked: ListWebhooks) -> Page[WebhookShown]:
        """A page of an organisation's webhooks."""
        org = await self._access.named_org(caller, asked.parent, field="parent")
        size = page_size(asked.page_size)
        query = ("webhooks", asked.parent)
        after = self._tokens.open_text(query, asked.page_token) or ""
        found = await self._store.list_after(org.org_id, after, size + 1)
        token = self._tokens.seal(query, found[size - 1].slug) if len(found) > size else ""
        return Page(tuple(shown(org.name, one) for one in found[:size]), token)

    async def update(self, caller: Caller, asked: UpdateWebhook) -> WebhookShown:
        """Changes a webhook; its secret stays."""
        values = writable(asked.webhook, asked.update_mask, "webhook")
        if "url" in values:
            self._url(asked.webhook.url)
        if "events" in values:
            values["events"] = _events(asked.webhook.events)
        org, webhook = await self._found(caller, asked.webhook.name, field="webhook.name")
        changed = await self._store.update(
            org.org_id,
            webhook.slug,
            asked.webhook.etag,
            lambda old: msgspec.structs.replace(old, **values),
            _record(caller.actor, org.name, "UpdateWebhook"),
        )
        return shown(org.name, changed)

    async def delete(self, caller: Caller, asked: DeleteWebhook) -> Nothing:
        """Deletes a webhook with what was not delivered yet."""
        org, webhook = await self._found(caller, asked.name, field="name")
        await self._store.delete(
            org.org_id,
            webhook.slug,
            asked.etag,
            _record(caller.actor, org.name, "DeleteWebhook"),
        )
        return Nothing()

    async def list_deliveries(self, caller: Caller, asked: ListDeliveries) -> Page[DeliveryShown]:
        """A page of a webhook's deliveries, newest first."""
        _, webhook = await self._found(caller, asked.parent, field="parent")
        size = page_size(asked.page_size)
        query = ("webhook_deliveries", asked.parent, asked.state or "")
        before = self._tokens.open_text(query, asked.page_token)
        found = await self._store.deliveries(
            webhook, asked.state, UUID(before) if before else None, size + 1
        )
        token = self._tokens.seal(query, str(found[size - 1].id)) if len(found) > size else ""
        return Page(tuple(shown_delivery(asked.parent, one) for one in found[:size]), token)

    async def replay(self, caller: Caller, asked: ReplayDelivery) -> DeliveryShown:
        """Sends a delivery anew."""
        match = _NAME.fullmatch(asked.name)
        if match is None or match["delivery"] is None:
            raise FieldInvalid(
                "`name` must have the form `orgs/{org}/webhooks/{webhook}/deliveries/{delivery}`.",
                field="name",
            )
        parent = asked.name.rpartition("/deliveries/")[0]
        org, webhook = await self._found(caller, parent, field="name")
        try:
            delivery_id = UUID(match["delivery"])
        except ValueError:
            raise missing(asked.name, "name") from None

        async def record(connection: Connection, old: Delivery, new: Delivery) -> None:
            change = Change(
                org_id=org.org_id,
                action="ReplayWebhookDelivery",
                resource=asked.name,
                old=shown_delivery(parent, old),
                new=shown_delivery(parent, new),
            )
            await append(connection, caller.actor, change)

        return shown_delivery(parent, await self._store.replay(webhook, delivery_id, record))

    async def _found(self, caller: Caller, name: str, *, field: str) -> tuple[Org, Webhook]:
        match = _NAME.fullmatch(name)
        if match is None or match["delivery"] is not None:
            raise FieldInvalid(
                f"`{field}` must have the form `orgs/{{org}}/webhooks/{{webhook}}`.", field=field
            )
        org = await self._access.org(caller, match["org"], field=field)
        webhook = await self._store.find(org.org_id, match["webhook"])
        if webhook is None:
            raise missing(name, field)
        return org, webhook

    def _url(self, url: str) -> str:
        return check_url(url, private_hosts=self._private_hosts, field="webhook.url")


def turned_off(org_name: str) -> Record:
    """What writes into the audit log that a webhook was turned off because it answered 410."""
    return _record(_SENDER, org_name, "UpdateWebhook")


def _record(actor: Actor, org_name: str, action: str) -> Record:
    async def record(connection: Connection, old: Webhook | None, new: Webhook | None) -> None:
        known = old or new
        if known is None:
            raise ValueError("a change has one side at least")
        change = Change(
            org_id=known.org_id,
            action=action,
            resource=f"{org_name}/webhooks/{known.slug}",
            old=None if old is None else shown(org_name, old),
            new=None if new is None else shown(org_name, new),
        )
        await append(connection, actor, change)

    return record


def _events(events: tuple[str, ...]) -> tuple[str, ...]:
    for event in events:
        if event not in EVENTS:
            raise FieldInvalid(
                f"There is no event {event[:64]!r}; there are {', '.join(EVENTS)}.",
                field="webhook.events",
            )
    return tuple(dict.fromkeys(events))
