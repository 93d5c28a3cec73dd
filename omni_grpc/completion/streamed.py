"""A streamed attempt: read as it comes, watched for its limit, told to the journal.

The answer of a provider that ignores its output limit is cut where our count says that the limit is
passed: the caller gets it as any answer that reached its limit, and pays at most what was held.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import structlog

from omni_grpc.billing import RequestEnd
from omni_grpc.completion.attempts import HeldAttempt, RunningAttempt, meter_of
from omni_grpc.completion.faults import broken_off, end_attempt, settle_cancelled
from omni_grpc.completion.gathering import Gathering
from omni_grpc.completion.stops import in_time
from omni_grpc.core.chat import ChatDelta, ChatStarted
from omni_grpc.core.errors import OmniError
from omni_grpc.core.money import NanoUsd
from omni_grpc.providers import ProviderFault, ProviderStream

log = structlog.get_logger(__name__)

PROGRESS_SECONDS: Final = 1.0
"""How often a running answer's usage is told to the journal: what a killed worker loses."""

COUNT_TOLERANCE: Final = 1.25
"""How far above its output limit an answer may be by our count before it is cut. Providers count
with other tokenizers, and some need a fifth fewer tokens for a language: an answer within its limit
there must not be cut here. It is also the operator's greatest exposure above a hold."""

COUNT_TOLERANCE_TOKENS: Final = 16
"""The same for answers of a few tokens."""

StreamPart = ChatStarted | tuple[ChatDelta, ...]


class StreamedAttempt(RunningAttempt):
    """One attempt to stream an answer: `open` it, then read its `rest`."""

    def __init__(self, given: HeldAttempt) -> None:
        super().__init__(given)
        keeps = given.request_key and given.repeats.keeps_answers
        self._gathering = Gathering() if keeps else None
        choices = given.request.sampling.choice_count or 1
        self._tokens_max = int(
            self.held.output_tokens_max * choices * COUNT_TOLERANCE + COUNT_TOLERANCE_TOKENS
        )
        self._progress_due = 0.0
        self._stream: ProviderStream | None = None

    @property
    def system_fingerprint(self) -> str | None:
        """A streamed answer's mark of the backend that gave it."""
        return None if self._stream is None else self._stream.system_fingerprint

    @property
    def service_tier(self) -> str | None:
        """The tier that a stream was served in."""
        return None if self._stream is None else self._stream.service_tier

    async def open(self) -> tuple[ChatDelta, ...]:
        """The first deltas; none where the answer is empty.

        Raises:
            ProviderFault: there are none; the hold has its end.
            OmniError: nothing was sent.
        """
        stream = self._stream = self._provider.open_stream(
            self._upstream(), self._dispatch, self.held.provider_id
        )
        self.ignored += stream.left_out
        try:
            with in_time(self._call, self._clock, bills_on=self._bills_on):
                await stream
                deltas = await anext(stream, ())
                self._watch.first()
                return deltas
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
            ignored=self.ignored,
        )

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
