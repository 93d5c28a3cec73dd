"""One attempt of a call under its hold: what plain and streamed ones share.

A dispatched attempt gets exactly one end: settled by the provider's count, or by our own where it
gave none; voided where nothing was generated; unresolved where nobody knows. A caller who goes
away, a deadline and a lost lease take one way: the provider is stopped and what it had sent is
charged; where it bills on whoever leaves it, it is read on and charged by what it says.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from omni_grpc.billing import (
    AttemptCharge,
    AttemptOutcome,
    Meter,
    RequestEnd,
    RequestKey,
    Sealer,
)
from omni_grpc.completion.call import Call
from omni_grpc.completion.endings import Endings
from omni_grpc.completion.faults import Came, blame_provider, caller_error, end_attempt
from omni_grpc.completion.repeats import Repeats
from omni_grpc.completion.stops import LeaseStop
from omni_grpc.completion.tally import Tally
from omni_grpc.completion.watch import AttemptWatch
from omni_grpc.core.chat import ChatCompletion, ChatRequest, Choice
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Interrupted
from omni_grpc.core.usage import Usage
from omni_grpc.providers import ChatProvider, ProviderFault, UpstreamCall
from omni_grpc.routing import Attempt

log = structlog.get_logger(__name__)

PROVIDER_SECONDS_MORE: Final = 1.0
"""How much longer than its caller's deadline a provider's call may take: the deadline stops it
first, in a way that loses nothing of what was sent, and this much passes only if that fails."""


def meter_of(call: Call) -> Meter:
    """The call's meter.

    Raises:
        RuntimeError: there is none.
    """
    if call.meter is None:
        raise RuntimeError("the call did not come through the ledger gate")
    return call.meter


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAttempt:
    """An attempt that may be sent, and all that its running needs."""

    call: Call
    request: ChatRequest
    attempt: Attempt
    charge: AttemptCharge
    watch: AttemptWatch
    provider: ChatProvider
    lease: LeaseStop
    endings: Endings
    repeats: Repeats
    request_key: RequestKey | None
    is_last: bool
    """Whether no other provider is asked after it."""
    is_at_fee: bool
    """Whether its tokens are paid elsewhere, so that what it saved is not known here."""
    clock: Clock


class Running:
    """One attempt on its way, whatever it asks for; its hold has one end, whatever happens."""

    def __init__(
        self,
        *,
        call: Call,
        held: AttemptCharge,
        watch: AttemptWatch,
        came: Came,
        bills_on: bool,
        endings: Endings,
        clock: Clock,
    ) -> None:
        """`bills_on` says that its provider bills a call to its end, whoever leaves it."""
        self.held = held
        self.is_unresolved = False
        """Whether it failed so that nobody knows what it cost."""
        self._call = call
        self._watch = watch
        self._came = came
        self._bills_on = bills_on
        self._endings = endings
        self._clock = clock
        self._was_left = False

    def _is_told(self, usage: Usage) -> bool:
        """Whether the provider counted all that is charged."""
        return usage.prompt is not None and usage.completion is not None

    def _provider_seconds(self) -> float:
        """How long the provider's call may take.

        Raises:
            Deadline: the caller's time is over.
        """
        more = PROVIDER_SECONDS_MORE + (self._endings.drain_s if self._bills_on else 0.0)
        return self._call.seconds_left(self._clock) + more

    def _dispatch(self) -> None:
        if self._was_left:
            raise Interrupted("The call was left before it was sent to its provider.")
        self.held.dispatched()
        self._watch.begun()

    async def _settle_answered(self, usage: Usage | None, seal: Sealer) -> None:
        """Charges a whole answer: by the provider's count, or by our own where it gave none."""
        self._watch.answered(usage)
        if usage is not None and self._is_told(usage):
            self.held.settle(usage, AttemptOutcome.ANSWERED, seal)
            return

        async def settle() -> None:
            self.held.settle(await self._came.filled(usage), AttemptOutcome.ANSWERED, seal)

        await asyncio.shield(self._endings.start(self.held, settle()))

    async def _fail(self, fault: ProviderFault, usage: Usage | None) -> None:
        """Ends an attempt, and waits until its charge can be looked up, as after an answer."""
        blame_provider(fault, self._came, self._call.due - self._clock.monotonic())
        self._watch.failed(fault)
        log.info(
            "attempt_failed",
            call_id=self._call.name,
            model=self._watch.offer.id,
            cause=fault.message,
            status=fault.status,
        )

        async def end() -> None:
            self.is_unresolved = not await end_attempt(
                self.held, fault, self._came, usage, bills_on=self._bills_on
            )

        await asyncio.shield(self._endings.start(self.held, end()))
        await self.held.balance()

    async def _leave(self, ending: Coroutine[Any, Any, None]) -> None:
        """The caller is gone. Where the service itself stopped the call, it tells its cost."""
        self._was_left = True
        self._watch.left()
        task = self._endings.start(self.held, ending)
        if self._call.cancelled_by is not None and not self._bills_on:
            await asyncio.shield(task)
            self._call.cancelled_by.charged_nanousd = meter_of(self._call).charged_nanousd


