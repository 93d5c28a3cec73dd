"""Runs a chat's plan: attempts, fallback before the first byte, streaming, usage, settlement.

This is the one door to providers for every transport. Each attempt has its hold before it is sent
and exactly one end: settled by the provider's count, or by our own where it gave none; voided where
nothing was generated; unresolved where nobody knows. However the caller goes away, what a provider
generated is charged once, and nothing else is. A deadline is such a going away.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, Final

import structlog

from omni_grpc.billing import AttemptCharge, AttemptOutcome, Meter
from omni_grpc.completion.call import Call
from omni_grpc.completion.faults import (
    broken_off,
    caller_error,
    end_attempt,
    is_final,
    settle_cancelled,
)
from omni_grpc.completion.stops import in_time, lease_loser
from omni_grpc.completion.tally import COUNTED_BYTES_INLINE, Tally
from omni_grpc.core.chat import (
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    ChatStarted,
    Choice,
)
from omni_grpc.core.clock import Clock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    ChatProvider,
    ProviderFault,
    Providers,
    ProviderStream,
    UpstreamCall,
)
from omni_grpc.routing import Attempt, Router, prompt_upper_bound

log = structlog.get_logger(__name__)

PROVIDER_SECONDS_MORE: Final = 1.0
"""How much longer than its caller's deadline a provider's call may take: the deadline stops it
first, in a way that loses nothing of what was sent, and this much passes only if that fails."""

ChatEvent = ChatStarted | tuple[ChatDelta, ...] | ChatCompletion


class Chats:
    """Completes chats. One instance serves all calls of a worker."""

    def __init__(self, router: Router, providers: Providers, clock: Clock) -> None:
        self._router = router
        self._providers = providers
        self._clock = clock
        self._finishing: set[asyncio.Task[None]] = set()

    async def complete(self, call: Call, request: ChatRequest) -> ChatCompletion:
        """Completes a chat whole.

        Raises:
            OmniError: why there is no answer; `charged_nanousd` says what it cost all the same.
        """
        meter = _meter_of(call)
        faults: list[ProviderFault] = []
        for attempt in await self._plan(request):
            held, provider = await self._hold(call, meter, request, attempt)
            try:
                completion = await self._answer(call, request, attempt, held, provider)
            except ProviderFault as fault:
                faults.append(fault)
                if is_final(fault):
                    break
                continue
            return completion
        raise caller_error(faults, meter.charged_nanousd)

    async def stream(self, call: Call, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Streams a chat: ChatStarted, tuples of deltas, then one ChatCompletion.

        The iterator must be closed (`contextlib.aclosing`); closing it early cancels the provider.

        Raises:
            OmniError: before ChatStarted, why there is no answer; after it, why it broke off.
        """
        meter = _meter_of(call)
        faults: list[ProviderFault] = []
        for attempt in await self._plan(request):
            held, provider = await self._hold(call, meter, request, attempt)
            tally = Tally(request, attempt.offer.provider_model)
            stream = provider.open_stream(
                self._upstream(call, request, attempt, held), held.dispatched
            )
            try:
                with in_time(call, self._clock):
                    await stream
                    deltas = await anext(stream, ())
            except ProviderFault as fault:
                await self._failed(stream, held, tally, fault)
                faults.append(fault)
                if is_final(fault):
                    break
                continue
            except BaseException:
                await self._tell_cost(call, self._abandon(stream, held, tally))
                raise
            async with aclosing(self._rest(call, attempt, held, stream, tally, deltas)) as rest:
                async for event in rest:
                    yield event
            return
        raise caller_error(faults, meter.charged_nanousd)

    async def drain(self) -> None:
        """Waits for what ended calls still have to find out and settle."""
        while self._finishing:
            await asyncio.wait(set(self._finishing))

    # --- one attempt --------------------------------------------------------------------------
    async def _plan(self, request: ChatRequest) -> tuple[Attempt, ...]:
        if prompt_upper_bound(request) > COUNTED_BYTES_INLINE:
            return await asyncio.to_thread(self._router.plan, request)
        return self._router.plan(request)

    async def _hold(
        self, call: Call, meter: Meter, request: ChatRequest, attempt: Attempt
    ) -> tuple[AttemptCharge, ChatProvider]:
        call.seconds_left(self._clock)
        held = await meter.hold(
            model=attempt.offer.id,
            credential="house",
            price=attempt.price,
            prompt_tokens_max=attempt.prompt_tokens_max,
            output_tokens_max=attempt.output_tokens_max,
            choice_count=request.sampling.choice_count or 1,
            short_credits=request.short_credits,
            lease_lost=lease_loser(call),
        )
        return held, self._providers.get(attempt.offer.provider)

    def _upstream(
        self, call: Call, request: ChatRequest, attempt: Attempt, held: AttemptCharge
    ) -> UpstreamCall:
        return UpstreamCall(
            request=request,
            model=attempt.offer.provider_model,
            output_tokens_max=held.output_tokens_max,
            call_id=call.name,
            seconds_left=call.seconds_left(self._clock) + PROVIDER_SECONDS_MORE,
        )

    async def _tell_cost(self, call: Call, ending: "asyncio.Task[None]") -> None:
        """Where the service itself stopped a call, waits for its cost, to tell it to the caller."""
        if call.cancelled_by is not None:
            await asyncio.shield(ending)
            call.cancelled_by.charged_nanousd = _meter_of(call).charged_nanousd

    async def _answer(
        self,
        call: Call,
        request: ChatRequest,
        attempt: Attempt,
        held: AttemptCharge,
        provider: ChatProvider,
    ) -> ChatCompletion:
        tally = Tally(request, attempt.offer.provider_model)
        try:
            with in_time(call, self._clock):
                found = await provider.complete(
                    self._upstream(call, request, attempt, held), held.dispatched
                )
        except ProviderFault as fault:
            await self._fail(held, tally, fault, None)
            raise
        except asyncio.CancelledError:
            # The provider read the prompt; of an answer it sent nothing.
            ending = self._finish(held, settle_cancelled(held, tally, None))
            await self._tell_cost(call, ending)
            raise
        if found.usage is None:
            tally.add_choices(found.choices)
        await self._settle_answered(held, tally, found.usage)
        return await _completion(
            call,
            held,
            attempt.offer.id,
            choices=found.choices,
            system_fingerprint=found.system_fingerprint,
            service_tier=found.service_tier,
        )

    async def _rest(
        self,
        call: Call,
        attempt: Attempt,
        held: AttemptCharge,
        stream: ProviderStream,
        tally: Tally,
        deltas: tuple[ChatDelta, ...],
    ) -> AsyncGenerator[ChatEvent, None]:
        """The stream from its first deltas on: from here there is no fallback."""
        try:
            tally.add(deltas)
            with in_time(call, self._clock):
                yield ChatStarted(
                    call_id=call.name,
                    model=attempt.offer.id,
                    create_time=call.create_time,
                    output_tokens_max=held.output_tokens_max,
                )
                if deltas:
                    yield deltas
                async for more in stream:
                    tally.add(more)
                    yield more
        except ProviderFault as fault:
            await self._failed(stream, held, tally, fault)
            raise broken_off(fault, _meter_of(call).charged_nanousd) from fault
        except BaseException:
            await self._tell_cost(call, self._abandon(stream, held, tally))
            raise
        await self._settle_answered(held, tally, stream.usage)
        await stream.aclose()
        yield await _completion(
            call,
            held,
            attempt.offer.id,
            choices=(),
            system_fingerprint=stream.system_fingerprint,
            service_tier=stream.service_tier,
        )

    async def _settle_answered(
        self, held: AttemptCharge, tally: Tally, usage: Usage | None
    ) -> None:
        """Charges a whole answer: by the provider's count, or by our own where it gave none."""
        if usage is not None:
            held.settle(usage, AttemptOutcome.ANSWERED)
            return

        async def settle() -> None:
            held.settle(await tally.count(), AttemptOutcome.ANSWERED)

        await asyncio.shield(self._finish(held, settle()))

    async def _failed(
        self, stream: ProviderStream, held: AttemptCharge, tally: Tally, fault: ProviderFault
    ) -> None:
        """Ends a streamed attempt by what its provider did."""
        await self._fail(held, tally, fault, stream.usage)
        await stream.aclose()

    async def _fail(
        self, held: AttemptCharge, tally: Tally, fault: ProviderFault, usage: Usage | None
    ) -> None:
        """Ends an attempt, and waits until its charge can be looked up, as after an answer."""
        await asyncio.shield(self._finish(held, end_attempt(held, fault, tally, usage)))
        await held.balance()

    def _abandon(
        self, stream: ProviderStream, held: AttemptCharge, tally: Tally
    ) -> "asyncio.Task[None]":
        """The caller is gone: stops the provider, then charges what it had sent until then."""

        async def stop() -> None:
            try:
                tally.add(await stream.cancel())
            except ProviderFault as fault:
                log.info("cancel_found_fault", fault=fault.message)
            finally:
                await settle_cancelled(held, tally, stream.usage if stream.ended else None)

        return self._finish(held, stop())

    def _finish(self, held: AttemptCharge, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Ends a hold in a task of its own, since the caller's may be cancelled at any await."""
        held.hand_over()
        task = asyncio.create_task(work)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return task


def _meter_of(call: Call) -> Meter:
    if call.meter is None:
        raise RuntimeError("the call did not come through the ledger gate")
    return call.meter


async def _completion(
    call: Call,
    held: AttemptCharge,
    model: str,
    *,
    choices: tuple[Choice, ...],
    system_fingerprint: str | None,
    service_tier: str | None,
) -> ChatCompletion:
    meter = _meter_of(call)
    balance = await held.balance()
    attempts = tuple(meter.attempts)
    return ChatCompletion(
        call_id=call.name,
        model=model,
        create_time=call.create_time,
        choices=choices,
        usage=attempts[-1].usage,
        attempts=attempts,
        cost_nanousd=meter.charged_nanousd,
        balance_nanousd=balance,
        system_fingerprint=system_fingerprint,
        service_tier=service_tier,
    )
