"""What wallets are offered, and what they bring: x402 as the transports meet it."""

from typing import TYPE_CHECKING, Final

import msgspec

from omni_grpc.audit import Actor
from omni_grpc.core.errors import CreditsExhausted, OmniError, PaymentRefused
from omni_grpc.core.ids import AccountId, OrgId
from omni_grpc.core.money import NANO_PER_USD, usd_text
from omni_grpc.core.payments import PaymentOffer
from omni_grpc.topups.model import Method, State, TopUp
from omni_grpc.topups.top_ups import TopUps, pending_error

if TYPE_CHECKING:  # the SDKs take a quarter of a second: only where they are used
    from omni_grpc.topups.x402 import X402Method
    from omni_grpc.topups.x402.terms import Offer

UNIT_NANOUSD: Final = 1_000
"""Nano-USD in a unit of USDC, which receipts count in."""


class WalletDesk:
    """Offers top-ups to accounts, and takes signed payments for them."""

    def __init__(
        self, top_ups: TopUps, method: "X402Method", *, amount_min: int, amount_max: int
    ) -> None:
        self._top_ups = top_ups
        self._method = method
        self._amount_min = amount_min
        self._amount_max = amount_max

    async def run(self) -> None:
        """Keeps the facilitator known, for ever; ends only by cancellation."""
        await self._method.run()

    async def close(self) -> None:
        """Closes the connections."""
        await self._method.close()

    async def take(self, actor: Actor, org_id: OrgId, account_id: AccountId, text: str) -> TopUp:
        """The top-up that a signed payment has bought for an account.

        Raises:
            FieldInvalid: it is no payment, or not for this account.
            NotFound: its memo names no top-up of this account.
            PaymentPending: its fate is not known yet.
            PaymentRefused: it was not taken; the error has a new offer.
        """
        top_up_id = self._method.top_up_id(text)
        top_up = await self._top_ups.confirm(actor, org_id, account_id, top_up_id, text)
        if top_up.state is State.PENDING:
            raise pending_error(top_up)
        if top_up.state in (State.SUCCEEDED, State.REVERSED):
            return top_up
        error = PaymentRefused(
            f"The payment of {usd_text(top_up.amount)} USD was not taken: {top_up.message} "
            "Another can be signed.",
            metadata={"top_up_id": str(top_up.id)},
        )
        error.offer = _written(self._method.quote(account_id, top_up.amount))
        raise error

    async def ask_for(self, account_id: AccountId, amount: int) -> PaymentOffer:
        """What an account signs to buy so many nano-USD of credits.

        Raises:
            FieldInvalid: the amount cannot be bought.
            PaymentPending: it has paid already, perhaps.
            PaymentsUnavailable: the facilitator cannot be asked.
        """
        self._top_ups.check_amount(amount, Method.X402)
        pending = await self._top_ups.pending(account_id)
        if pending is not None:
            raise pending_error(pending)
        offer = _written(await self._method.quoted(account_id, amount))
        if offer is None:
            raise RuntimeError("a quote was asked for")
        return offer

    async def refusal(self, error: OmniError, account_id: AccountId) -> OmniError:
        """What a caller is told who was refused: for want of credits, with an offer of them.

        It is of what is missing, in whole dollars, and leaves no row. There is none while the
        facilitator cannot be asked. Who has paid already, perhaps, is told that and nothing else:
        a client that is told to pay signs a new payment.
        """
        if not isinstance(error, CreditsExhausted):
            return error
        try:
            pending = await self._top_ups.pending(account_id)
        except OmniError:
            return error
        if pending is not None:
            return pending_error(pending)
        facts = error.metadata
        missing = int(facts.get("needed_nanousd", 0)) - int(facts.get("available_nanousd", 0))
        whole = -(-missing // NANO_PER_USD) * NANO_PER_USD
        amount = min(max(whole, self._amount_min), self._amount_max)
        error.offer = _written(self._method.quote(account_id, amount))
        return error

    def receipt(self, top_up: TopUp, version: int) -> bytes:
        """What a payment that was taken is answered with, as JSON."""
        return msgspec.json.encode(
            {
                "success": True,
                "transaction": top_up.payment_id,
                "network": self._method.network_of(version),
                "payer": top_up.payer,
                "amount": str(top_up.credited // UNIT_NANOUSD),
            }
        )


def _written(offer: "Offer | None") -> PaymentOffer | None:
    if offer is None:
        return None
    return PaymentOffer(v1=msgspec.json.encode(offer.v1), v2=msgspec.json.encode(offer.v2))
