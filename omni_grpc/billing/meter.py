"""The meter of one call: a hold before each attempt, and one end for each hold.

The meter is opened by the ledger gate, without database work, and closed by it however the call
ends. Every hold it made is then settled, voided or left as unresolved: a hold whose attempt was
never sent is voided, one whose outcome nobody stated is left to be resolved.

What the database cannot know yet when the worker dies stands in the journal before it matters: a
hold before its provider is called, an end before the caller hears of it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from typing import Final as Constant

import structlog

from omni_grpc.billing.journal import Journal
from omni_grpc.billing.lane import Lane
from omni_grpc.billing.leases import Leases
from omni_grpc.billing.operations import (
    AttemptOutcome,
    ChatEnd,
    Code,
    Final,
    FinalOp,
    HoldOp,
    Origin,
    Outcome,
    RequestEnd,
    RequestEndOp,
    RequestKey,
)
from omni_grpc.billing.requests import REQUEST_ERRORS
from omni_grpc.core.chat import AttemptUsage, ShortCredits
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import CreditsExhausted, CreditsHeld, Internal, LedgerUnavailable
from omni_grpc.core.ids import AccountId, CallId, HoldId, KeyId, hold_id_of
from omni_grpc.core.limits import (
    LEDGER_WAIT_SECONDS_MAX,
    SETTLE_WAIT_SECONDS_MAX,
)
from omni_grpc.core.money import (
    NanoUsd,
    Price,
    charge,
    output_tokens_covered,
    usd_text,
    worst_case,
)
from omni_grpc.core.usage import Usage

log = structlog.get_logger(__name__)

PROVIDER_REF_CHARS_MAX: Constant = 128
"""Longest name of an answer that is kept; providers' own have about 40 characters."""


Sealer = Callable[[NanoUsd], RequestEnd | None]
"""Makes the end of a call's request from what its last attempt was charged."""


class _State(Enum):
    HELD = auto()
    DISPATCHED = auto()
    HANDED_OVER = auto()
    FINAL = auto()


class AttemptCharge:
    """The hold of one attempt, until it is final. Exactly one of its ends is called."""

    def __init__(
        self,
        meter: "Meter",
        hold: HoldOp,
        granted: NanoUsd,
        price: Price,
        markup_ppm: int,
        output_tokens_max: int,
    ) -> None:
        self.output_tokens_max = output_tokens_max
        """What the grant covers, for each choice: the limit to send to the provider."""
        self.model = hold.model or ""
        self.granted = granted
        """What is held."""
        self._meter = meter
        self._hold = hold
        self._hold_id = hold.id
        self._price = price
        self._markup_ppm = markup_ppm
        self._state = _State.HELD
        self.was_dispatched = False
        """Whether a byte of the request may have reached the provider."""
        self._provider_ref: str | None = None
        self._settled: asyncio.Future[Outcome] | None = None

    @property
    def final(self) -> bool:
        """Whether its end is stated."""
        return self._state is _State.FINAL

    def dispatched(self) -> None:
        """Called right before the first byte may reach the provider.

        Raises:
            LedgerUnavailable: the journal cannot be written; nothing may be sent.
        """
        if self.was_dispatched:
            return
        self._meter.journal.dispatched(self._hold, self.granted, self._price)
        self._state = _State.DISPATCHED
        self.was_dispatched = True

    def provider_id(self, text: str) -> None:
        """Called once, when the provider first named its answer: the name its own records have."""
        if text.isascii() and text.isprintable():
            self._provider_ref = text[:PROVIDER_REF_CHARS_MAX]
            # A provider that thinks for long names its answer long before anything of it comes.
            self._meter.journal.progress(self._hold_id, None, self._provider_ref)

    def progress(self, usage: Usage) -> None:
        """Called with the first of an answer and then at most once a second: usage so far."""
        self._meter.journal.progress(self._hold_id, usage, self._provider_ref)

    def cost(self, usage: Usage) -> NanoUsd:
        """What `usage` costs at this attempt's price, also above the hold."""
        return charge(usage, self._price, self._markup_ppm)

    def hand_over(self) -> None:
        """Says that a task which outlives the call will state its end."""
        self._state = _State.HANDED_OVER

    def settle(
        self, usage: Usage, outcome: AttemptOutcome, sealer: Sealer = lambda _charged: None
    ) -> NanoUsd:
        """Charges what `usage` costs; returns the charge, which is never above the hold.

        The operation is queued before this returns, so a cancelled caller cannot lose it.
        `sealer` makes what a repeat of the call's request is answered with.
        """
        cost = self.cost(usage)
        charged = NanoUsd(min(cost, self.granted))
        self._meter.note(self._usage(outcome, usage, charged))
        self._end(Final.SETTLE, outcome, usage, cost, sealer(charged))
        if cost > self.granted:
            log.warning(
                "cost_above_hold",
                hold_id=str(self._hold_id),
                model=self.model,
                held_nanousd=self.granted,
                cost_nanousd=cost,
            )
        return charged

    def void(self, outcome: AttemptOutcome) -> None:
        """Frees the hold: the attempt was never sent, or its provider charges nothing for it."""
        self._end(Final.VOID, outcome, None, 0)
        self._meter.note(self._usage(outcome, Usage(), NanoUsd(0)))

    def leave_unresolved(self) -> None:
        """Keeps the money reserved: nobody knows what the provider did."""
        self._end(Final.UNRESOLVED, None, None, 0)

    async def balance(self) -> int | None:
        """What the account can spend after the settle; None if the ledger is slow to say.

        The settle itself stays queued whatever becomes of the caller.
        """
        if self._settled is None or not self._meter.ledger_answers:
            return None
        try:
            outcome = await _within(SETTLE_WAIT_SECONDS_MAX, self._settled)
        except (LedgerUnavailable, Internal):
            return None
        return outcome.available

    def close(self) -> None:
        """The gate's guarantee for an attempt whose end nobody stated."""
        if self._state is _State.HELD:
            self.void(AttemptOutcome.FAILED)
        elif self._state is _State.DISPATCHED:
            log.error("attempt_left_open", hold_id=str(self._hold_id), model=self.model)
            self.leave_unresolved()

    def _end(
        self,
        kind: Final,
        outcome: AttemptOutcome | None,
        usage: Usage | None,
        cost: int,
        ends: RequestEnd | None = None,
    ) -> None:
        if self._state is _State.FINAL:
            raise RuntimeError(f"hold {self._hold_id} is final already")
        self._state = _State.FINAL
        final = FinalOp(
            id=self._hold_id,
            kind=kind,
            origin=Origin.ROUTER,
            wallet=self._hold.wallet,
            cost=cost,
            outcome=outcome,
            usage=usage,
            provider_ref=self._provider_ref,
            hold=self._hold,
            ends=ends,
        )
        if self.was_dispatched:
            self._meter.journal.final(final)
        self._settled = self._meter.finish(final)

    def _usage(self, outcome: AttemptOutcome, usage: Usage, cost: NanoUsd) -> AttemptUsage:
        return AttemptUsage(
            model=self.model,
            outcome=outcome.name.lower(),
            usage=usage,
            cost_nanousd=cost,
            price_version=self._price.version,
        )


