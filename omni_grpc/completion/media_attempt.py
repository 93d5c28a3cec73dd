"""One attempt beside chats under its hold: a plain answer, or audio as its bytes come in.

Its ends are those of every attempt (`attempts.Running`): settled by the provider's count or by
ours, voided where nothing came, unresolved where nobody knows.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from omni_grpc.billing import AttemptCharge, AttemptOutcome, ChatEnd, RequestEnd, RequestKey
from omni_grpc.completion.attempts import Running, meter_of
from omni_grpc.completion.call import Call
from omni_grpc.completion.endings import Endings
from omni_grpc.completion.faults import broken_off, end_attempt, settle_cancelled
from omni_grpc.completion.media_bill import Bill
from omni_grpc.completion.media_bills import Counted
from omni_grpc.completion.media_plan import Choice
from omni_grpc.completion.stops import LeaseStop, in_time
from omni_grpc.completion.watch import AttemptWatch
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import OmniError
from omni_grpc.core.media import MediaRequest
from omni_grpc.core.money import NanoUsd, Unit
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    MediaAnswer,
    MediaCall,
    MediaProvider,
    ProviderFault,
    ProviderMedia,
    SpeechStream,
)
from omni_grpc.providers.answer import HttpAnswer

PROGRESS_SECONDS: Final = 1.0
"""How often running speech is told to the journal, as running chats are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMedia:
    """An attempt that may be sent, and all that its running needs."""

    call: Call
    request: MediaRequest
    bill: Bill
    choice: Choice
    charge: AttemptCharge
    watch: AttemptWatch
    provider: MediaProvider
    lease: LeaseStop
    endings: Endings
    request_key: RequestKey | None
    is_last: bool
    clock: Clock


class MediaAttempt(Running):
    """What plain and streamed ones share."""

    def __init__(self, given: HeldMedia) -> None:
        self._counted = Counted(given.bill, given.choice.price)
        super().__init__(
            call=given.call,
            held=given.charge,
            watch=given.watch,
            came=self._counted,
            bills_on=given.provider.spec.bills_after_cancel,
            endings=given.endings,
            clock=given.clock,
        )
        self.model = given.choice.offer.id
        """The offer's id."""
        self._given = given

    def _is_told(self, usage: Usage) -> bool:
        return self._counted.told(usage) is not None

    def _upstream(self, *, by_events: bool = False) -> MediaCall:
        given = self._given
        return MediaCall(
            request=given.request,
            model=given.choice.offer.provider_model,
            call_id=self._call.name,
            seconds_left=self._provider_seconds(),
            retries=given.is_last,
            by_events=by_events,
            output_tokens_max=given.choice.most.completion,
        )

    async def _settle(self, usage: Usage | None) -> None:
        """Charges a whole answer; a repeat of its request is told what it cost."""
        key = self._given.request_key
        call = self._call

        def seal(_charged: NanoUsd) -> RequestEnd | None:
            if key is None:
                return None
            return RequestEnd(key.principal, key.request_id, call.id, ChatEnd.DONE)

        await self._settle_answered(self._counted.told(usage), seal)


class PlainMedia(MediaAttempt):
    """One attempt to get an answer whole."""

    async def ask(self) -> MediaAnswer:
        """The whole answer, settled.

        Raises:
            ProviderFault: there is none; the hold has its end.
            OmniError: nothing was sent.
        """
        given = self._given
        answer = given.provider.ask(self._upstream(), self._dispatch, self.held.provider_id)
        try:
            with in_time(self._call, self._clock, bills_on=self._bills_on):
                found = await answer
        except ProviderFault as fault:
            await self._fail(fault, None)
            raise
        except asyncio.CancelledError:
            await self._leave(self._end_left(answer))
            raise
        self._counted.brought.answer = found.answer
        await self._settle(found.usage)
        return found.answer

    async def _end_left(self, answer: HttpAnswer[ProviderMedia]) -> None:
        """Charges the whole answer where it came all the same, else what was sent."""
        try:
            found = await self._left(answer)
        except ProviderFault as fault:
            await end_attempt(self.held, fault, self._counted, None, bills_on=self._bills_on)
        except OmniError:  # it was left before it was sent
            self.held.void(AttemptOutcome.CANCELLED)
        else:
            if found is not None:
                self._counted.brought.answer = found.answer
            await settle_cancelled(self.held, self._counted, found.usage if found else None)

    async def _left(self, answer: HttpAnswer[ProviderMedia]) -> ProviderMedia | None:
        if self._bills_on and self.held.was_dispatched and self._endings.has_room:
            reading = asyncio.create_task(answer.drain())
            if await self._endings.read_on(reading, self._given.lease):
                return reading.result()
        return await answer.cancel()


class SpeechAttempt(MediaAttempt):
    """One attempt to speak: `open` it, then read its `rest`."""

    def __init__(self, given: HeldMedia) -> None:
        super().__init__(given)
        # Only events tell how many tokens it took, and only models sold by tokens have them.
        by_events = not given.choice.price.priced(Unit.CHARACTER)
        self._stream: SpeechStream = given.provider.speak(
            self._upstream(by_events=by_events), self._dispatch, self.held.provider_id
        )
        self._progress_due = 0.0

    @property
    def content_type(self) -> str:
        """Of the audio."""
        return self._stream.content_type

    @property
    def audio_bytes(self) -> int:
        """How much audio came."""
        return self._counted.brought.audio_bytes

    async def open(self) -> bytes:
        """The first audio.

        Raises:
            ProviderFault: there is none; the hold has its end.
            OmniError: nothing was sent.
        """
        stream = self._stream
        try:
            with in_time(self._call, self._clock, bills_on=self._bills_on):
                await stream
                return await self._read()
        except ProviderFault as fault:
            await self._fail(fault, stream.usage)
            stream.close()
            raise
        except OmniError:
            raise  # the ledger gate frees a hold that nothing was sent under
        except BaseException:
            await self._leave(self._end_left())
            raise

    async def rest(self, first: bytes) -> AsyncGenerator[bytes, None]:
        """The first audio and all other, then settled. From here on there is no fallback.

        Raises:
            OmniError: it broke off; the hold has its end.
        """
        stream = self._stream
        try:
            with in_time(self._call, self._clock, bills_on=self._bills_on):
                audio = first
                while audio:
                    yield audio
                    audio = await self._read()
        except ProviderFault as fault:
            await self._fail(fault, stream.usage)
            stream.close()
            raise broken_off(fault, meter_of(self._call).charged_nanousd) from fault
        except BaseException:
            await self._leave(self._end_left())
            raise
        stream.close()
        await self._settle(stream.usage)

    async def _read(self) -> bytes:
        audio = await self._stream.read()
        self._counted.brought.audio_bytes += len(audio)
        now = self._clock.monotonic()
        if audio and now >= self._progress_due:
            self._progress_due = now + PROGRESS_SECONDS
            self.held.progress(await self._counted.filled(self._stream.usage))
        return audio

    async def _end_left(self) -> None:
        """Stops the provider, then charges what it had sent until then, or what it says."""
        stream, brought = self._stream, self._counted.brought
        try:
            if self._bills_on and self.held.was_dispatched and self._endings.has_room:
                reading = asyncio.create_task(stream.drain())
                if await self._endings.read_on(reading, self._given.lease):
                    brought.audio_bytes += reading.result()
            brought.audio_bytes += await stream.cancel()
        except ProviderFault as fault:
            stream.close()
            await end_attempt(
                self.held, fault, self._counted, stream.usage, bills_on=self._bills_on
            )
        else:
            await settle_cancelled(self.held, self._counted, stream.usage)
