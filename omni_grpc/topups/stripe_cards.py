"""Cards, over Stripe Checkout and saved cards.

What Stripe sends is taken as a hint alone: its signature is checked, and then Stripe is asked what
is true. So an event may come early, late, twice, out of order or never, and nothing is booked
twice: a payment goes by its intent, a refund and a dispute by their own names.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import stripe
import structlog

from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import (
    FieldInvalid,
    NotFound,
    ProviderUnavailable,
)
from omni_grpc.core.ids import OrgId
from omni_grpc.core.payments import Payment
from omni_grpc.topups.auto_store import AutoStore
from omni_grpc.topups.model import (
    Fate,
    News,
    Nudge,
    Opened,
    Paid,
    Refused,
    Reinstatement,
    Reversal,
    TopUp,
    Unknown,
    Unpaid,
)

NANOUSD_OF_CENT: Final = 10_000_000

ASK_SECONDS_MAX: Final = 20.0
"""How long one question to Stripe may take: it answers in under a second when it is well."""

SIGNATURE_SECONDS_MAX: Final = 300
"""How old a signed event may be: Stripe's own recommendation against replays."""

EVENT_TYPES: Final = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
"""What to subscribe a webhook to; docs/top-ups.md lists them."""

CATCH_UP_BACK_SECONDS: Final = 3 * 24 * 3_600
"""How far back it asks: as long as Stripe goes on sending an event."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class StripeCards:
    """Payments by card. For one event loop.

    Args:
        api_key: the account's secret key.
        webhook_secret: what it signs its events with.
        api_base: where Stripe is.
        public_url: where a checkout page leads to, if the caller names no place.
        cards: where saved cards are kept.
        clock: the time.
    """

    def __init__(
        self,
        *,
        api_key: str,
        webhook_secret: str,
        api_base: str,
        public_url: str,
        cards: AutoStore,
        clock: Clock,
    ) -> None:
        self._http = stripe.AIOHTTPClient(timeout=ASK_SECONDS_MAX)
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base},
            http_client=self._http,
            max_network_retries=2,
        )
        self._webhook_secret = webhook_secret
        self._public_url = public_url
        self._cards = cards
        self._clock = clock

    async def close(self) -> None:
        """Closes the connections to Stripe."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # as the SDK is

    async def open(self, top_up: TopUp) -> Opened | Refused:
        """A checkout page; of an automatic top-up, the charge of the saved card.

        Raises:
            FieldInvalid: there is no place for the page to lead to.
            ProviderUnavailable: Stripe does not answer, or refuses our account.
        """
        if top_up.automatic:
            return await self._charge_saved(top_up)
        back = top_up.return_url or self._public_url
        if not back:
            raise FieldInvalid(
                "`return_url` is required here: where the checkout page leads to when it is done.",
                field="return_url",
            )
        known = {"top_up": str(top_up.id)}
        intent: dict[str, Any] = {"metadata": known}
        params: dict[str, Any] = {
            "mode": "payment",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": "usd",
                        "unit_amount": top_up.amount // NANOUSD_OF_CENT,
                        "product_data": {"name": "Credits"},
                    },
                }
            ],
            "client_reference_id": str(top_up.id),
            "metadata": known,
            "payment_intent_data": intent,
            "success_url": back,
            "cancel_url": back,
        }
        if top_up.save_card:
            intent["setup_future_usage"] = "off_session"
            params["customer_creation"] = "always"
        session = await self._asked(
            lambda: self._client.v1.checkout.sessions.create_async(
                params,  # type: ignore[arg-type]  # the SDK's types want literals
                {"idempotency_key": f"top-up-{top_up.id}"},
            )
        )
        return Opened(reference=session.id, checkout_url=session.url or "")

    async def look(self, top_up: TopUp) -> Fate:
        """What Stripe says of a top-up now.

        Raises:
            ProviderUnavailable: Stripe does not answer.
        """
        if top_up.reference.startswith("pi_"):
            return self._fate(await self._intent(top_up.reference))
        if not top_up.reference:
            return Unpaid()
        session = await self._asked(
            lambda: self._client.v1.checkout.sessions.retrieve_async(
                top_up.reference, {"expand": ["payment_intent.latest_charge"]}
            )
        )
        if session.status == "expired":
            return Refused(message="The checkout page expired.", is_final=True)
        intent = session.payment_intent
        if session.status != "complete" or not isinstance(intent, stripe.PaymentIntent):
            return Unpaid()
        fate = self._fate(intent)
        if isinstance(fate, Paid) and top_up.save_card:
            await self._save_card(top_up.org_id, intent, fate.payer)
        return fate

    async def news(self, payload: bytes, signature: str) -> list[News]:
        """What an event means, after Stripe was asked whether it is so; nothing if it is not ours.

        Raises:
            FieldInvalid: its signature is not Stripe's, or it is too old.
            ProviderUnavailable: Stripe does not answer; it will send the event again.
        """
        try:
            event = self._client.construct_event(
                payload, signature, self._webhook_secret, tolerance=SIGNATURE_SECONDS_MAX
            )
            kind, thing = event.type, event.data.object.to_dict()
        except (stripe.SignatureVerificationError, ValueError):
            raise FieldInvalid(
                "The event is not signed by the secret that this service knows, or is too old.",
                field="stripe-signature",
            ) from None
        except (AttributeError, KeyError, TypeError):  # signed, and no event all the same
            raise FieldInvalid("The body is no event of Stripe's.") from None
        return await self._news_of(kind, thing)

    async def is_charge_of(self, top_up_id: UUID, reference: str) -> bool:
        """Whether Stripe made a charge for a top-up.

        Raises:
            NotFound: it knows no such charge.
            ProviderUnavailable: it does not answer.
        """
        return _top_up_of((await self._intent(reference)).metadata) == top_up_id

    async def missed(self) -> list[News]:
        """What the events of the last days mean, whether a webhook brought them or not.

        Raises:
            ProviderUnavailable: Stripe does not answer.
        """
        since = int(self._clock.now().timestamp()) - CATCH_UP_BACK_SECONDS
        found: list[News] = []
        after: str | None = None
        while True:
            params: dict[str, Any] = {
                "types": [one for one in EVENT_TYPES if not one.startswith("checkout")],
                "created": {"gte": since},
                "limit": 100,
            }
            if after is not None:
                params["starting_after"] = after
            page = await self._asked(
                lambda params=params: self._client.v1.events.list_async(params)  # type: ignore[misc]
            )
            for event in page.data:
                found += await self._news_of(event.type, event.data.object.to_dict())
            if not page.has_more or not page.data:
                return found
            after = page.data[-1].id

    # --- what Stripe says -----------------------------------------------------------------------
    async def _news_of(self, kind: str, thing: dict[str, Any]) -> list[News]:
        if kind.startswith("checkout.session."):
            top_up_id = _top_up_of(thing.get("metadata"))
            return [] if top_up_id is None else [Nudge(top_up_id)]
        if kind.startswith("payment_intent."):
            top_up_id = _top_up_of(thing.get("metadata"))
            return [] if top_up_id is None else [Nudge(top_up_id, str(thing["id"]))]
        if kind.startswith("refund."):
            return await self._refunded(thing["id"])
        if kind == "charge.refunded":
            refunds = await self._asked(
                lambda: self._client.v1.refunds.list_async({"charge": thing["id"], "limit": 100})
            )
            return [news for one in refunds.data for news in await self._refunded(one.id)]
        if kind.startswith("charge.dispute."):
            return await self._disputed(thing["id"])
        return []

    async def _refunded(self, refund_id: str) -> list[News]:
        refund = await self._asked(lambda: self._client.v1.refunds.retrieve_async(refund_id))
        if refund.status not in ("succeeded", "failed", "canceled") or not refund.payment_intent:
            return []
        intent = await self._intent(_id(refund.payment_intent))
        if refund.status != "succeeded":  # a bank may send back weeks later what it took
            if _top_up_of(intent.metadata) is None:
                return []
            payment = Payment.named(_network(intent), intent.id)
            why = "The refund failed."
            return [Reinstatement(payment=payment, reversal_id=refund.id, why=why)]
        return self._reversal(intent, refund.id, refund.amount, "The payment was refunded.")

    async def _disputed(self, dispute_id: str) -> list[News]:
        dispute = await self._asked(lambda: self._client.v1.disputes.retrieve_async(dispute_id))
        if not dispute.payment_intent:
            return []
        intent = await self._intent(_id(dispute.payment_intent))
        cents = dispute.amount
        if dispute.currency != intent.currency:  # as some banks do: then all of it is in question
            cents = intent.amount_received
        taken = self._reversal(intent, dispute.id, cents, "The payment was disputed.")
        if taken and dispute.status == "won":
            payment = Payment.named(_network(intent), intent.id)
            why = "The dispute was won."
            return [*taken, Reinstatement(payment=payment, reversal_id=dispute.id, why=why)]
        return taken

    def _reversal(
        self, intent: stripe.PaymentIntent, reversal_id: str, cents: int, why: str
    ) -> list[News]:
        top_up_id = _top_up_of(intent.metadata)
        if top_up_id is None:
            return []  # a payment of other business on the same account
        return [
            Reversal(
                payment=Payment.named(_network(intent), intent.id),
                reversal_id=reversal_id,
                amount=cents * NANOUSD_OF_CENT,
                why=why,
                top_up_id=top_up_id,
            )
        ]

    async def _intent(self, intent_id: str) -> stripe.PaymentIntent:
        return await self._asked(
            lambda: self._client.v1.payment_intents.retrieve_async(
                intent_id, {"expand": ["latest_charge"]}
            )
        )

    def _fate(self, intent: stripe.PaymentIntent) -> Fate:
        match intent.status:
            case "succeeded":
                if intent.currency != "usd":
                    return Unknown(
                        f"It was paid in {intent.currency.upper()}, which cannot be credited: "
                        "ask the operator."
                    )
                return Paid(
                    payment=Payment.named(_network(intent), intent.id),
                    amount=intent.amount_received * NANOUSD_OF_CENT,
                    payer=_card(intent),
                )
            case "canceled":
                return Refused(message="The payment was cancelled.", is_final=True)
            case "processing":
                return Unknown("The card's bank has not decided yet.")
            case _ if intent.last_payment_error is not None:
                why = intent.last_payment_error.message or "The card was refused."
                return Refused(message=why, is_final=True)
            case _:
                return Unpaid()

    # --- saved cards ----------------------------------------------------------------------------
    async def _save_card(self, org_id: OrgId, intent: stripe.PaymentIntent, card: str) -> None:
        if intent.customer and intent.payment_method:
            await self._cards.save_card(
                org_id,
                customer=_id(intent.customer),
                payment_method=_id(intent.payment_method),
                card=card,
            )

    async def _charge_saved(self, top_up: TopUp) -> Opened | Refused:
        saved = await self._cards.get(top_up.org_id)
        params: dict[str, Any] = {
            "amount": top_up.amount // NANOUSD_OF_CENT,
            "currency": "usd",
            "customer": saved.customer,
            "payment_method": saved.payment_method,
            "off_session": True,
            "confirm": True,
            "metadata": {"top_up": str(top_up.id)},
        }
        try:
            intent = await self._asked(
                lambda: self._client.v1.payment_intents.create_async(
                    params,  # type: ignore[arg-type]  # the SDK's types want literals
                    {"idempotency_key": f"top-up-{top_up.id}"},
                )
            )
        except _CardRefusedError as error:
            return Opened(reference=error.intent_id)
        except (_RequestRefusedError, NotFound):
            return Refused(
                message="The saved card can be charged no more; save one anew.", is_final=True
            )
        return Opened(reference=intent.id)

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks Stripe.

        Raises:
            _CardRefusedError: a charge was refused, and has a name.
            NotFound: Stripe does not know what was asked for.
            _RequestRefusedError: it did nothing, and never will on this request.
            ProviderUnavailable: it does not answer, or refuses us.
        """
        try:
            async with asyncio.timeout(ASK_SECONDS_MAX):
                return await ask()
        except stripe.CardError as error:
            intent = error.error.payment_intent if error.error is not None else None
            if intent is None:
                raise _away("refused the card without a reason") from None
            raise _CardRefusedError(intent.id) from None
        except stripe.InvalidRequestError as error:
            log.warning("stripe_refused", code=error.code, param=error.param)
            if error.http_status == NOT_FOUND:
                raise NotFound("Stripe does not know this payment.") from None
            raise _RequestRefusedError(
                _away("refused the request; the log has its reason").message
            ) from None
        except (stripe.StripeError, TimeoutError) as error:
            log.warning("stripe_unavailable", error=type(error).__name__)
            raise _away("does not answer, or refuses this service's key") from None


NOT_FOUND: Final = 404


class _CardRefusedError(Exception):
    """A saved card was refused; the charge that was tried has a name."""

    def __init__(self, intent_id: str) -> None:
        super().__init__(intent_id)
        self.intent_id = intent_id


class _RequestRefusedError(ProviderUnavailable):
    """Stripe takes no such request; whoever asked for a payment hears that there is none now."""


def _away(what: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"The card processor {what}. Nothing was charged that is not credited; try again shortly.",
        retry_after_s=5.0,
    )


def _top_up_of(metadata: Any) -> UUID | None:
    """The top-up that Stripe's metadata names, if it is one of ours."""
    try:
        return UUID(metadata["top_up"])
    except (KeyError, TypeError, ValueError):
        return None


def _network(intent: stripe.PaymentIntent) -> str:
    return "stripe:live" if intent.livemode else "stripe:test"


def _id(thing: Any) -> str:
    """The name of what may be expanded."""
    return thing if isinstance(thing, str) else str(thing.id)


def _card(intent: stripe.PaymentIntent) -> str:
    charge = intent.latest_charge
    details = getattr(charge, "payment_method_details", None)
    card = getattr(details, "card", None)
    return f"{card.brand} {card.last4}" if card is not None else ""
