"""What people and their programs change about organisations: one use case an RPC and a route.

Each use case is an `Operation`: what it asks of its caller, what it takes, what it does. Both
transports serve the same table and know nothing else of it.
"""

from omni_grpc.administration.access import Access, Subject, SubjectKind
from omni_grpc.administration.api_keys import ApiKeyOperations
from omni_grpc.administration.audit_log import AuditOperations
from omni_grpc.administration.auto_top_ups import AutoTopUpOperations
from omni_grpc.administration.budgets import BudgetOperations
from omni_grpc.administration.catalog_audit import alias_audit, model_audit, sync_audit
from omni_grpc.administration.environments import EnvironmentOperations
from omni_grpc.administration.money_audit import MoneyAudit
from omni_grpc.administration.operation import (
    Caller,
    Operation,
    Page,
    check_text,
    field_invalid,
    writable,
)
from omni_grpc.administration.operations import Operations
from omni_grpc.administration.orgs import OrgOperations
from omni_grpc.administration.provider_credentials import ProviderCredentialOperations
from omni_grpc.administration.rate_limits import RateLimitOperations
from omni_grpc.administration.sessions import SessionOperations
from omni_grpc.administration.statements import StatementOperations
from omni_grpc.administration.teams import TeamOperations
from omni_grpc.administration.top_up_decisions import TopUpDecisionOperations
from omni_grpc.administration.top_ups import TopUpOperations
from omni_grpc.administration.turns import Turns
from omni_grpc.administration.users import UserOperations
from omni_grpc.administration.webhooks import WebhookOperations, turned_off

__all__ = [
    "Access",
    "ApiKeyOperations",
    "AuditOperations",
    "AutoTopUpOperations",
    "BudgetOperations",
    "Caller",
    "EnvironmentOperations",
    "MoneyAudit",
    "Operation",
    "Operations",
    "OrgOperations",
    "Page",
    "ProviderCredentialOperations",
    "RateLimitOperations",
    "SessionOperations",
    "StatementOperations",
    "Subject",
    "SubjectKind",
    "TeamOperations",
    "TopUpDecisionOperations",
    "TopUpOperations",
    "Turns",
    "UserOperations",
    "WebhookOperations",
    "alias_audit",
    "check_text",
    "field_invalid",
    "model_audit",
    "sync_audit",
    "turned_off",
    "writable",
]