class Meter:
    """All attempts of one call. Not for use by two tasks at once."""

    def __init__(
        self,
        *,
        lane: Lane,
        leases: Leases,
        journal: Journal,
        clock: Clock,
        call_id: CallId,
        account_id: AccountId,
        key_id: KeyId,
        markup_ppm: int,
    ) -> None:
        self.attempts: list[AttemptUsage] = []
        self.call_id = call_id
        self.journal = journal
        self._request: RequestKey | None = None
        self._is_done = False
        self._lane = lane
        self._leases = leases
        self._clock = clock
        self._account_id = account_id
        self._key_id = key_id
        self._markup_ppm = markup_ppm
        self._charges: list[AttemptCharge] = []
        self._holds_asked = 0

    @property
    def ledger_answers(self) -> bool:
        """Whether it is worth waiting for the ledger."""
        return self._lane.connected

    @property
    def charged_nanousd(self) -> int:
        """What all attempts of this call were charged so far."""
        return sum(attempt.cost_nanousd for attempt in self.attempts)

    async def hold(
        self,
        *,
        model: str,
        credential: str,
        price: Price,
        prompt_tokens_max: int,
        output_tokens_max: int,
        choice_count: int,
        short_credits: ShortCredits,
        lease_lost: Callable[[], None],
        request: RequestKey | None = None,
    ) -> AttemptCharge:
        """Reserves the worst case of one attempt; no provider may be called without it.

        Args:
            model: the offer, `provider/model`.
            credential: whose key calls the provider, as the record shall name it.
            price: the price version that is pinned for this attempt.
            prompt_tokens_max: an upper bound of the prompt.
            output_tokens_max: the wanted output limit of each choice.
            choice_count: how many choices are generated.
            short_credits: SHORTEN takes the output limit that the credits cover, if at least 1.
            lease_lost: called when this worker must stop the attempt; see `Leases`.
            request: the caller's own name for the call, the same for all attempts.

        Raises:
            RequestRepeated: the call with this request is done; its answer can be recalled.
            RequestInProgress: it still runs.
            Interrupted: it ended early, or nobody knows yet how; what it cost stands with it.
            RequestIdReused: the request id stood for something else.
            CreditsExhausted, CreditsHeld: the account has no room; nothing is reserved.
            LedgerUnavailable, Busy: nothing is reserved that stays reserved.
        """
        hold_id = hold_id_of(self.call_id, self._holds_asked + 1)
        most = worst_case(
            prompt_tokens_max, output_tokens_max * choice_count, price, self._markup_ppm
        )
        least = most
        if short_credits is ShortCredits.SHORTEN:
            least = worst_case(prompt_tokens_max, choice_count, price, self._markup_ppm)
        asked_at = self._clock.monotonic()
        op = HoldOp(
            id=hold_id,
            origin=Origin.ROUTER,
            wallet=self._account_id,
            amount_min=least,
            amount_max=most,
            seconds=round(self._lane.lease_s),
            key_id=self._key_id,
            model=model,
            credential=credential,
            price_version=price.version,
            markup_ppm=self._markup_ppm,
            request=request,
        )
        result = self._lane.hold(op)
        # An id that was asked for is never asked for again: the void of a hold that was given up
        # would free the hold that took its place.
        self._holds_asked += 1
        try:
            outcome = await wait_for_hold(result)
        except BaseException:
            self._give_up(hold_id, result)
            raise
        if outcome.code in REQUEST_ERRORS:
            self._holds_asked -= 1  # nothing was made under this id
            raise REQUEST_ERRORS[outcome.code](outcome)
        self._request = request
        if outcome.code is Code.SHORT:
            self._holds_asked -= 1  # nothing was made under this id
            raise short_error(outcome, least)
        if outcome.code not in (Code.DONE, Code.ALREADY) or outcome.amount is None:
            raise Internal("The hold of this call was decided by somebody else.")
        granted = NanoUsd(outcome.amount)
        covered = output_tokens_max
        if granted < most:
            covered = (
                output_tokens_covered(
                    granted,
                    prompt_tokens_max,
                    output_tokens_max * choice_count,
                    price,
                    self._markup_ppm,
                )
                // choice_count
            )
            op = replace(op, amount_max=granted)
        held = AttemptCharge(self, op, granted, price, self._markup_ppm, covered)
        self._charges.append(held)
        self._leases.keep(hold_id, asked_at, lease_lost)
        return held

    def _give_up(self, hold_id: HoldId, result: "asyncio.Future[Outcome]") -> None:
        """Voids a hold that was granted in the moment in which its caller was stopped.

        If it is granted later, the lane sees that nobody waits, and voids it.
        """
        if not result.done() or result.cancelled() or result.exception() is not None:
            return
        if result.result().code in (Code.DONE, Code.ALREADY):
            self._lane.apply(
                FinalOp(
                    id=hold_id,
                    kind=Final.VOID,
                    origin=Origin.ROUTER,
                    wallet=self._account_id,
                    outcome=AttemptOutcome.FAILED,
                )
            )

    def note(self, attempt: AttemptUsage) -> None:
        """Remembers how an attempt ended, for the call's usage."""
        self.attempts.append(attempt)

    def finish(self, final: FinalOp) -> asyncio.Future[Outcome]:
        """Queues the end of a hold of this call."""
        self._leases.release(final.id)
        self._is_done = self._is_done or final.ends is not None
        return self._lane.apply(final, impatient=True)

    def close(self) -> None:
        """Ends what nobody ended; called by the ledger gate, once, and does not wait."""
        for held in self._charges:
            if not held.final:
                held.close()
        request = self._request
        if request is not None and not self._is_done and not self.charged_nanousd:
            # It failed without a charge, as far as is known; the ledger sees for itself.
            ends = RequestEnd(request.principal, request.request_id, self.call_id, ChatEnd.FREE)
            self._lane.apply(RequestEndOp(self.call_id, ends))


