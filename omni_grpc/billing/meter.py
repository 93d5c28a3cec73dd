"""The meter of one call: a hold before each attempt, and one end for each hold.

The meter is opened by the ledger gate, without database work, and closed by it however the call
ends. Every hold it made is then settled, voided or left as unresolved: a hold whose attempt was
never sent is voided, one whose outcome nobody stated is left to be resolved.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from omni_grpc.billing.charge import AttemptCharge
from omni_grpc.billing.journal import Journal
from omni_grpc.billing.lane import Lane
from omni_grpc.billing.leases import Leases
from omni_grpc.billing.legs import granted_legs, legs_of, tokens_of
from omni_grpc.billing.operations import (
    AttemptOutcome,
    ChatEnd,
    Code,
    Final,
    FinalOp,
    HoldOp,
    Leg,
    Origin,
    Outcome,
    RequestEnd,
    RequestEndOp,
    RequestKey,
)
from omni_grpc.billing.requests import REQUEST_ERRORS
from omni_grpc.billing.shortages import Shortages
from omni_grpc.billing.waits import wait_for_hold
from omni_grpc.core.chat import AttemptUsage, ShortCredits
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Internal
from omni_grpc.core.ids import AccountId, CallId, HoldId, KeyId, hold_id_of
from omni_grpc.core.money import (
    NanoUsd,
    Price,
    output_tokens_covered,
    worst_case,
    worst_case_of,
)
from omni_grpc.core.tenancy import BudgetRef, BudgetUnit
from omni_grpc.core.usage import Usage


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
        budgets: Sequence[BudgetRef],
        shortages: Shortages,
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
        self._budgets = budgets
        self._shortages = shortages
        self.markup_ppm = markup_ppm
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
        hold_price: Price | None = None,
        markup_ppm: int | None = None,
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
            hold_price: what to reserve by where that is dearer than `price`; no charge is made by
                it.
            markup_ppm: what is paid on top of the price, in millionths, where that is not what
                everybody pays: -1,000,000 for nothing at all.

        Raises:
            RequestRepeated: the call with this request is done; its answer can be recalled.
            RequestInProgress: it still runs.
            Interrupted: it ended early, or nobody knows yet how; what it cost stands with it.
            RequestIdReused: the request id stood for something else.
            CreditsExhausted, CreditsHeld: the account has no room; nothing is reserved.
            BudgetExhausted, BudgetHeld: a budget has none; nothing is reserved.
            LedgerUnavailable, Busy: nothing is reserved that stays reserved.
        """
        held_at = hold_price or price
        markup_ppm = self.markup_ppm if markup_ppm is None else markup_ppm
        output_max = output_tokens_max * choice_count
        most = worst_case(prompt_tokens_max, output_max, held_at, markup_ppm)
        tokens_most = tokens_least = prompt_tokens_max + output_max
        least = most
        if short_credits is ShortCredits.SHORTEN:
            least = worst_case(prompt_tokens_max, choice_count, held_at, markup_ppm)
            if least < most:  # what costs nothing is not shortened: a grant is told in dollars
                tokens_least = prompt_tokens_max + choice_count
        legs = legs_of(self._budgets, (least, most), (tokens_least, tokens_most))
        op, granted, asked_at = await self._held(
            model, credential, price, markup_ppm, least, most, legs, request
        )
        covered = output_max
        if granted < most:
            covered = output_tokens_covered(
                granted, prompt_tokens_max, output_max, held_at, markup_ppm
            )
            op = replace(op, amount_max=granted, legs=granted_legs(op, granted))
            for leg in op.legs:
                if leg.unit is BudgetUnit.TOKENS:
                    covered = min(covered, leg.amount_max - prompt_tokens_max)
        return self._charge(op, granted, price, covered // choice_count, asked_at, lease_lost)

    async def hold_for(
        self,
        most: Usage,
        *,
        model: str,
        credential: str,
        price: Price,
        lease_lost: Callable[[], None],
        request: RequestKey | None = None,
        hold_price: Price | None = None,
        markup_ppm: int | None = None,
    ) -> AttemptCharge:
        """Reserves what `most` costs, for an attempt that has no output limit to shorten.

        Everything else is as in `hold`.

        Raises:
            ValueError: something of `most` has no price.
        """
        markup_ppm = self.markup_ppm if markup_ppm is None else markup_ppm
        amount = worst_case_of(most, hold_price or price, markup_ppm)
        tokens = tokens_of(most)
        legs = legs_of(self._budgets, (amount, amount), (tokens, tokens))
        op, granted, asked_at = await self._held(
            model, credential, price, markup_ppm, amount, amount, legs, request
        )
        return self._charge(op, granted, price, most.completion or 0, asked_at, lease_lost)

    async def _held(
        self,
        model: str,
        credential: str,
        price: Price,
        markup_ppm: int,
        least: NanoUsd,
        most: NanoUsd,
        legs: tuple[Leg, ...],
        request: RequestKey | None,
    ) -> tuple[HoldOp, NanoUsd, float]:
        """The hold that was made, what it got, and when it was asked for."""
        hold_id = hold_id_of(self.call_id, self._holds_asked + 1)
        asked_at = self._clock.monotonic()
        op = HoldOp(
            id=hold_id,
            origin=Origin.ROUTER,
            wallet=self._account_id,
            amount_min=least,
            amount_max=most,
            legs=legs,
            seconds=round(self._lane.lease_s),
            key_id=self._key_id,
            model=model,
            credential=credential,
            price_version=price.version,
            markup_ppm=markup_ppm,
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
            raise await self._shortages.error(op, outcome)
        if outcome.code not in (Code.DONE, Code.ALREADY) or outcome.amount is None:
            raise Internal("The hold of this call was decided by somebody else.")
        return op, NanoUsd(outcome.amount), asked_at

    def _charge(
        self,
        op: HoldOp,
        granted: NanoUsd,
        price: Price,
        output_tokens_max: int,
        asked_at: float,
        lease_lost: Callable[[], None],
    ) -> AttemptCharge:
        """The charge of a hold that was granted, whose lease is renewed from now on."""
        markup_ppm = self.markup_ppm if op.markup_ppm is None else op.markup_ppm
        held = AttemptCharge(self, op, granted, price, markup_ppm, output_tokens_max)
        self._charges.append(held)
        self._leases.keep(op.id, asked_at, lease_lost)
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
