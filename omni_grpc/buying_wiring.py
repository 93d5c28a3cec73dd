"""Puts together how credits are bought, by what the operator set."""

from dataclasses import dataclass

from omni_grpc.billing import Ledger
from omni_grpc.core.clock import Clock
from omni_grpc.settings import Settings
from omni_grpc.storage import Database
from omni_grpc.topups import AutoStore, CardDesk, Method, PaymentMethod, TopUps, TopUpStore


@dataclass(frozen=True, slots=True)
class Buying:
    """What takes payments. `cards` is None where none are taken."""

    top_ups: TopUps
    automatic: AutoStore
    cards: CardDesk | None


def buying_of(settings: Settings, database: Database, ledger: Ledger, clock: Clock) -> Buying:
    """Top-ups by every method that is set up; none is a setting too."""
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
    top_ups = TopUps(
        TopUpStore(database),
        ledger,
        clock,
        methods,
        amount_min=settings.topup_min_nanousd,
        amount_max=settings.topup_max_nanousd,
    )
    return Buying(
        top_ups=top_ups,
        automatic=automatic,
        cards=None if stripe is None else CardDesk(stripe, top_ups, automatic),
    )
