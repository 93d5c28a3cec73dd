"""Puts together how credits are bought, by what the operator set."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omni_grpc.billing import Ledger
from omni_grpc.core.clock import Clock
from omni_grpc.settings import Settings, SettingsError
from omni_grpc.storage import Database
from omni_grpc.topups import (
    AutoStore,
    CardDesk,
    Decisions,
    Method,
    PaymentMethod,
    TopUps,
    TopUpStore,
    WalletDesk,
)

if TYPE_CHECKING:
    from omni_grpc.topups.x402 import Terms, X402Method


@dataclass(frozen=True, slots=True)
class Buying:
    """What takes payments. `cards` is None where none are taken."""

    top_ups: TopUps
    decisions: Decisions
    automatic: AutoStore
    cards: CardDesk | None
    wallets: WalletDesk | None

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """What runs in each worker, for ever."""
        desks = (self.cards, self.wallets)
        return [self.top_ups.run(), *(desk.run() for desk in desks if desk is not None)]

    async def close(self) -> None:
        """Closes the connections to whoever takes payments."""
        for desk in (self.cards, self.wallets):
            if desk is not None:
                await desk.close()


def check_payments(settings: Settings) -> None:
    """Looks at what is set of payments, asking nobody.

    Raises:
        SettingsError: some of it cannot be; every fault.
    """
    faults: list[str] = []
    if (settings.stripe_api_key is None) != (settings.stripe_webhook_secret is None):
        faults.append(
            "OMNI_STRIPE_API_KEY and OMNI_STRIPE_WEBHOOK_SECRET go together: set both, or none"
        )
    if settings.x402_facilitator_url:
        try:
            terms_of(settings)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise SettingsError(faults)


def terms_of(settings: Settings) -> "Terms":
    """Who is paid over x402.

    Raises:
        ValueError: the wallet is none.
    """
    from omni_grpc.topups.x402 import Terms

    scheme = "http" if settings.tls_cert_file is None else "https"
    return Terms(
        network=settings.x402_network,
        pay_to=settings.x402_pay_to,
        public_url=settings.public_url or f"{scheme}://{settings.rest_addr}",
    )


def buying_of(settings: Settings, database: Database, ledger: Ledger, clock: Clock) -> Buying:
    """Top-ups by every method that is set up; none is a setting too.

    Raises:
        SettingsError: what is set cannot be.
    """
    check_payments(settings)
    automatic = AutoStore(database)
    methods: dict[Method, PaymentMethod] = {}
    stripe = None
    if settings.stripe_api_key is not None and settings.stripe_webhook_secret is not None:
        from omni_grpc.topups.stripe_cards import StripeCards  # 30 MB: only where it is used

        stripe = methods[Method.CARD] = StripeCards(
            api_key=settings.stripe_api_key.get_secret_value(),
            webhook_secret=settings.stripe_webhook_secret.get_secret_value(),
            api_base=settings.stripe_api_base,
            public_url=settings.public_url,
            cards=automatic,
            clock=clock,
        )
    x402 = x402_of(settings, clock)
    store = TopUpStore(database)
    top_ups = TopUps(
        store,
        ledger,
        clock,
        methods,
        amount_min=settings.topup_min_nanousd,
        amount_max=settings.topup_max_nanousd,
        signed=x402,
    )
    return Buying(
        top_ups=top_ups,
        decisions=Decisions(top_ups, store),
        automatic=automatic,
        cards=None if stripe is None else CardDesk(stripe, top_ups, automatic),
        wallets=None
        if x402 is None
        else WalletDesk(
            top_ups,
            x402,
            amount_min=settings.topup_min_nanousd,
            amount_max=settings.topup_max_nanousd,
        ),
    )


def x402_of(settings: Settings, clock: Clock) -> "X402Method | None":
    """Payments in USDC; None where no facilitator is set."""
    if not settings.x402_facilitator_url or settings.key_hash_secret is None:
        return None
    from omni_grpc.topups.x402 import (
        FacilitatorClient,
        JsonService,
        Quotes,
        SolanaNode,
        X402Method,
    )

    terms = terms_of(settings)
    service = JsonService()
    node = SolanaNode(service, settings.x402_rpc_url, terms) if settings.x402_rpc_url else None
    return X402Method(
        terms,
        FacilitatorClient(service, settings.x402_facilitator_url),
        clock,
        Quotes(settings.key_hash_secret.get_secret_value().encode()),
        node=node,
    )
