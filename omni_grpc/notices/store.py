"""The SQL of webhooks, of what they are told, and of its telling (migrations/0018_webhooks.sql).

`enqueue` is called in the transaction in which something happens. A change takes a `record`, which
is called last in its transaction, with the webhook before and after: the audit log's entry.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec
from psycopg.errors import UniqueViolation
from psycopg.rows import kwargs_row, scalar_row

from omni_grpc.core.errors import AlreadyExists, EtagMismatch, FieldInvalid, NotFound, TooMany
from omni_grpc.core.ids import OrgId
from omni_grpc.notices.model import EVENTS, WEBHOOKS_MAX, Delivery, DeliveryState, Webhook
from omni_grpc.storage import Connection, Database

Record: TypeAlias = Callable[[Connection, Webhook | None, Webhook | None], Awaitable[None]]
RecordReplay: TypeAlias = Callable[[Connection, Delivery, Delivery], Awaitable[None]]

_ENQUEUE: Final = "SELECT webhook_enqueue(%s, %s, %s)"

_COLUMNS: Final = "id, org_id, slug, url, events, active, revision, create_time"

_LOCK_ORG: Final = "SELECT FROM org WHERE id = %s FOR NO KEY UPDATE"
_COUNT: Final = "SELECT count(*) FROM webhook WHERE org_id = %s"
_INSERT: Final = f"""
INSERT INTO webhook (org_id, slug, url, events, active, sealed_secret)
VALUES (%(org_id)s, %(slug)s, %(url)s, %(events)s, %(active)s, %(sealed_secret)s)
RETURNING {_COLUMNS}
"""  # noqa: S608 - the columns are ours, here and below
_FIND: Final = f"SELECT {_COLUMNS} FROM webhook WHERE org_id = %s AND slug = %s"  # noqa: S608
_FIND_LOCKED: Final = f"{_FIND} FOR NO KEY UPDATE"
_LIST: Final = f"""
SELECT {_COLUMNS} FROM webhook WHERE org_id = %s AND slug > %s ORDER BY slug LIMIT %s
"""  # noqa: S608
_UPDATE: Final = f"""
UPDATE webhook SET url = %(url)s, events = %(events)s, active = %(active)s, revision = revision + 1
WHERE id = %(id)s RETURNING {_COLUMNS}
"""  # noqa: S608
_DELETE: Final = "DELETE FROM webhook WHERE id = %s"
GIVE_UP: Final = """
UPDATE webhook_delivery
SET state = 'X', next_attempt_time = NULL, last_error = 'The webhook was turned off.'
WHERE webhook_id = %s AND state = 'P'
"""

_DELIVERY_COLUMNS: Final = """
id, event, body, state, attempt_count, last_status, last_error, next_attempt_time, create_time
"""
_DELIVERIES: Final = f"""
SELECT {_DELIVERY_COLUMNS} FROM webhook_delivery
WHERE webhook_id = %(webhook_id)s AND id < %(before)s
  AND (%(state)s::text IS NULL OR state = %(state)s::"char")
ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608
_FIND_DELIVERY: Final = f"""
SELECT {_DELIVERY_COLUMNS} FROM webhook_delivery WHERE webhook_id = %s AND id = %s FOR UPDATE
"""  # noqa: S608
_REPLAY: Final = f"""
UPDATE webhook_delivery
SET state = 'P', attempt_count = 0, next_attempt_time = clock_timestamp()
WHERE id = %s RETURNING {_DELIVERY_COLUMNS}
"""  # noqa: S608

_CODES: Final = {
    DeliveryState.PENDING: "P",
    DeliveryState.DELIVERED: "D",
    DeliveryState.DEAD: "X",
}
_STATES: Final = {code: state for state, code in _CODES.items()}
_LAST_ID: Final = UUID(int=2**128 - 1)


