"""One attempt of a call, from its first byte to the end of its hold.

A dispatched attempt gets exactly one end: settled by the provider's count, or by our own where it
gave none; voided where nothing was generated; unresolved where nobody knows. A caller who goes
away, a deadline and a lost lease take one way: the provider is stopped and what it had sent is
charged; where it bills on whoever leaves it, it is read on and charged by what it says.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
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
from omni_grpc.completion.faults import broken_off, end_attempt, settle_cancelled
from omni_grpc.completion.gathering import Gathering
from omni_grpc.completion.repeats import Repeats
from omni_grpc.completion.stops import LeaseStop, in_time
from omni_grpc.completion.tally import Tally
from omni_grpc.core.chat import ChatCompletion, ChatDelta, ChatRequest, ChatStarted, Choice
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Interrupted, OmniError
from omni_grpc.core.money import NanoUsd
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    ChatProvider,
    ProviderCompletion,
    ProviderFault,
    ProviderStream,
    UpstreamCall,
)
from omni_grpc.routing import Attempt

log = structlog.get_logger(__name__)

PROVIDER_SECONDS_MORE: Final = 1.0
"""How much longer than its caller's deadline a provider's call may take: the deadline stops it
first, in a way that loses nothing of what was sent, and this much passes only if that fails."""

PROGRESS_SECONDS: Final = 1.0
"""How often a running answer's usage is told to the journal: what a killed worker loses."""

COUNT_TOLERANCE: Final = 1.25
"""How far above its output limit an answer may be by our count before it is cut. Providers count
with other tokenizers, and some need a fifth fewer tokens for a language: an answer within its limit
there must not be cut here. It is also the operator's greatest exposure above a hold."""

COUNT_TOLERANCE_TOKENS: Final = 16
"""The same for answers of a few tokens."""

StreamPart = ChatStarted | tuple[ChatDelta, ...]


def meter_of(call: Call) -> Meter:
    """The call's meter.

    Raises:
        RuntimeError: there is none.
    """
    if call.meter is None:
        raise RuntimeError("the call did not come through the ledger gate")
    return call.meter


