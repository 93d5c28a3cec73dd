"""The audit log: who did what, from where, to which resource. It is only ever added to.

Each entry carries the hash of the one before it, so that a change, a gap or an insertion shows.
"""

from omni_grpc.audit.export import export_line, read_export
from omni_grpc.audit.log import AuditLog
from omni_grpc.audit.model import Actor, AuditEntry, AuditFilter, Change, Verdict
from omni_grpc.audit.store import AuditStore, append, log_of

__all__ = [
    "Actor",
    "AuditEntry",
    "AuditFilter",
    "AuditLog",
    "AuditStore",
    "Change",
    "Verdict",
    "append",
    "export_line",
    "log_of",
    "read_export",
]
