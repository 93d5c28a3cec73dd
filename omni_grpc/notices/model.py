"""The values of webhooks and their deliveries: frozen, without I/O."""

from typing import Final

EVENTS: Final = (
    "budget.warning",
    "budget.exhausted",
    "balance.low",
    "top_up.succeeded",
    "top_up.failed",
)
"""What a webhook can be told."""
