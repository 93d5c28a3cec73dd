"""What happens, told to webhooks: signed, sent again, given up.

Whoever makes something happen calls `enqueue` in the same transaction: both are there, or neither.
"""

from omni_grpc.notices.model import EVENTS
from omni_grpc.notices.store import enqueue

__all__ = ["EVENTS", "enqueue"]
