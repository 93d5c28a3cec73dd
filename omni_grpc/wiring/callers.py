"""The one place that puts together how callers are recognised: keys, tokens, wallets, addresses."""

from typing import TYPE_CHECKING

from omni_grpc.billing import Ledger
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import AlreadyExists, RequestIdReused
from omni_grpc.core.payments import Payment
from omni_grpc.identity import AddressLimits, Callers, Identity, Org, Role, TrustedProxies
from omni_grpc.identity.user_principal_store import UserPrincipalStore
from omni_grpc.identity.wallet_store import NonceStore
from omni_grpc.settings import Settings
from omni_grpc.storage import Database

if TYPE_CHECKING:
    from omni_grpc.identity.wallets import Gift


def callers_of(
    settings: Settings, database: Database, identity: Identity, ledger: Ledger, clock: Clock
) -> Callers:
    """What finds out who calls, as the operator set it."""
    users = UserPrincipalStore(database)
    tokens = None
    if settings.oidc_issuer:
        from omni_grpc.identity.jwks import IssuerKeys  # late, as below: most set neither
        from omni_grpc.identity.oidc import OidcSettings, OidcSignIn

        chosen = OidcSettings(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            org_claim=settings.oidc_org_claim,
            role_claim=settings.oidc_role_claim,
            roles=tuple((value, Role(role)) for value, role in settings.oidc_roles.items()),
        )
        keys = IssuerKeys(settings.oidc_issuer, settings.oidc_jwks_url, clock)
        tokens = OidcSignIn(chosen, keys, users, clock)
    wallets = None
    if settings.wallet_sign_in or settings.wallet_headers:
        from omni_grpc.identity.wallets import WalletSignIn

        wallets = WalletSignIn(
            users,
            identity.orgs,
            NonceStore(database),
            clock,
            domain=settings.sign_in_domain,
            texts=settings.wallet_sign_in,
            headers=settings.wallet_headers,
            gift=(
                sign_up_gift(ledger, settings.sign_up_nanousd) if settings.sign_up_nanousd else None
            ),
        )
    limits = None
    if settings.address_failures_per_minute or settings.address_requests_per_minute:
        limits = AddressLimits(
            failures_per_minute=settings.address_failures_per_minute,
            requests_per_minute=settings.address_requests_per_minute,
            clock=clock,
        )
    proxies = TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None
    return Callers(identity, tokens=tokens, wallets=wallets, proxies=proxies, limits=limits)


def sign_up_gift(ledger: Ledger, amount_nanousd: int) -> "Gift":
    """What gives a wallet's new organisation its first credits, in nano-USD."""

    async def give(org: Org, wallet: str) -> None:
        """Once for a wallet, for ever, whatever the amount was set to when."""
        try:
            await ledger.grant(
                account_id=org.account_id,
                org_id=org.org_id,
                amount=amount_nanousd,
                reason="sign-up",
                request_id="omni/sign-up",
                payment=Payment("omni:sign-up", wallet),
            )
        except (AlreadyExists, RequestIdReused):  # given before, when another amount was set
            return

    return give
