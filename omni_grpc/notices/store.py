"""The SQL of webhooks and their outbox (migrations/0018_webhooks.sql)."""

from typing import Final

import msgspec

from omni_grpc.core.ids import OrgId
from omni_grpc.notices.model import EVENTS
from omni_grpc.storage import Connection

_ENQUEUE: Final = "SELECT webhook_enqueue(%s, %s, %s)"


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
