"""Runs a chat's plan: attempts, fallback before the first byte, the answer, what it cost.

This is the one door to providers for every transport. Each attempt has its hold before it is sent
and exactly one end, whatever becomes of its caller (`attempts`). What a provider generated is
charged once, and nothing else is.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from omni_grpc.completion.attempts import RunningAttempt, StreamPart, meter_of
from omni_grpc.completion.call import Call
from omni_grpc.completion.endings import Endings
from omni_grpc.completion.faults import caller_error, is_final
from omni_grpc.completion.stops import LeaseStop
from omni_grpc.completion.tally import COUNTED_BYTES_INLINE
from omni_grpc.core.chat import ChatCompletion, ChatRequest, Choice
from omni_grpc.core.clock import Clock
from omni_grpc.core.limits import HOLD_LEASE_SECONDS
from omni_grpc.providers import ProviderFault, Providers
from omni_grpc.routing import Attempt, Router, prompt_upper_bound

ChatEvent = StreamPart | ChatCompletion


class Chats:
    """Completes chats. One instance serves all calls of a worker."""

    def __init__(
        self,
        router: Router,
        providers: Providers,
        clock: Clock,
        *,
        lease_s: float = HOLD_LEASE_SECONDS,
    ) -> None:
        """`lease_s` is how long a hold outlives the last renewal of its lease."""
        self._router = router
        self._providers = providers
        self._clock = clock
        self._endings = Endings(lease_s)

    async def complete(self, call: Call, request: ChatRequest) -> ChatCompletion:
        """Completes a chat whole.

        Raises:
            OmniError: why there is no answer; `charged_nanousd` says what it cost all the same.
        """
        failed = _Failed()
        for attempt in await self._plan(request):
            running = await self._begin(call, request, attempt)
            try:
                found = await running.complete()
            except ProviderFault as fault:
                failed.add(running, fault)
                if is_final(fault):
                    break
                continue
            return await _completion(
                call,
                running,
                choices=found.choices,
                system_fingerprint=found.system_fingerprint,
                service_tier=found.service_tier,
            )
        raise failed.error(call)

    async def stream(self, call: Call, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Streams a chat: ChatStarted, tuples of deltas, then one ChatCompletion.

        The iterator must be closed (`contextlib.aclosing`); closing it early cancels the provider.

        Raises:
            OmniError: before ChatStarted, why there is no answer; after it, why it broke off.
        """
        failed = _Failed()
        for attempt in await self._plan(request):
            running = await self._begin(call, request, attempt)
            try:
                first = await running.open()
            except ProviderFault as fault:
                failed.add(running, fault)
                if is_final(fault):
                    break
                continue
            async with aclosing(running.rest(first)) as parts:
                async for part in parts:
                    yield part
            yield await _completion(
                call,
                running,
                choices=(),
                system_fingerprint=running.system_fingerprint,
                service_tier=running.service_tier,
            )
            return
        raise failed.error(call)

    async def drain(self, seconds: float = 0.0) -> None:
        """Waits for what ended calls still have to find out and settle.

        Providers that are read on are left after `seconds`, and charged by what came.
        """
        await self._endings.close(seconds)

    # --- one attempt --------------------------------------------------------------------------
    async def _plan(self, request: ChatRequest) -> tuple[Attempt, ...]:
        if prompt_upper_bound(request) > COUNTED_BYTES_INLINE:
            return await asyncio.to_thread(self._router.plan, request)
        return self._router.plan(request)

    async def _begin(self, call: Call, request: ChatRequest, attempt: Attempt) -> RunningAttempt:
        call.seconds_left(self._clock)
        lease = LeaseStop(call)
        held = await meter_of(call).hold(
            model=attempt.offer.id,
            credential="house",
            price=attempt.price,
            prompt_tokens_max=attempt.prompt_tokens_max,
            output_tokens_max=attempt.output_tokens_max,
            choice_count=request.sampling.choice_count or 1,
            short_credits=request.short_credits,
            lease_lost=lease,
        )
        return RunningAttempt(
            call=call,
            request=request,
            attempt=attempt,
            held=held,
            provider=self._providers.get(attempt.offer.provider),
            lease=lease,
            endings=self._endings,
            clock=self._clock,
        )


class _Failed:
    """The attempts of a call that failed before any of an answer."""

    def __init__(self) -> None:
        self._faults: list[ProviderFault] = []
        self._is_unresolved = False

    def add(self, running: RunningAttempt, fault: ProviderFault) -> None:
        self._faults.append(fault)
        self._is_unresolved = self._is_unresolved or running.is_unresolved

    def error(self, call: Call) -> Exception:
        """The one error for all of them."""
        charged = meter_of(call).charged_nanousd
        return caller_error(self._faults, charged, unresolved=self._is_unresolved)


async def _completion(
    call: Call,
    running: RunningAttempt,
    *,
    choices: tuple[Choice, ...],
    system_fingerprint: str | None,
    service_tier: str | None,
) -> ChatCompletion:
    meter = meter_of(call)
    balance = await running.held.balance()
    attempts = tuple(meter.attempts)
    return ChatCompletion(
        call_id=call.name,
        model=running.model,
        create_time=call.create_time,
        choices=choices,
        usage=attempts[-1].usage,
        attempts=attempts,
        cost_nanousd=meter.charged_nanousd,
        balance_nanousd=balance,
        system_fingerprint=system_fingerprint,
        service_tier=service_tier,
    )
