"""Ending a payment of which nobody says what became of it: by an operator's word.

Whoever looked at the chain says which transaction paid, or that none did. The transaction is
written beside the top-up before anything is credited, and from then on nobody asks for the payment
any more; so however often it is said, by whomever, and whatever the facilitator answers meanwhile,
a top-up is credited once, and a transaction credits one top-up.
"""

from uuid import UUID

import structlog

from omni_grpc.audit import Actor
from omni_grpc.core.errors import AlreadyExists, FieldInvalid, RequestIdReused
from omni_grpc.core.ids import AccountId
from omni_grpc.core.limits import AMOUNT_NANOUSD_MAX
from omni_grpc.core.money import usd_text
from omni_grpc.core.payments import Payment
from omni_grpc.topups.model import Method, Paid, Said, State, TopUp
from omni_grpc.topups.store import TopUpStore
from omni_grpc.topups.top_ups import STEPS, TopUps, told

log = structlog.get_logger(__name__)


class Decisions:
    """What operators decide about top-ups that wait for word of their payments."""

    def __init__(self, top_ups: TopUps, store: TopUpStore) -> None:
        self._top_ups = top_ups
        self._store = store

    async def pending(
        self, account_id: AccountId | None, after: UUID | None, limit: int
    ) -> list[TopUp]:
        """Those whose payment's fate is not known, of an account or of all, the oldest first."""
        return await self._store.pending_after(account_id, after, limit)

    async def settle(
        self,
        actor: Actor,
        account_id: AccountId,
        top_up_id: UUID,
        *,
        payment_id: str,
        amount: int | None,
        reason: str,
    ) -> TopUp:
        """Credits one with what a transaction brought; what was asked for if `amount` is None.

        The same again changes nothing. One that had failed can be settled, too: a payment may be
        found late.

        Raises:
            NotFound: the account has none of this id.
            FieldInvalid: nobody presented a payment for it, or a value cannot be.
            FeatureUnsupported: this service takes no payments in USDC.
            AlreadyExists: it was paid by another transaction, or the transaction paid for something
                else.
        """
        top_up = await self._signed(account_id, top_up_id)
        amount = top_up.amount if amount is None else amount
        if not 0 < amount <= AMOUNT_NANOUSD_MAX or amount % STEPS[Method.X402]:
            raise FieldInvalid(
                "`amount_nanousd` must be what arrived: whole millionths of a dollar.",
                field="amount_nanousd",
            )
        try:
            payment = Payment.named(self._top_ups.network_of(top_up), payment_id)
        except ValueError as error:
            raise FieldInvalid(f"`payment_id`: {error}", field="payment_id") from None
        paid = Paid(payment=payment, amount=amount)
        if top_up.state in (State.OPEN, State.EXPIRED):
            raise FieldInvalid("Nobody presented a payment for this top-up.", field="name")
        if not top_up.is_credited:
            note = f"An operator settles it: {reason}"
            reserved = await self._store.reserve(top_up, payment, note)
            top_up = reserved or await self._store.must_get(top_up.id)
            if reserved is not None:
                return await self._credit(actor, reserved, paid, reason)
        return _paid_by(top_up, payment)

    async def void(
        self, actor: Actor, account_id: AccountId, top_up_id: UUID, *, reason: str
    ) -> TopUp:
        """Says that one was not paid, after its fate was asked for once more.

        The same again changes nothing. A payment that arrives all the same can be settled.

        Raises:
            NotFound: the account has none of this id.
            FieldInvalid: it waits for no payment's fate, or the payment may still arrive.
            FeatureUnsupported: this service takes no payments in USDC.
        """
        top_up = await self._signed(account_id, top_up_id)
        if top_up.state is State.PENDING and not top_up.payment_id:
            if self._top_ups.may_land(top_up):
                raise FieldInvalid(
                    "The payment was presented a moment ago and may still reach the chain. Look "
                    "again in a few minutes.",
                    field="name",
                )
            top_up = await self._top_ups.look(top_up)
        message = f"An operator found no payment: {reason}"
        done = None
        if top_up.state is State.PENDING:
            said = Said(actor=actor, action="VoidTopUp", reason=reason)
            done = await self._store.voided(top_up, message, told(top_up, message), said)
        top_up = done or await self._store.must_get(top_up.id)
        if top_up.state is not State.FAILED:
            raise FieldInvalid(
                f"The top-up is {top_up.state.name.lower()}, so there is nothing to void"
                + (f": {top_up.message}" if top_up.message else "."),
                field="name",
            )
        return top_up

    async def _credit(self, actor: Actor, top_up: TopUp, paid: Paid, reason: str) -> TopUp:
        try:
            await self._top_ups.grant(top_up, paid)
        except AlreadyExists:
            await self._store.unreserve(top_up)
            raise
        except RequestIdReused:  # what was under way came to its end first
            top_up = await self._top_ups.finished(await self._store.must_get(top_up.id))
            first = await self._store.granted(top_up)
            if first is not None and not top_up.is_credited:
                raise AlreadyExists(
                    f"The transaction was credited as {usd_text(first.amount)} USD. Settle it by "
                    "that amount.",
                    field="amount_nanousd",
                ) from None
            return _paid_by(top_up, paid.payment)
        message = f"Settled by an operator: {reason}"
        if paid.amount != top_up.amount:
            message += f" ({usd_text(paid.amount)} USD arrived.)"
        said = Said(actor=actor, action="SettleTopUp", reason=reason)
        done = await self._store.succeeded(top_up, paid, message, told(top_up, message, paid), said)
        log.info("top_up_settled", top_up=str(top_up.id), by=actor.name, credited=paid.amount)
        return done or _paid_by(await self._store.must_get(top_up.id), paid.payment)

    async def _signed(self, account_id: AccountId, top_up_id: UUID) -> TopUp:
        top_up = await self._top_ups.get(account_id, top_up_id, look=False)
        if top_up.method is not Method.X402:
            raise FieldInvalid(
                "Only top-ups over x402 are settled and voided: of a card Stripe says what became.",
                field="name",
            )
        return await self._top_ups.finished(top_up)


def _paid_by(top_up: TopUp, payment: Payment) -> TopUp:
    """The top-up, if this payment paid for it.

    Raises:
        AlreadyExists: another did, or may have.
    """
    if top_up.is_credited and (top_up.network, top_up.payment_id) == (payment.network, payment.id):
        return top_up
    if top_up.payment_id:
        raise AlreadyExists(
            f"The top-up is settled by the transaction {top_up.payment_id}.", field="payment_id"
        )
    raise AlreadyExists(
        "The transaction has bought other credits: look for the one whose memo is this top-up's "
        "id.",
        field="payment_id",
    )
