"""Every kind of faults; importing this registers them."""

from harness.kinds import database, servers
from harness.registry import KINDS

__all__ = ["KINDS", "database", "servers"]