class RunningAttempt(Running):
    """One attempt to complete a chat on its way."""

    def __init__(self, given: HeldAttempt) -> None:
        self._tally = Tally(given.request, given.attempt.offer.provider_model)
        super().__init__(
            call=given.call,
            held=given.charge,
            watch=given.watch,
            came=self._tally,
            bills_on=given.provider.spec.bills_after_cancel,
            endings=given.endings,
            clock=given.clock,
        )
        self._request, self.ignored = given.provider.fitted(
            given.request, reasons=given.attempt.offer.reasoning
        )
        """The request as the provider takes it, and the fields that it is not sent."""
        self._attempt = given.attempt
        self._provider = given.provider
        self._lease = given.lease
        self._repeats = given.repeats
        self._request_key = given.request_key
        self._is_last = given.is_last
        self._is_at_fee = given.is_at_fee

    @property
    def model(self) -> str:
        """The offer's id."""
        return self._attempt.offer.id

    def completion(
        self,
        choices: tuple[Choice, ...],
        system_fingerprint: str | None,
        service_tier: str | None,
        balance_nanousd: int | None,
    ) -> ChatCompletion:
        """How the call ended, once this attempt is settled."""
        meter = meter_of(self._call)
        attempts = tuple(meter.attempts)
        usage, cost = attempts[-1].usage, meter.charged_nanousd
        report = self._call.report
        return ChatCompletion(
            call_id=self._call.name,
            model=self.model,
            create_time=self._call.create_time,
            choices=choices,
            usage=usage,
            attempts=attempts,
            cost_nanousd=cost,
            balance_nanousd=balance_nanousd,
            system_fingerprint=system_fingerprint,
            service_tier=service_tier,
            ignored=self.ignored,
            savings=None
            if report is None or self._is_at_fee
            else report.saved(usage, cost, meter.markup_ppm),
        )

    def _request_end(
        self,
        choices: tuple[Choice, ...],
        system_fingerprint: str | None,
        service_tier: str | None,
    ) -> RequestEnd | None:
        """What a repeat of the call's request is answered with; None without a request id."""
        key = self._request_key
        if key is None:
            return None
        completion = self.completion(choices, system_fingerprint, service_tier, None)
        return self._repeats.end(self._call, key, completion, self.held.output_tokens_max)

    def _upstream(self) -> UpstreamCall:
        return UpstreamCall(
            request=self._request,
            model=self._attempt.offer.provider_model,
            output_tokens_max=self.held.output_tokens_max,
            call_id=self._call.name,
            seconds_left=self._provider_seconds(),
            retries=self._is_last,
        )


class FailedAttempts:
    """The attempts of a call that failed before any of an answer."""

    def __init__(self) -> None:
        self._faults: list[ProviderFault] = []
        self._is_unresolved = False

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, running: Running, fault: ProviderFault) -> None:
        """One more."""
        self._faults.append(fault)
        self._is_unresolved = self._is_unresolved or running.is_unresolved

    def never_began(self, fault: ProviderFault) -> None:
        """One more, for which nothing was held and nothing sent."""
        self._faults.append(fault)

    def error(self, call: Call) -> Exception:
        """The one error for all of them."""
        charged = meter_of(call).charged_nanousd
        return caller_error(self._faults, charged, unresolved=self._is_unresolved)
