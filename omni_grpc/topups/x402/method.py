"""Payments by wallet: verified, settled, and looked for until their fate is known.

What decides is the chain, where a node is set; else the facilitator's word. A payment counts as not
made only if the facilitator refused it before it was sent, or the chain can take it no more and has
not. Everything else is unknown, and asked for again: settling the same transaction twice is
harmless, since the chain takes it once, and a failure that is told the second time proves nothing.
"""

import asyncio
from typing import Final
from uuid import UUID

import msgspec
import structlog

from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import FieldInvalid, PaymentsUnavailable
from omni_grpc.core.payments import Payment
from omni_grpc.topups.model import Fate, Opened, Paid, Presented, Refused, TopUp, Unknown, Unpaid
from omni_grpc.topups.x402.facilitator import FacilitatorClient, Settled, Supported
from omni_grpc.topups.x402.node import Landed, SolanaNode
from omni_grpc.topups.x402.quotes import Quotes
from omni_grpc.topups.x402.signed import Kept, Signed, of_payment, read_signed
from omni_grpc.topups.x402.terms import NANO_PER_UNIT, Offer, Terms
from omni_grpc.topups.x402.wire import ServiceAway

REFRESH_SECONDS: Final = 600.0
"""How often the facilitator is asked what it settles, and who pays its fees."""

RETRY_SECONDS: Final = 5.0
"""How soon it is asked again when it did not say."""

LANDS_SECONDS: Final = 180.0
"""A transaction lands within a minute and a half of its blockhash, or never; twice that, so that
no node that is a little behind says too early that it never will."""

SEEN_SECONDS_MAX: Final = 6.0
"""How long a payment that is said to have settled is looked for on the chain before the caller is
told to ask later."""

SEEN_STEP_SECONDS: Final = 0.4

_REFUSED_BEFORE_SENT: Final = ("invalid_exact_svm_payload", "unsupported_scheme")
"""How reasons of a settle begin that are about what was signed: they are the same at each try, so
none of them can follow a try that was sent."""

_SIMULATED: Final = "simulation"
"""What some call so, in such a reason's name, is about the chain all the same: a facilitator that
tries twice by itself is told there of its own first try."""

_AMOUNT_BITS: Final = 63

log = structlog.get_logger(__name__)