async def enqueue(connection: Connection, org_id: OrgId, event: str, body: msgspec.Struct) -> None:
    """Tells an organisation's webhooks what happened, in the connection's transaction.

    Each active webhook that wants the event gets a delivery, which is sent after the commit.

    Args:
        connection: that of the transaction in which it happens.
        org_id: whose webhooks.
        event: one of EVENTS.
        body: what is known of it, without secrets: the `data` of what is sent.

    Raises:
        ValueError: there is no such event, which is a mistake of ours.
    """
    if event not in EVENTS:
        raise ValueError(f"{event} is no event that webhooks know")
    await connection.execute(_ENQUEUE, (org_id, event, msgspec.json.encode(body).decode()))


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook to be written."""

    org_id: OrgId
    slug: str
    url: str
    events: tuple[str, ...]
    active: bool
    sealed_secret: bytes


class WebhookStore:
    """Webhooks and their deliveries. Every method raises LedgerUnavailable without a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, new: NewWebhook, record: Record) -> Webhook:
        """Makes a webhook.

        Raises:
            AlreadyExists: there is one of this name.
            TooMany: the organisation has as many as it can.
        """

        async def work(connection: Connection) -> Webhook:
            await connection.execute(_LOCK_ORG, (new.org_id,))
            count = connection.cursor(row_factory=scalar_row)
            if (await (await count.execute(_COUNT, (new.org_id,))).fetchone() or 0) >= WEBHOOKS_MAX:
                raise TooMany(
                    f"The organisation has {WEBHOOKS_MAX} webhooks, which is the most it can "
                    "have. Delete one first.",
                    field="parent",
                    metadata={"limit": str(WEBHOOKS_MAX)},
                )
            values = msgspec.structs.asdict(new) | {"events": list(new.events)}
            made = await _one(connection, _INSERT, values)
            await record(connection, None, made)
            return made

        try:
            return await self._database.transaction(work)
        except UniqueViolation:
            raise AlreadyExists(
                f"There is a webhook `{new.slug}` already. Update it, or choose another id.",
                field="webhook_id",
            ) from None

    async def find(self, org_id: OrgId, slug: str) -> Webhook | None:
        """A webhook; None if there is none."""
        return await self._database.fetch_one(_FIND, (org_id, slug), row=kwargs_row(read_webhook))

    async def list_after(self, org_id: OrgId, slug: str, limit: int) -> list[Webhook]:
        """Webhooks whose ids come after `slug`, in the order of their ids."""
        return await self._database.fetch_all(
            _LIST, (org_id, slug, limit), row=kwargs_row(read_webhook)
        )

    async def update(
        self,
        org_id: OrgId,
        slug: str,
        etag: str,
        change: Callable[[Webhook], Webhook],
        record: Record,
    ) -> Webhook:
        """Changes a webhook. One that is turned off gives up what it was not told yet.

        Args:
            org_id: whose.
            slug: its id.
            etag: what it must be now; anything if empty.
            change: from what it is now.
            record: called with both.

        Raises:
            NotFound: there is none.
            EtagMismatch: it was changed meanwhile.
        """

        async def work(connection: Connection) -> Webhook:
            old = await _locked(connection, org_id, slug, etag)
            asked = change(old)
            new = await _one(
                connection,
                _UPDATE,
                {
                    "id": old.id,
                    "url": asked.url,
                    "events": list(asked.events),
                    "active": asked.active,
                },
            )
            if not new.active:
                await connection.execute(GIVE_UP, (new.id,))
            await record(connection, old, new)
            return new

        return await self._database.transaction(work)

    async def delete(self, org_id: OrgId, slug: str, etag: str, record: Record) -> None:
        """Deletes a webhook; its deliveries go soon after.

        Raises:
            NotFound: there is none.
            EtagMismatch: it was changed meanwhile.
        """

        async def work(connection: Connection) -> None:
            old = await _locked(connection, org_id, slug, etag)
            await connection.execute(_DELETE, (old.id,))
            await record(connection, old, None)

        await self._database.transaction(work)

    async def deliveries(
        self, webhook: Webhook, state: DeliveryState | None, before: UUID | None, limit: int
    ) -> list[Delivery]:
        """A webhook's deliveries older than `before`, newest first."""
        return await self._database.fetch_all(
            _DELIVERIES,
            {
                "webhook_id": webhook.id,
                "before": before or _LAST_ID,
                "state": None if state is None else _CODES[state],
                "limit": limit,
            },
            row=kwargs_row(_delivery),
        )

    async def replay(self, webhook: Webhook, delivery_id: UUID, record: RecordReplay) -> Delivery:
        """Has a delivery sent anew, as if it had never been.

        Raises:
            NotFound: there is none.
            FieldInvalid: the webhook is turned off.
        """
        if not webhook.active:
            raise FieldInvalid(
                "The webhook is turned off, so nothing is sent to it. Turn it on first.",
                field="name",
            )

        async def work(connection: Connection) -> Delivery:
            cursor = connection.cursor(row_factory=kwargs_row(_delivery))
            old = await (await cursor.execute(_FIND_DELIVERY, (webhook.id, delivery_id))).fetchone()
            new = await (await cursor.execute(_REPLAY, (delivery_id,))).fetchone() if old else None
            if old is None or new is None:
                raise NotFound(f"There is no delivery `{delivery_id}`, not any more.", field="name")
            await record(connection, old, new)
            return new

        return await self._database.transaction(work)


async def _one(connection: Connection, statement: Any, values: dict[str, Any]) -> Webhook:
    cursor = connection.cursor(row_factory=kwargs_row(read_webhook))
    found = await (await cursor.execute(statement, values)).fetchone()
    if found is None:
        raise TypeError("the database returned no row for what it wrote")
    return found


async def _locked(connection: Connection, org_id: OrgId, slug: str, etag: str) -> Webhook:
    cursor = connection.cursor(row_factory=kwargs_row(read_webhook))
    found = await (await cursor.execute(_FIND_LOCKED, (org_id, slug))).fetchone()
    if found is None:
        raise NotFound(f"There is no webhook `{slug}`.", field="name")
    if etag and etag != str(found.revision):
        raise EtagMismatch(
            "The webhook was changed after this etag was read. Read it again, then change it.",
            field="etag",
        )
    return found


def read_webhook(*, events: list[str], **columns: Any) -> Webhook:  # as the table has them
    """A row of the table."""
    return Webhook(events=tuple(events), **columns)


def _delivery(*, state: str | bytes, **columns: Any) -> Delivery:  # likewise
    code = state.decode() if isinstance(state, bytes) else state
    return Delivery(state=_STATES[code], **columns)