class RunningAttempt:
    """One attempt under its hold. `complete` it, or `open` it and read its `rest`; once."""

    def __init__(
        self,
        *,
        call: Call,
        request: ChatRequest,
        attempt: Attempt,
        held: AttemptCharge,
        provider: ChatProvider,
        lease: LeaseStop,
        endings: Endings,
        repeats: Repeats,
        request_key: RequestKey | None,
        clock: Clock,
    ) -> None:
        self.held = held
        self.is_unresolved = False
        """Whether it failed so that nobody knows what it cost."""
        self._call = call
        self._request = request
        self._attempt = attempt
        self._provider = provider
        self._bills_on = provider.spec.bills_after_cancel
        self._lease = lease
        self._endings = endings
        self._repeats = repeats
        self._request_key = request_key
        self._gathering = Gathering() if request_key and repeats.keeps_answers else None
        self._clock = clock
        self._tally = Tally(request, attempt.offer.provider_model)
        choices = request.sampling.choice_count or 1
        self._tokens_max = int(
            held.output_tokens_max * choices * COUNT_TOLERANCE + COUNT_TOLERANCE_TOKENS
        )
        self._progress_due = 0.0
        self._was_left = False
        self._answering: asyncio.Task[ProviderCompletion] | None = None
        self._stream: ProviderStream | None = None

    @property
    def model(self) -> str:
        """The offer's id."""
        return self._attempt.offer.id

    @property
    def system_fingerprint(self) -> str | None:
        """A streamed answer's mark of the backend that gave it."""
        return None if self._stream is None else self._stream.system_fingerprint

    @property
    def service_tier(self) -> str | None:
        """The tier that a stream was served in."""
        return None if self._stream is None else self._stream.service_tier

    # --- plain --------------------------------------------------------------------------------
    async def complete(self) -> ProviderCompletion:
        """The whole answer, settled.

        Raises:
            ProviderFault: there is none; the hold has its end.
            OmniError: nothing was sent.
        """
        try:
            with in_time(self._call, self._clock, bills_on=self._bills_on):
                found = await self._answer()
        except ProviderFault as fault:
            await self._fail(fault, None)
            raise
        except asyncio.CancelledError:
            await self._leave(self._end_left_answer())
            raise
        self._tally.add_choices(found.choices)

        def seal(_charged: NanoUsd) -> RequestEnd | None:
            return self._request_end(found.choices, found.system_fingerprint, found.service_tier)

        await self._settle_answered(found.usage, seal)
        return found

    async def _answer(self) -> ProviderCompletion:
        answer = self._provider.complete(self._upstream(), self._dispatch, self.held.provider_id)
        if not self._bills_on:
            return await answer
        self._answering = asyncio.create_task(answer)  # it outlives a caller who leaves
        return await asyncio.shield(self._answering)

    async def _end_left_answer(self) -> None:
        answering = self._answering
        if answering is not None:
            if not (self.held.was_dispatched and self._endings.has_room):
                answering.cancel()
            if await self._endings.read_on(answering, self._lease):
                await self._end_read_answer(answering)
                return
        # The provider read the prompt; of an answer it sent nothing.
        await settle_cancelled(self.held, self._tally, None)

    async def _end_read_answer(self, answering: "asyncio.Task[ProviderCompletion]") -> None:
        try:
            found = answering.result()
        except ProviderFault as fault:
            await end_attempt(self.held, fault, self._tally, None, bills_on=self._bills_on)
        except OmniError:  # it was left before it was sent
            self.held.void(AttemptOutcome.CANCELLED)
        else:
            self._tally.add_choices(found.choices)
            await settle_cancelled(self.held, self._tally, found.usage)

    # --- streamed -----------------------------------------------------------------------------
    async def open(self) -> tuple[ChatDelta, ...]:
        """The first deltas; none where the answer is empty.

        Raises:
            ProviderFault: there are none; the hold has its end.
            OmniError: nothing was sent.
        """
        stream = self._stream = self._provider.open_stream(
            self._upstream(), self._dispatch, self.held.provider_id
        )
        try:
            with in_time(self._call, self._clock, bills_on=self._bills_on):
                await stream
                return await anext(stream, ())
        except ProviderFault as fault:
            await self._fail(fault, stream.usage)
            await stream.aclose()
            raise
        except OmniError:
            raise  # the ledger gate frees a hold that nothing was sent under
        except BaseException:
            await self._leave(self._end_left_stream(stream))
            raise

    async def rest(self, first: tuple[ChatDelta, ...]) -> AsyncGenerator[StreamPart, None]:
        """ChatStarted, the first deltas and all others, then settled. From here on no fallback.

        Raises:
            OmniError: the answer broke off; the hold has its end.
        """
        stream, tally = self._stream, self._tally
        if stream is None:
            raise RuntimeError("an attempt is opened before it is read")
        monotonic = self._clock.monotonic
        is_over = False
        try:
            with in_time(self._call, self._clock, bills_on=self._bills_on):
                self._take(first)
                yield self._started()
                if first:
                    await self._tell_progress(stream)
                    yield first
                    is_over = tally.exceeds(self._tokens_max)
                while not is_over:
                    try:
                        deltas = await anext(stream)
                    except StopAsyncIteration:
                        break
                    self._take(deltas)
                    if monotonic() >= self._progress_due:
                        await self._tell_progress(stream)
                    yield deltas
                    is_over = tally.exceeds(self._tokens_max)
        except ProviderFault as fault:
            await self._fail(fault, stream.usage)
            await stream.aclose()
            raise broken_off(fault, meter_of(self._call).charged_nanousd) from fault
        except BaseException:
            await self._leave(self._end_left_stream(stream))
            raise
        await stream.aclose()
        if cut := await self._conclude(stream, is_over=is_over):
            yield cut

    async def _conclude(self, stream: ProviderStream, *, is_over: bool) -> tuple[ChatDelta, ...]:
        """Settles a whole answer; what says of each choice that the service cut it."""
        cut: tuple[ChatDelta, ...] = ()
        if is_over:
            log.warning("output_limit_ignored", model=self.model, call_id=self._call.name)
            cut = self._tally.cut()
            if self._gathering is not None:
                self._gathering.add(cut)

        def seal(_charged: NanoUsd) -> RequestEnd | None:
            choices = () if self._gathering is None else self._gathering.choices()
            return self._request_end(choices, stream.system_fingerprint, stream.service_tier)

        await self._settle_answered(stream.usage, seal)
        return cut

    async def _end_left_stream(self, stream: ProviderStream) -> None:
        """Stops the provider, then charges what it had sent until then, or what it says."""
        try:
            if self._bills_on and self.held.was_dispatched and self._endings.has_room:
                reading = asyncio.create_task(self._read_on(stream))
                if await self._endings.read_on(reading, self._lease):
                    reading.result()
            self._tally.add(await stream.cancel())
        except ProviderFault as fault:
            await stream.aclose()
            await end_attempt(self.held, fault, self._tally, stream.usage, bills_on=self._bills_on)
        else:
            await settle_cancelled(self.held, self._tally, stream.usage)

    async def _read_on(self, stream: ProviderStream) -> None:
        """Reads to the provider's usage, or until more than the hold is reached."""
        async with aclosing(stream.drain()) as rest:
            async for deltas in rest:
                self._tally.add(deltas)
                if self._clock.monotonic() >= self._progress_due:
                    await self._tell_progress(stream)
                if self._tally.exceeds(self._tokens_max):
                    return

    def _take(self, deltas: tuple[ChatDelta, ...]) -> None:
        self._tally.add(deltas)
        if self._gathering is not None:
            self._gathering.add(deltas)

    def _started(self) -> ChatStarted:
        return ChatStarted(
            call_id=self._call.name,
            model=self.model,
            create_time=self._call.create_time,
            output_tokens_max=self.held.output_tokens_max,
        )

    # --- both ---------------------------------------------------------------------------------
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
        return ChatCompletion(
            call_id=self._call.name,
            model=self.model,
            create_time=self._call.create_time,
            choices=choices,
            usage=attempts[-1].usage,
            attempts=attempts,
            cost_nanousd=meter.charged_nanousd,
            balance_nanousd=balance_nanousd,
            system_fingerprint=system_fingerprint,
            service_tier=service_tier,
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
        more = PROVIDER_SECONDS_MORE + (self._endings.drain_s if self._bills_on else 0.0)
        return UpstreamCall(
            request=self._request,
            model=self._attempt.offer.provider_model,
            output_tokens_max=self.held.output_tokens_max,
            call_id=self._call.name,
            seconds_left=self._call.seconds_left(self._clock) + more,
        )

    def _dispatch(self) -> None:
        if self._was_left:
            raise Interrupted("The call was left before it was sent to its provider.")
        self.held.dispatched()

    async def _tell_progress(self, stream: ProviderStream) -> None:
        """Tells the journal how far the answer came; a long prompt is not counted at once."""
        is_first = self._progress_due == 0.0
        self._progress_due = self._clock.monotonic() + PROGRESS_SECONDS
        usage = stream.usage
        if usage is None or usage.prompt is None or usage.completion is None:
            if is_first and not self._tally.is_quick:
                return
            usage = await self._tally.so_far()
        self.held.progress(usage)

    async def _settle_answered(self, usage: Usage | None, seal: Sealer) -> None:
        """Charges a whole answer: by the provider's count, or by our own where it gave none."""
        if usage is not None and usage.prompt is not None and usage.completion is not None:
            self.held.settle(usage, AttemptOutcome.ANSWERED, seal)
            return

        async def settle() -> None:
            self.held.settle(await self._tally.filled(usage), AttemptOutcome.ANSWERED, seal)

        await asyncio.shield(self._endings.start(self.held, settle()))

    async def _fail(self, fault: ProviderFault, usage: Usage | None) -> None:
        """Ends an attempt, and waits until its charge can be looked up, as after an answer."""

        async def end() -> None:
            self.is_unresolved = not await end_attempt(
                self.held, fault, self._tally, usage, bills_on=self._bills_on
            )

        await asyncio.shield(self._endings.start(self.held, end()))
        await self.held.balance()

    async def _leave(self, ending: Coroutine[Any, Any, None]) -> None:
        """The caller is gone. Where the service itself stopped the call, it tells its cost."""
        self._was_left = True
        task = self._endings.start(self.held, ending)
        if self._call.cancelled_by is not None and not self._bills_on:
            await asyncio.shield(task)
            self._call.cancelled_by.charged_nanousd = meter_of(self._call).charged_nanousd