async def wait_for_hold(result: "asyncio.Future[Outcome]") -> Outcome:
    """Waits a bounded time for a hold. A hold that is granted later is voided by the lane.

    Raises:
        LedgerUnavailable: the time is over, or the database is away.
    """
    return await _within(LEDGER_WAIT_SECONDS_MAX, result)


async def _within(seconds: float, result: "asyncio.Future[Outcome]") -> Outcome:
    """Waits for an operation of the lane, which goes on by itself when the time is over.

    A timer that fails the future costs a fifth of `asyncio.timeout` [measured], twice a call.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _too_slow, result)
    try:
        return await result
    finally:
        timer.cancel()


def _too_slow(result: "asyncio.Future[Outcome]") -> None:
    if not result.done():
        result.set_exception(
            LedgerUnavailable(
                "The ledger's database is too slow to answer. A call that was waiting for its "
                "hold was not started, and nothing is charged for it; try again shortly.",
                retry_after_s=1.0,
            )
        )


def short_error(outcome: Outcome, needed: int) -> CreditsExhausted | CreditsHeld:
    """Says what is needed, what is there, and whether waiting can help."""
    posted, pending = outcome.posted or 0, outcome.pending or 0
    facts = {
        "needed_nanousd": str(needed),
        "posted_nanousd": str(posted),
        "held_nanousd": str(pending),
        "available_nanousd": str(posted - pending),
    }
    if posted >= needed:
        return CreditsHeld(
            f"This needs {usd_text(needed)} USD; the account has {usd_text(posted)} USD, but "
            f"calls in flight hold {usd_text(pending)} USD of it. Try again when they end.",
            metadata=facts,
            retry_after_s=1.0,
        )
    return CreditsExhausted(
        f"This may cost up to {usd_text(needed)} USD; the account has {usd_text(posted)} USD. "
        "Add credits, lower the output limit, or ask for a shortened answer "
        "(short_credits: shorten).",
        metadata=facts,
    )
