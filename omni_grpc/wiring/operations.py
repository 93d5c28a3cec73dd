"""The one place that puts the operations together: a worker serves them, commands run them."""

from dataclasses import dataclass

from omni_grpc.administration import (
    Access,
    ApiKeyOperations,
    AuditOperations,
    AutoTopUpOperations,
    BudgetOperations,
    EnvironmentOperations,
    Operations,
    OrgOperations,
    ProviderCredentialOperations,
    RateLimitOperations,
    SessionOperations,
    StatementOperations,
    TeamOperations,
    TopUpDecisionOperations,
    TopUpOperations,
    UserOperations,
    WebhookOperations,
)
from omni_grpc.audit import AuditLog, AuditStore
from omni_grpc.billing import Ledger
from omni_grpc.billing.budgets import BudgetStore
from omni_grpc.billing.statements import Statements, StatementStore
from omni_grpc.completion import Accounts, PageTokens
from omni_grpc.core.clock import Clock
from omni_grpc.identity import Identity, Subjects
from omni_grpc.limits import RateLimitStore
from omni_grpc.notices import SEAL_PURPOSE as WEBHOOK_SEAL_PURPOSE
from omni_grpc.notices import WebhookStore
from omni_grpc.settings import Settings
from omni_grpc.storage import Database, Sealer
from omni_grpc.vault import Vault
from omni_grpc.wiring.buying import Buying
from omni_grpc.wiring.credentials import master_keys_of, own_forms_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What operations are made of, in a worker and in a command alike."""

    settings: Settings
    database: Database
    identity: Identity
    ledger: Ledger
    clock: Clock
    tokens: PageTokens
    buying: Buying


def operations_of(parts: Parts) -> Operations:
    """All that is done to organisations."""
    access = Access(parts.identity, Subjects(parts.database))
    accounts = Accounts(parts.identity, parts.ledger)
    buying = parts.buying
    tenants = (parts.identity, access, parts.tokens)
    return Operations(
        OrgOperations(*tenants),
        TeamOperations(*tenants),
        EnvironmentOperations(*tenants),
        UserOperations(*tenants),
        ApiKeyOperations(*tenants),
        TopUpOperations(buying.top_ups, accounts, parts.identity, parts.tokens),
        TopUpDecisionOperations(buying.decisions, accounts, parts.tokens),
        AutoTopUpOperations(buying.automatic, buying.top_ups, accounts, parts.identity),
        AuditOperations(AuditLog(AuditStore(parts.database)), access, parts.tokens),
        ProviderCredentialOperations(
            Vault(parts.database, master_keys_of(parts.settings), parts.clock),
            own_forms_of(parts.settings),
            access,
            parts.tokens,
            fee_ppm=parts.settings.credential_fee_ppm,
        ),
        BudgetOperations(BudgetStore(parts.database), access, parts.tokens),
        RateLimitOperations(RateLimitStore(parts.database), access, parts.tokens),
        SessionOperations(parts.identity.sessions),
        StatementOperations(
            Statements(StatementStore(parts.database)),
            accounts,
            buying.top_ups,
            parts.identity,
            seller=parts.settings.public_url,
        ),
        WebhookOperations(
            WebhookStore(parts.database),
            webhook_sealer(parts.settings),
            access,
            parts.tokens,
            private_hosts=parts.settings.webhook_private_hosts,
        ),
    )


def webhook_sealer(settings: Settings) -> Sealer:
    """What webhooks' secrets are sealed with.

    Raises:
        ValueError: the settings have no `key_hash_secret`.
    """
    if settings.key_hash_secret is None:
        raise ValueError("secrets are sealed with a key_hash_secret")
    return Sealer(settings.key_hash_secret.get_secret_value().encode(), WEBHOOK_SEAL_PURPOSE)
