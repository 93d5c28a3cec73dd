"""The one place that puts the operations together: a worker serves them, commands run them."""

from dataclasses import dataclass

from omni_grpc.administration import Access, AuditOperations, Operations
from omni_grpc.audit import AuditLog, AuditStore
from omni_grpc.billing import Ledger
from omni_grpc.completion import PageTokens
from omni_grpc.core.clock import Clock
from omni_grpc.identity import Identity, Subjects
from omni_grpc.settings import Settings
from omni_grpc.storage import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What operations are made of, in a worker and in a command alike."""

    settings: Settings
    database: Database
    identity: Identity
    ledger: Ledger
    clock: Clock
    tokens: PageTokens


def operations_of(parts: Parts) -> Operations:
    """All that is done to organisations."""
    access = Access(parts.identity, Subjects(parts.database))
    return Operations(AuditOperations(AuditLog(AuditStore(parts.database)), access, parts.tokens))
