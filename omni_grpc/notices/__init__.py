"""What happens, told to webhooks: signed, sent again, given up.

Whoever makes something happen calls `enqueue` in the same transaction: both are there, or neither.
"""

from omni_grpc.notices.addresses import check_url
from omni_grpc.notices.low_balance_store import LowBalanceWatch
from omni_grpc.notices.model import EVENTS, Delivery, DeliveryState, Webhook, secret_row
from omni_grpc.notices.outbox_store import OutboxStore
from omni_grpc.notices.post import Poster
from omni_grpc.notices.sender import Sender
from omni_grpc.notices.signing import SEAL_PURPOSE, new_secret
from omni_grpc.notices.store import NewWebhook, Record, WebhookStore, enqueue

__all__ = [
    "EVENTS",
    "SEAL_PURPOSE",
    "Delivery",
    "DeliveryState",
    "LowBalanceWatch",
    "NewWebhook",
    "OutboxStore",
    "Poster",
    "Record",
    "Sender",
    "Webhook",
    "WebhookStore",
    "check_url",
    "enqueue",
    "new_secret",
    "secret_row",
]
