"""What people and their programs change about organisations: one use case an RPC and a route.

Each use case is an `Operation`: what it asks of its caller, what it takes, what it does. Both
transports serve the same table and know nothing else of it.
"""

from omni_grpc.administration.access import Access, Subject, SubjectKind
from omni_grpc.administration.audit_log import AuditOperations
from omni_grpc.administration.auto_top_ups import AutoTopUpOperations
from omni_grpc.administration.operation import (
    Caller,
    Operation,
    Page,
    field_invalid,
    writable,
)
from omni_grpc.administration.operations import Operations
from omni_grpc.administration.rate_limits import RateLimitOperations
from omni_grpc.administration.top_ups import TopUpOperations
from omni_grpc.administration.webhooks import WebhookOperations, turned_off

__all__ = [
    "Access",
    "AuditOperations",
    "AutoTopUpOperations",
    "Caller",
    "Operation",
    "Operations",
    "Page",
    "RateLimitOperations",
    "Subject",
    "SubjectKind",
    "TopUpOperations",
    "WebhookOperations",
    "field_invalid",
    "turned_off",
    "writable",
]
