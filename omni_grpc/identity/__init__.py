"""Who is calling and what they may do: organisations, their parts, keys and users, principals.

It never moves money; an organisation's wallet is opened by the ledger's own SQL function.
"""

from omni_grpc.identity.addresses import AddressLimits, TrustedProxies
from omni_grpc.identity.api_keys import ApiKey, KeyGrant, NewKey, check_models
from omni_grpc.identity.callers import Callers
from omni_grpc.identity.identity import Identity
from omni_grpc.identity.model import (
    SCOPES_DEFAULT,
    Permission,
    Principal,
    Role,
    Scope,
    parse_scopes,
)
from omni_grpc.identity.names import check_display_name
from omni_grpc.identity.orgs import OPERATOR_SLUG, Org, OrgShown
from omni_grpc.identity.places import OrgPath, Place
from omni_grpc.identity.presented import Presented
from omni_grpc.identity.sessions import Sessions
from omni_grpc.identity.subject_store import Subjects
from omni_grpc.identity.users import User

__all__ = [
    "OPERATOR_SLUG",
    "SCOPES_DEFAULT",
    "AddressLimits",
    "ApiKey",
    "Callers",
    "Identity",
    "KeyGrant",
    "NewKey",
    "Org",
    "OrgPath",
    "OrgShown",
    "Permission",
    "Place",
    "Presented",
    "Principal",
    "Role",
    "Scope",
    "Sessions",
    "Subjects",
    "TrustedProxies",
    "User",
    "check_display_name",
    "check_models",
    "parse_scopes",
]
