"""Buying credits: one way through for every method of payment.

A top-up is written before anybody is asked to pay, and credited after the payment has settled, by
what arrived, once: the ledger keeps a payment's name for ever. A payment whose fate is not known is
asked for until it is; another is never asked for meanwhile. Whatever dies in between, the next look
at the top-up goes on.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec
import structlog

from omni_grpc.audit import Actor
from omni_grpc.billing import Ledger
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import (
    AlreadyExists,
    FeatureUnsupported,
    FieldInvalid,
    NotFound,
    OmniError,
    PaymentPending,
    RateLimited,
    RequestIdReused,
)
from omni_grpc.core.ids import AccountId, OrgId, uuid7
from omni_grpc.core.missing import no_top_up
from omni_grpc.core.money import usd_text
from omni_grpc.core.payments import Payment
from omni_grpc.topups.model import (
    Fate,
    Method,
    Opened,
    Paid,
    Refused,
    State,
    Told,
    TopUp,
    Unknown,
    Unpaid,
)
from omni_grpc.topups.payment_method import PaymentMethod, SignedMethod
from omni_grpc.topups.store import Draft, TopUpStore

OPEN_SECONDS: Final = 24 * 3_600.0
"""How long a top-up can be paid: as long as a checkout page lives."""

OPEN_MAX: Final = 32
"""Top-ups of one account that wait for their payments: each is looked at again and again, and
whoever takes the payments is asked each time."""

CHECK_SECONDS: Final = 5.0
"""How soon a top-up is looked at again; doubled with each look."""

CHECK_SECONDS_MAX: Final = 900.0
"""The longest time between two looks: a webhook that never came is made up for within it."""

LOOK_SECONDS: Final = 2.0
"""How often a worker asks whether some are due."""

LOOKED_AT_ONCE: Final = 20

GRANTS_OF: Final = OrgId(0)
"""Whose request ids the grants have: nobody's, so that no caller's can stand in their way."""

AUTOMATIC: Final = Actor(name="automatic top-up")
"""Who begins the top-ups of accounts that are low."""

log = structlog.get_logger(__name__)


class TopUps:
    """Top-ups of all accounts. `methods` are those that the operator set up."""

    def __init__(
        self,
        store: TopUpStore,
        ledger: Ledger,
        clock: Clock,
        methods: Mapping[Method, PaymentMethod],
        *,
        amount_min: int,
        amount_max: int,
        signed: SignedMethod | None = None,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._methods = {**methods, **({} if signed is None else {Method.X402: signed})}
        self._signed = signed
        self._amount_min = amount_min
        self._amount_max = amount_max

    @property
    def signed(self) -> SignedMethod | None:
        """How callers pay by wallet, where they can."""
        return self._signed

    def offers(self, method: Method) -> bool:
        """Whether this service takes such payments."""
        return method in self._methods

    async def create(
        self,
        actor: Actor,
        *,
        org_id: OrgId,
        account_id: AccountId,
        amount: int,
        method: Method,
        request_id: str,
        return_url: str = "",
        save_card: bool = False,
        top_up_id: UUID | None = None,
    ) -> TopUp:
        """Begins one; the same request id with the same content is the same top-up.

        `top_up_id` is the id of one that was quoted.

        Raises:
            FieldInvalid: the amount is out of bounds, or not in the method's steps.
            FeatureUnsupported: this service does not take such payments.
            RequestIdReused: the request id stood for something else.
            RateLimited: OPEN_MAX of the account's are not paid yet.
        """
        self._way(method)
        self.check_amount(amount, method)
        content = msgspec.msgpack.encode([account_id, amount, method, return_url, save_card])
        draft = Draft(
            id=top_up_id or uuid7(),
            org_id=org_id,
            account_id=account_id,
            method=method,
            amount=amount,
            request_id=request_id,
            fingerprint=hashlib.sha256(content).digest(),
            seconds=OPEN_SECONDS,
            check_seconds=CHECK_SECONDS,
            return_url=return_url,
            save_card=save_card,
        )
        # For one that was quoted a payment is here already: it is never turned away.
        if top_up_id is None and await self._store.is_crowded(draft, OPEN_MAX):
            raise RateLimited(
                f"The account has {OPEN_MAX} top-ups that nobody paid yet. Pay one, or wait: each "
                "ends after a day.",
                metadata={"limit": str(OPEN_MAX)},
            )
        top_up, same = await self._store.insert(actor, draft)
        if not same:
            raise RequestIdReused(
                f"The request_id {request_id!r} was used for another top-up; use a new one."
            )
        return await self._opened(top_up)

    async def create_automatic(
        self, org_id: OrgId, account_id: AccountId, amount: int
    ) -> TopUp | None:
        """Charges the saved card of an account that is low; None where it is no longer."""
        top_up_id = uuid7()
        made = await self._store.insert_automatic(
            AUTOMATIC,
            Draft(
                id=top_up_id,
                org_id=org_id,
                account_id=account_id,
                method=Method.CARD,
                amount=amount,
                request_id=f"automatic {top_up_id}",
                fingerprint=b"",
                seconds=OPEN_SECONDS,
                check_seconds=CHECK_SECONDS,
                automatic=True,
            ),
        )
        return None if made is None else await self.look(made)

    async def get(self, account_id: AccountId, top_up_id: UUID, *, look: bool = True) -> TopUp:
        """One of an account, after a look at its fate where that is not known.

        Raises:
            NotFound: the account has none of this id.
        """
        found = await self._store.get(top_up_id)
        if found is None or found.account_id != account_id:
            raise no_top_up(top_up_id)
        if look and not found.is_final:
            try:
                found = await self.look(found)
            except OmniError as error:  # who takes the payment is away: what is known is told
                log.warning("top_up_not_looked_at", top_up=str(found.id), reason=error.reason)
        return found

    async def of_account(
        self, account_id: AccountId, before: UUID | None, limit: int
    ) -> list[TopUp]:
        """Of an account, newest first."""
        return await self._store.of_account(account_id, before, limit)

    async def confirm(
        self, actor: Actor, org_id: OrgId, account_id: AccountId, top_up_id: UUID, text: str
    ) -> TopUp:
        """Pays for one with a signed payment. The same payment again gets the first answer.

        One that was only quoted is written now.

        Raises:
            NotFound: the account has no such top-up.
            FieldInvalid: what was presented is no payment for it.
            PaymentPending: the fate of a payment is not known yet: this one, or one before it.
            AlreadyExists: the payment is another top-up's.
        """
        try:
            top_up = await self.get(account_id, top_up_id, look=False)
        except NotFound:
            top_up = await self._of_quote(actor, org_id, account_id, top_up_id, text)
        if self._signed is None or top_up.method is not Method.X402:
            raise FieldInvalid("This top-up is not paid with x402.", field="name")
        top_up = await self._opened(top_up)  # whoever wrote it may not have come so far
        presented = self._signed.read(top_up, text)
        begun = await self._store.begin(top_up, presented, CHECK_SECONDS)
        if begun is not None:
            return await self._ended(begun, await self._signed.settle(begun))
        known = await self._store.of_payment(presented.key)
        if known is not None and known.id != top_up.id:
            raise AlreadyExists(
                "This payment was presented for another top-up.", field="x402_payment"
            )
        top_up = await self.get(account_id, top_up_id)  # looks at what is under way
        if top_up.state is State.OPEN:
            raise FieldInvalid(
                f"The payment was refused: {top_up.message} Nothing was taken; sign a new one.",
                field="x402_payment",
            )
        return top_up

    async def look(self, top_up: TopUp) -> TopUp:
        """Asks for the fate of one that is not final, and writes down what is found."""
        way = self._methods.get(top_up.method)
        if way is None:
            return top_up  # its method was taken out of the settings; it waits for its return
        if top_up.automatic and self._clock.now() < top_up.expire_time:
            # Whoever made it may have died before the charge. Later the processor may have
            # forgotten that it made one, and would make another.
            top_up = await self._opened(top_up)
        if top_up.payment_key is not None and top_up.state is State.PENDING:
            still = await self._store.looked(top_up)
            if still is None:
                return await self._store.must_get(top_up.id)
            top_up = still
        return await self._ended(top_up, await way.look(top_up))

    def network_of(self, top_up: TopUp) -> str:
        """On which network a top-up's signed payment is made.

        Raises:
            FeatureUnsupported: this service takes no such payments.
        """
        return self._must_sign().network_offered(top_up)

    def may_land(self, top_up: TopUp) -> bool:
        """Whether the signed payment that a top-up holds may still arrive.

        Raises:
            FeatureUnsupported: this service takes no such payments.
        """
        return self._must_sign().may_land(top_up)

    async def grant(self, top_up: TopUp, paid: Paid) -> None:
        """Books what a payment brought for a top-up; again and again changes nothing.

        Raises:
            AlreadyExists: the payment has bought another top-up, or other credits.
            RequestIdReused: the top-up was credited for another payment, or another amount.
        """
        # Of two of one account and amount the ledger would say that they are the same.
        if await self._store.bought_another(top_up, paid.payment):
            raise AlreadyExists("The payment has bought another top-up.")
        await self._ledger.grant(
            account_id=top_up.account_id,
            org_id=GRANTS_OF,
            amount=paid.amount,
            reason=f"top-up {top_up.id}",
            request_id=f"top-up {top_up.id}",
            payment=paid.payment,
        )

    async def finished(self, top_up: TopUp) -> TopUp:
        """As it is, after the end of what a server began that died once it had credited it.

        But what an operator began, an operator ends.
        """
        paid = None if top_up.is_credited else await self._store.granted(top_up)
        if paid is None or paid.payment.id == top_up.payment_id:
            return top_up
        return await self._succeed(top_up, paid)

    async def charged(self, top_up: TopUp, reference: str) -> TopUp:
        """Remembers a charge that the processor has for one, whose name nobody here was told."""
        return await self._store.opened(top_up, Opened(reference=reference))

    async def pending(self, account_id: AccountId) -> TopUp | None:
        """One of an account for which a signed payment is under way, its fate not known yet."""
        return await self._store.pending_of(account_id, Method.X402)

    async def find(self, top_up_id: UUID) -> TopUp | None:
        """One by its id, whosever it is: for a processor's news, never for a caller."""
        return await self._store.get(top_up_id)

    async def reversed(
        self, network: str, reversal_id: str, payment_id: str, amount: int, why: str
    ) -> int | None:
        """Takes back what a payment bought: a dispute, or the payer's refund; once for its name.

        Returns what was taken back, nano-USD; None where no such payment was ever booked.
        """
        found = await self._store.reverse(uuid7(), network, reversal_id, payment_id, amount, why)
        if found is None:
            return None
        is_new, taken = found
        if is_new:
            log.warning(
                "payment_reversed", network=network, payment_id=payment_id, taken_nanousd=taken
            )
        return taken

    async def reinstated(self, payment: Payment, reversal_id: str, why: str) -> None:
        """Credits again what a reversal of a payment took back, once for its name.

        A dispute was won, or a refund failed; `why` says so.
        """
        taken = await self._store.reversal(payment.network, reversal_id)
        if taken is None:
            return
        account_id, amount = taken
        name = f"{reversal_id} reinstated"
        await self._ledger.grant(
            account_id=account_id,
            org_id=GRANTS_OF,
            amount=amount,
            reason=why,
            request_id=name,
            # `payment_taken` knows it by this name
            payment=Payment.named(payment.network, name.replace(" ", ":")),
        )
        await self._store.reinstated(payment, why)

    async def run(self) -> None:
        """Looks at those that are due, for ever; ends only by cancellation."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look_at_due()
            except OmniError as error:
                log.warning("top_ups_paused", reason=error.reason)

    async def look_at_due(self) -> int:
        """Looks at those that are due; returns how many there were."""
        due = await self._store.take_due(CHECK_SECONDS, CHECK_SECONDS_MAX, LOOKED_AT_ONCE)
        for top_up in due:
            try:
                await self.look(top_up)
            except OmniError as error:
                log.warning("top_up_not_looked_at", top_up=str(top_up.id), reason=error.reason)
            except Exception:  # what nobody foresaw of one keeps no other from its payment
                log.exception("top_up_look_failed", top_up=str(top_up.id))
        return len(due)

    async def _of_quote(
        self, actor: Actor, org_id: OrgId, account_id: AccountId, top_up_id: UUID, text: str
    ) -> TopUp:
        """The top-up of a quote, written now.

        Raises:
            NotFound: it was not quoted to this account, or too long ago.
        """
        amount = None
        if self._signed is not None:
            amount = self._signed.amount_quoted(account_id, top_up_id, text)
        if amount is None:
            raise no_top_up(top_up_id)
        return await self.create(
            actor,
            org_id=org_id,
            account_id=account_id,
            amount=amount,
            method=Method.X402,
            request_id=f"x402 {top_up_id}",
            top_up_id=top_up_id,
        )

    async def _opened(self, top_up: TopUp) -> TopUp:
        """One for which its payer has what it needs."""
        if top_up.reference or top_up.offer or top_up.state is not State.OPEN:
            return top_up
        opened = await self._way(top_up.method).open(top_up)
        if isinstance(opened, Refused):
            return await self._ended(top_up, opened)
        return await self._store.opened(top_up, opened)

    def _must_sign(self) -> SignedMethod:
        self._way(Method.X402)
        if self._signed is None:
            raise RuntimeError("x402 is a way to pay by what was signed")
        return self._signed

    def _way(self, method: Method) -> PaymentMethod:
        way = self._methods.get(method)
        if way is None:
            known = " or ".join(sorted(one.name.lower() for one in self._methods)) or "no other way"
            raise FeatureUnsupported(
                f"This service takes no payments by {method.name.lower()}; it takes {known}.",
                field="method",
            )
        return way

    def check_amount(self, amount: int, method: Method) -> None:
        """Whether such an amount can be bought so.

        Raises:
            FieldInvalid: it is out of bounds, or not in the method's steps.
        """
        if not self._amount_min <= amount <= self._amount_max:
            raise FieldInvalid(
                f"`amount_nanousd` must be {usd_text(self._amount_min)} to "
                f"{usd_text(self._amount_max)} USD here.",
                field="amount_nanousd",
            )
        step = STEPS[method]
        if amount % step:
            raise FieldInvalid(
                f"`amount_nanousd` must be whole steps of {usd_text(step)} USD for this method.",
                field="amount_nanousd",
            )

    async def _ended(self, top_up: TopUp, fate: Fate) -> TopUp:
        """Writes down a fate. What another wrote first stays."""
        match fate:
            case Paid():
                return await self._credit(top_up, fate)
            case Unknown(message):
                done = await self._store.pending(top_up, message)
            case Refused(message=message, is_final=True):
                done = await self._store.failed(
                    top_up, State.FAILED, message, told(top_up, message)
                )
            case Refused(message=message):
                done = await self._store.reopened(top_up, message)
            case Unpaid():
                done = top_up
                if top_up.state is State.OPEN and self._clock.now() >= top_up.expire_time:
                    message = "Nobody paid in time."
                    done = await self._store.failed(
                        top_up, State.EXPIRED, message, told(top_up, message)
                    )
        return done or await self._store.must_get(top_up.id)

    async def _credit(self, top_up: TopUp, paid: Paid) -> TopUp:
        """Credits what arrived; again and again changes nothing."""
        if paid.amount <= 0:
            raise FieldInvalid("The payment is of nothing.", field="x402_payment")
        try:
            await self.grant(top_up, paid)
        except RequestIdReused:  # an operator has said by what it is paid
            return await self._store.must_get(top_up.id)
        except AlreadyExists:
            message = "The payment had bought other credits before."
            log.error("payment_presented_twice", top_up=str(top_up.id), payment=paid.payment.id)
            done = await self._store.failed(top_up, State.FAILED, message, told(top_up, message))
            return done or await self._store.must_get(top_up.id)
        return await self._succeed(top_up, paid)

    async def _succeed(self, top_up: TopUp, paid: Paid) -> TopUp:
        message = ""
        if paid.amount != top_up.amount:
            message = (
                f"{usd_text(paid.amount)} USD arrived instead of {usd_text(top_up.amount)} USD, "
                "and were credited."
            )
        done = await self._store.succeeded(top_up, paid, message, told(top_up, message, paid))
        if done is not None:
            log.info("top_up_succeeded", top_up=str(top_up.id), credited_nanousd=paid.amount)
        return done or await self._store.must_get(top_up.id)


STEPS: Final = {Method.X402: 1_000, Method.CARD: 10_000_000}
"""Nano-USD in the smallest unit of a method: of USDC a millionth, of a card's dollar a cent."""


def pending_error(top_up: TopUp) -> PaymentPending:
    """What a caller is told whose payment is not final yet."""
    return PaymentPending(
        f"The payment for the top-up {top_up.id} was sent and its fate is not known yet. Do not "
        "pay again: ask for the top-up until it is final.",
        metadata={"top_up_id": str(top_up.id)},
        retry_after_s=CHECK_SECONDS,
    )


def told(top_up: TopUp, message: str, paid: Paid | None = None) -> Told:
    """What webhooks are told of a top-up that ended; `paid` is what was credited."""
    return Told(
        amount_nanousd=top_up.amount,
        credited_nanousd=0 if paid is None else paid.amount,
        payment_id="" if paid is None else paid.payment.id,
        message=message,
    )
