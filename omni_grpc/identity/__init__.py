"""Who is calling and what they may do: organisations, their API keys, principals.

It never moves money; an organisation's wallet is opened by the ledger's own SQL function.
"""

from omni_grpc.identity.identity import Identity
from omni_grpc.identity.model import (
    OPERATOR_SLUG,
    SCOPES_DEFAULT,
    ApiKey,
    ApiKeyPage,
    NewKey,
    Org,
    Permission,
    Principal,
    Role,
    Scope,
)
from omni_grpc.identity.names import (
    format_key_name,
    format_org_name,
    parse_key_name,
    parse_org_name,
)
from omni_grpc.identity.subject_store import Subjects

__all__ = [
    "OPERATOR_SLUG",
    "SCOPES_DEFAULT",
    "ApiKey",
    "ApiKeyPage",
    "Identity",
    "NewKey",
    "Org",
    "Permission",
    "Principal",
    "Role",
    "Scope",
    "Subjects",
    "format_key_name",
    "format_org_name",
    "parse_key_name",
    "parse_org_name",
]
