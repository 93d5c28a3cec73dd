"""x402 over REST: what a payment header brings, what a refusal offers, and `POST /v1/topup`.

A payment buys credits for the account of whoever presents it, on whichever route it comes with; the
request itself is then served and charged as any other. So a client of x402 that is refused a chat
for want of credits pays what that refusal offers, sends the chat again, and gets its answer.

While the fate of a payment is not known no other is asked for: the answer is 409, without an offer.
"""

import base64
from typing import Final

import msgspec

from omni_grpc.audit import Actor
from omni_grpc.completion import Call
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid, OmniError
from omni_grpc.core.money import nanousd_from_usd, usd_text
from omni_grpc.identity import Principal
from omni_grpc.rest_api.exchange import JSON_HEADERS, Exchange
from omni_grpc.rest_api.openai.json_body import read_json
from omni_grpc.topups import TopUp, WalletDesk

PATH: Final = "/v1/topup"

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is bought: dollars, as decimal text."""

    amount: str


_read_asked: Final = msgspec.json.Decoder(Asked).decode


class TopUpRoute:
    """Takes payments and offers them, for the door and for a route of its own."""

    def __init__(self, wallets: WalletDesk | None) -> None:
        """`wallets` is None where no such payments are taken."""
        self._wallets = wallets

    async def take(self, exchange: Exchange, call: Call) -> None:
        """Settles the payment that a request brings, if it brings one, and credits it.

        The answer, whatever it is, then tells what the payment bought.

        Raises:
            FieldInvalid: what it brings is no payment, or not for the caller's account.
            NotFound: it names a top-up that the caller's account does not have.
            PaymentPending: its fate is not known yet.
            PaymentRefused: it was not taken.
        """
        wallets = self._wallets
        if wallets is None:
            return
        version, answered = 2, b"payment-response"
        text = exchange.header(b"payment-signature")
        if not text:
            version, answered = 1, b"x-payment-response"
            text = exchange.header(b"x-payment")
            if not text:
                return
        principal = _principal(call)
        actor = Actor(name=principal.actor, peer=call.peer, call_id=call.name)
        top_up = await wallets.take(actor, principal.org_id, principal.account_id, text)
        exchange.added_headers.append(
            (answered, base64.b64encode(wallets.receipt(top_up, version)))
        )
        exchange.paid = _shown(principal, top_up)

    async def refusal(self, error: OmniError, call: Call) -> OmniError:
        """What a refused caller is told: where credits are short, how to buy some."""
        if self._wallets is None or call.principal is None:
            return error
        return await self._wallets.refusal(error, call.principal.account_id)

    async def __call__(self, exchange: Exchange, call: Call) -> None:
        """`POST /v1/topup`: 402 with the offer, or with a payment 200 and what it bought.

        Raises:
            FieldInvalid: the amount is none, or out of bounds.
            FeatureUnsupported: no such payments are taken here.
            PaymentPending: the account has paid already, perhaps.
            PaymentsUnavailable: the facilitator cannot be asked.
        """
        if self._wallets is None:
            raise FeatureUnsupported("This service takes no payments in USDC.")
        asked, _ = read_json(await exchange.body(), _read_asked, {})
        headers = [*JSON_HEADERS, (b"x-request-id", call.name.encode())]
        if exchange.paid is not None:
            await exchange.answer(200, headers, _encode(exchange.paid))
            return
        try:
            amount = nanousd_from_usd(asked.amount)
        except ValueError as error:
            raise FieldInvalid(f"`amount`: {error}.", field="amount") from None
        offer = await self._wallets.ask_for(_principal(call).account_id, amount)
        headers.append((b"payment-required", base64.b64encode(offer.v2)))
        await exchange.answer(402, headers, offer.v1)


def _principal(call: Call) -> Principal:
    if call.principal is None:
        raise RuntimeError("the call did not come through the auth gate")
    return call.principal


def _shown(principal: Principal, top_up: TopUp) -> dict[str, object]:
    return {
        "object": "top_up",
        "name": f"accounts/{principal.org_slug}/topUps/{top_up.id}",
        "state": top_up.state.name.lower(),
        "amount_usd": usd_text(top_up.amount),
        "amount_nanousd": top_up.amount,
        "credited_usd": usd_text(top_up.credited),
        "credited_nanousd": top_up.credited,
        "network": top_up.network,
        "transaction": top_up.payment_id,
        "payer": top_up.payer,
        "message": top_up.message,
    }
