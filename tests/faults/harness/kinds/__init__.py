"""Every kind of faults; importing this registers them."""

from harness.kinds import (
    billing,
    database,
    journals,
    ledger,
    payments,
    providers,
    servers,
    upgrades,
)
from harness.registry import KINDS

__all__ = [
    "KINDS",
    "billing",
    "database",
    "journals",
    "ledger",
    "payments",
    "providers",
    "servers",
    "upgrades",
]