class X402Method:
    """The way of a signed payment. `node` None takes the facilitator's word for what arrived."""

    def __init__(
        self,
        terms: Terms,
        facilitator: FacilitatorClient,
        clock: Clock,
        quotes: Quotes,
        *,
        node: SolanaNode | None,
        seen_seconds: float = SEEN_SECONDS_MAX,
    ) -> None:
        self._terms = terms
        self._facilitator = facilitator
        self._clock = clock
        self._quotes = quotes
        self._node = node
        self._seen_seconds = seen_seconds
        self._supported: Supported | None = None

    async def close(self) -> None:
        """Closes the connections to the facilitator and the node."""
        await self._facilitator.close()

    def network_of(self, version: int) -> str:
        """The chain's name in a version of x402."""
        return self._terms.network_of(version)

    # --- offers -------------------------------------------------------------------------------
    async def run(self) -> None:
        """Keeps what the facilitator settles known, for ever; ends only by cancellation."""
        if self._node is None:
            log.warning("x402_without_a_node", need="OMNI_X402_RPC_URL, to see what arrived")
        while True:
            answered = await self._ask_again()
            await asyncio.sleep(REFRESH_SECONDS if answered else RETRY_SECONDS)

    async def _ask_again(self) -> bool:
        """Asks what the facilitator settles, and who pays its fees; says whether it answered."""
        try:
            self._supported = await self._facilitator.supported()
        except ServiceAway as away:
            log.warning("x402_facilitator_away", reason=str(away))
            return False
        return True

    async def open(self, top_up: TopUp) -> Opened:
        """The offer of a top-up.

        Raises:
            PaymentsUnavailable: the facilitator does not say what it settles.
        """
        return Opened(offer=(await self._offer(top_up.id, top_up.amount)).text())

    def quote(self, account_id: int, amount: int) -> Offer | None:
        """An offer that is kept nowhere; None while the facilitator is not known."""
        supported = self._supported
        if supported is None:
            return None
        amount -= amount % NANO_PER_UNIT
        top_up_id = self._quotes.quote(account_id, amount, self._clock.now())
        return self._terms.offer(top_up_id, amount // NANO_PER_UNIT, supported)

    async def quoted(self, account_id: int, amount: int) -> Offer:
        """The same, once the facilitator is known.

        Raises:
            PaymentsUnavailable: it does not say what it settles.
        """
        await self._know()
        found = self.quote(account_id, amount)
        if found is None:
            raise RuntimeError("the facilitator is known by now")
        return found

    def amount_quoted(self, account_id: int, top_up_id: UUID, text: str) -> int | None:
        """The amount of the quote that a payment answers, in nano-USD; None where it is none.

        Raises:
            FieldInvalid: it is no payment at all.
        """
        signed = read_signed(text)
        signed.check(self._terms)
        if signed.top_up_id != top_up_id:
            return None
        amounts = {signed.units}
        if signed.version != 1:
            said = signed.payment["accepted"].get("amount")
            if isinstance(said, str) and said.isascii() and said.isdecimal():
                amounts.add(int(said) if len(said) < _AMOUNT_BITS else 0)
        now = self._clock.now()
        for units in amounts:
            amount = units * NANO_PER_UNIT
            if self._quotes.accepts(top_up_id, account_id, amount, now):
                return amount
        return None

    def top_up_id(self, text: str) -> UUID:
        """Which top-up a payment is for.

        Raises:
            FieldInvalid: it does not say, or is no payment at all.
        """
        found = read_signed(text).top_up_id
        if found is None:
            raise FieldInvalid(
                "The payment's memo names no top-up; sign what the offer says.",
                field="x402_payment",
            )
        return found

    async def _offer(self, top_up_id: UUID, amount: int) -> Offer:
        return self._terms.offer(top_up_id, amount // NANO_PER_UNIT, await self._know())

    async def _know(self) -> Supported:
        if self._supported is None:
            try:
                self._supported = await self._facilitator.supported()
            except ServiceAway as away:
                raise PaymentsUnavailable(
                    f"Payments in USDC cannot be taken now: the facilitator does not say what it "
                    f"settles ({away}). Nothing was taken; try again later.",
                    retry_after_s=RETRY_SECONDS,
                ) from None
        if not any(
            self._supported.fee_payer(version, self._terms.network_of(version))
            for version in (1, 2)
        ):
            raise PaymentsUnavailable(
                f"Payments in USDC cannot be taken now: the facilitator does not settle on "
                f"{self._terms.caip}."
            )
        return self._supported

    # --- payments -----------------------------------------------------------------------------
    def read(self, top_up: TopUp, text: str) -> Presented:
        """The payment that was presented for a top-up.

        Raises:
            FieldInvalid: it is none, or not for this one.
        """
        signed = read_signed(text)
        signed.check(self._terms)
        wanted = Offer.read(top_up.offer).requirements(signed.version)
        if wanted is None:
            raise FieldInvalid(
                f"Payments of x402 version {signed.version} are not settled here.",
                field="x402_payment",
            )
        if signed.memo != str(top_up.id):
            raise FieldInvalid(
                "The payment's memo is not this top-up's id; sign what its offer says.",
                field="x402_payment",
            )
        if signed.version != 1 and any(
            signed.payment["accepted"].get(name) != wanted[name]
            for name in ("amount", "asset", "payTo")
        ):
            raise FieldInvalid(
                "The payment accepted other terms than this top-up's offer.", field="x402_payment"
            )
        kept = Kept(signed.version, signed.payment, self._clock.now().timestamp())
        return Presented(key=signed.key, text=msgspec.json.encode(kept))

    def network_offered(self, top_up: TopUp) -> str:
        """The chain that its offer is for, as version 2 names it."""
        wanted = Offer.read(top_up.offer).requirements(2)
        return self._terms.caip if wanted is None else str(wanted["network"])

    def may_land(self, top_up: TopUp) -> bool:
        """Whether the chain may still take the payment that it holds."""
        if top_up.presented is None:
            return False
        kept = msgspec.json.decode(top_up.presented, type=Kept)
        return self._clock.now().timestamp() <= kept.at + LANDS_SECONDS

    async def settle(self, top_up: TopUp) -> Fate:
        """Verifies a payment, then settles it."""
        kept, signed, wanted = self._opened(top_up)
        try:
            verdict = await self._facilitator.verify(signed.version, signed.payment, wanted)
        except ServiceAway as away:
            return Refused(
                message=f"The facilitator does not say whether it is good: {away}. It was not sent."
            )
        if verdict.is_valid:
            return await self._settle(kept, signed, wanted, is_first=True)
        # What was settled before is refused too: the chain knows.
        landed = await self._found(kept, signed)
        if landed is not None:
            return self._arrived(landed, signed)
        if "fee_payer" in (verdict.invalid_reason or ""):
            await self._ask_again()
        return Refused(message=f"The facilitator refused it: {verdict.why}.")

    async def look(self, top_up: TopUp) -> Fate:
        """What became of a payment; one that was never sent is sent."""
        if top_up.presented is None:
            return Unpaid()
        kept, signed, wanted = self._opened(top_up)
        if not signed.pays(self._terms):
            return Unknown(
                "The service was set to another wallet or chain since it was signed, where nothing "
                "can be seen of it: ask the operator."
            )
        if self._node is not None:
            try:
                # In this order: what is not there after it expired never will be.
                is_late = self._clock.now().timestamp() > kept.at + LANDS_SECONDS
                expired = is_late and await self._node.expired(signed)
                landed = await self._node.find(signed, kept.at)
            except ServiceAway as away:
                return Unknown(f"The chain could not be asked: {away}.")
            if landed is not None:
                return self._arrived(landed, signed)
            if expired:
                return Refused(message="The payment expired before it reached the chain.")
        return await self._settle(kept, signed, wanted, is_first=False)

    async def _settle(
        self, kept: Kept, signed: Signed, wanted: dict[str, object], *, is_first: bool
    ) -> Fate:
        try:
            settled = await self._facilitator.settle(signed.version, signed.payment, wanted)
        except ServiceAway as away:
            settled = Settled(success=False, error_reason=f"no word from the facilitator: {away}")
        payment = self._named(settled)
        if self._node is not None:
            landed = await self._seen(kept, signed, payment, is_said=settled.success)
            if landed is not None:
                return self._arrived(landed, signed)
        elif settled.success and payment is not None:
            return Paid(payment=payment, amount=signed.units * NANO_PER_UNIT, payer=signed.payer)
        if not settled.success:
            reason = settled.error_reason or ""
            refused = reason.startswith(_REFUSED_BEFORE_SENT) and _SIMULATED not in reason
            if is_first and refused and not settled.transaction:
                return Refused(message=f"The facilitator refused it: {settled.why}.")
            return Unknown(f"Settling is not known to have worked ({settled.why}).")
        return Unknown("It is said to have settled, and the chain does not show it yet.")

    def _opened(self, top_up: TopUp) -> tuple[Kept, Signed, dict[str, object]]:
        """What a top-up keeps of its payment, and what that must be."""
        kept = msgspec.json.decode(top_up.presented or b"", type=Kept)
        wanted = Offer.read(top_up.offer).requirements(kept.version)
        if wanted is None:
            raise RuntimeError(f"the top-up {top_up.id} took a payment that it never offered")
        return kept, of_payment(kept.version, kept.payment), wanted

    def _named(self, settled: Settled) -> Payment | None:
        """The payment that a facilitator names, if it is one of this chain."""
        try:
            found = Payment.named(settled.network or "", settled.transaction or "")
        except ValueError:
            return None
        return found if found.network == self._terms.caip else None

    def _arrived(self, landed: Landed, signed: Signed) -> Fate:
        """What a transaction on the chain brought."""
        if landed.failed or landed.units <= 0:
            return Refused(message="The chain executed the payment, and it failed there.")
        return Paid(
            payment=Payment.named(self._terms.caip, landed.signature),
            amount=landed.units * NANO_PER_UNIT,
            payer=signed.payer,
        )

    async def _seen(
        self, kept: Kept, signed: Signed, payment: Payment | None, *, is_said: bool
    ) -> Landed | None:
        """The payment on the chain, after a short wait where it is said to be there."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._seen_seconds if is_said else 0.0)
        while True:
            found = await self._found(kept, signed, payment)
            if found is not None or loop.time() >= until:
                return found
            await asyncio.sleep(SEEN_STEP_SECONDS)

    async def _found(
        self, kept: Kept, signed: Signed, payment: Payment | None = None
    ) -> Landed | None:
        """The payment on the chain; None where the node shows none, or there is no node."""
        if self._node is None:
            return None
        try:
            if payment is not None:
                landed = await self._node.landed(payment.id, signed)
                if landed is not None:
                    return landed
            return await self._node.find(signed, kept.at)
        except ServiceAway as away:
            log.warning("x402_node_away", reason=str(away))
            return None
