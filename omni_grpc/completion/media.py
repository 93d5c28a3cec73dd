"""Everything beside chats: embeddings, pictures, speech, transcriptions, moderations.

Each call takes the way of a chat: a plan, for each attempt a hold before it is sent and one end,
another seller of the same model where the first brought nothing. Its answer is not kept: the repeat
of a done request is told what it cost, and is never charged again.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from omni_grpc.billing import RequestKey, RequestRepeatedError, paid_request_key
from omni_grpc.completion.attempts import FailedAttempts, meter_of
from omni_grpc.completion.call import Call
from omni_grpc.completion.call_report import CallReports
from omni_grpc.completion.endings import Endings
from omni_grpc.completion.faults import is_final
from omni_grpc.completion.limiting import CallLimits
from omni_grpc.completion.media_attempt import HeldMedia, MediaAttempt, PlainMedia, SpeechAttempt
from omni_grpc.completion.media_bill import Bill
from omni_grpc.completion.media_bills import bill_of
from omni_grpc.completion.media_plan import Choice, MediaRouter
from omni_grpc.completion.own_credentials import OwnCredentials, OwnWatch, Try
from omni_grpc.completion.repeats import Repeats
from omni_grpc.completion.stops import LeaseStop
from omni_grpc.completion.tally import COUNTED_BYTES_INLINE
from omni_grpc.completion.watch import AttemptWatch
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Internal
from omni_grpc.core.limits import HOLD_LEASE_SECONDS
from omni_grpc.core.media import (
    EmbeddingRequest,
    Embeddings,
    ImageRequest,
    Images,
    MediaCompletion,
    MediaRequest,
    Moderation,
    ModerationRequest,
    SpeechRequest,
    SpeechStarted,
    Spoken,
    Transcript,
    TranscriptionRequest,
)
from omni_grpc.limits import RateLimits
from omni_grpc.providers import ProviderFault, Providers
from omni_grpc.routing import Health

SpeechPart = SpeechStarted | bytes | MediaCompletion[Spoken]

A = TypeVar("A", Embeddings, Images, Transcript, Moderation)
B = TypeVar("B")


class Media:
    """Serves what is no chat. One instance serves all calls of a worker."""

    def __init__(
        self,
        router: MediaRouter,
        providers: Providers,
        repeats: Repeats,
        clock: Clock,
        *,
        health: Health,
        own: OwnCredentials | None = None,
        lease_s: float = HOLD_LEASE_SECONDS,
        reports: CallReports | None = None,
        limits: RateLimits | None = None,
    ) -> None:
        """`lease_s` is how long a hold outlives the last renewal of its lease.

        Without `reports` no call is reported, and without `limits` none has any.
        """
        self._router = router
        self._providers = providers
        self._repeats = repeats
        self._clock = clock
        self._health = health
        self._own = own or OwnCredentials()
        self._endings = Endings(lease_s)
        self._reports = reports or CallReports(None, clock)
        self._limits = limits

    async def embed(self, call: Call, request: EmbeddingRequest) -> MediaCompletion[Embeddings]:
        """Turns texts into vectors.

        Raises:
            OmniError: why there is no answer; `charged_nanousd` says what it cost all the same.
                This holds for every method here.
        """
        return await self._ask(call, request, Embeddings)

    async def paint(self, call: Call, request: ImageRequest) -> MediaCompletion[Images]:
        """Generates pictures, or changes those that the request has."""
        return await self._ask(call, request, Images)

    async def transcribe(
        self, call: Call, request: TranscriptionRequest
    ) -> MediaCompletion[Transcript]:
        """Writes down what is said in an audio file."""
        return await self._ask(call, request, Transcript)

    async def moderate(self, call: Call, request: ModerationRequest) -> MediaCompletion[Moderation]:
        """Judges content."""
        return await self._ask(call, request, Moderation)

    async def speak(self, call: Call, request: SpeechRequest) -> AsyncGenerator[SpeechPart, None]:
        """Speaks a text: SpeechStarted, audio as it comes in, then one MediaCompletion.

        The iterator must be closed (`contextlib.aclosing`); closing it early cancels the provider.
        """
        failed = FailedAttempts()
        bill = bill_of(request)
        last: MediaCompletion[Spoken] | None = None
        with (
            self._reports.open(call, request.model) as report,
            CallLimits(self._limits, call, self._endings) as limits,
        ):
            plan, key = await self._plan(call, request, bill)
            tries = self._own.tries(call, plan)
            while (one := await tries.next()) is not None:
                choice = one.attempt
                if one.refused is not None:
                    failed.never_began(one.refused)
                    continue
                if not await limits.has_room(choice.offer.id, _tokens_max(choice)):
                    continue
                held = await self._begin(call, request, bill, one, key)
                limits.began(held.charge)
                report.tried(choice.offer.id)
                running = SpeechAttempt(held)
                try:
                    first = await running.open()
                except ProviderFault as fault:
                    failed.add(running, fault)
                    if is_final(fault):
                        break
                    continue
                report.first_token()
                yield SpeechStarted(
                    call_id=call.name,
                    model=running.model,
                    create_time=call.create_time,
                    content_type=running.content_type,
                )
                async with aclosing(running.rest(first)) as parts:
                    async for audio in parts:
                        yield audio
                spoken = Spoken(audio_bytes=running.audio_bytes)
                last = await self._completion(call, running, spoken)
                break
            if last is None:
                raise limits.error(failed)
        yield last  # outside the report: whoever leaves with it has a whole answer

    async def drain(self, seconds: float = 0.0) -> None:
        """Waits for what ended calls still have to settle; see `Chats.drain`."""
        await self._endings.close(seconds)

    # --- one call -----------------------------------------------------------------------------
    async def _ask(self, call: Call, request: MediaRequest, kind: type[A]) -> MediaCompletion[A]:
        failed = FailedAttempts()
        bill = bill_of(request)
        with (
            self._reports.open(call, request.model) as report,
            CallLimits(self._limits, call, self._endings) as limits,
        ):
            plan, key = await self._plan(call, request, bill)
            tries = self._own.tries(call, plan)
            while (one := await tries.next()) is not None:
                choice = one.attempt
                if one.refused is not None:
                    failed.never_began(one.refused)
                    continue
                if not await limits.has_room(choice.offer.id, _tokens_max(choice)):
                    continue
                held = await self._begin(call, request, bill, one, key)
                limits.began(held.charge)
                report.tried(choice.offer.id)
                running = PlainMedia(held)
                try:
                    answer = await running.ask()
                except ProviderFault as fault:
                    failed.add(running, fault)
                    if is_final(fault):
                        break
                    continue
                if not isinstance(answer, kind):
                    raise Internal("The provider's answer is of another kind.")
                return await self._completion(call, running, answer)
            raise limits.error(failed)

    async def _plan(
        self, call: Call, request: MediaRequest, bill: Bill
    ) -> tuple[tuple[Choice, ...], RequestKey | None]:
        await self._own.look_up(call)
        access = () if call.own is None else call.own.access
        own = frozenset(one.provider for one in access)

        def judged(choice: Choice) -> str | None:
            return None if choice.offer.provider in own else choice.offer.id

        models = () if call.principal is None else call.principal.models
        plan = self._health.healthy_first(self._router.plan(request, bill, own, models), judged)
        if bill.size_bytes > COUNTED_BYTES_INLINE:
            await asyncio.to_thread(bill.check)
        if call.request_id is None or call.principal is None:
            return plan, None
        # It reads whole files.
        key = await asyncio.to_thread(
            paid_request_key, call.principal.org_id, call.request_id, request
        )
        return plan, key

    async def _begin(
        self,
        call: Call,
        request: MediaRequest,
        bill: Bill,
        one: Try[Choice],
        key: RequestKey | None,
    ) -> HeldMedia:
        choice, account = one.attempt, one.account
        provider = (
            self._providers.media(choice.offer.provider) if account is None else account.media
        )
        if provider is None:
            raise RuntimeError("a plan has configured providers only")
        call.seconds_left(self._clock)
        lease = LeaseStop(call)
        try:
            charge = await meter_of(call).hold_for(
                choice.most,
                model=choice.offer.id,
                credential=one.credential,
                markup_ppm=one.markup_ppm,
                price=choice.price,
                hold_price=choice.offer.hold_price,
                lease_lost=lease,
                request=key,
            )
        except RequestRepeatedError as repeated:
            await self._repeats.recall(repeated.call_id)
            raise Internal("The answer of a call beside chats is never kept.") from None
        return HeldMedia(
            call=call,
            request=request,
            bill=bill,
            choice=choice,
            charge=charge,
            watch=AttemptWatch(self._health, self._clock, choice.offer)
            if account is None
            else OwnWatch(self._clock, one),
            provider=provider,
            lease=lease,
            endings=self._endings,
            request_key=key,
            is_last=one.is_last,
            clock=self._clock,
        )

    async def _completion(self, call: Call, running: MediaAttempt, answer: B) -> MediaCompletion[B]:
        balance = await running.held.balance()
        meter = meter_of(call)
        attempts = tuple(meter.attempts)
        return MediaCompletion(
            call_id=call.name,
            model=running.model,
            create_time=call.create_time,
            answer=answer,
            usage=attempts[-1].usage,
            attempts=attempts,
            cost_nanousd=meter.charged_nanousd,
            balance_nanousd=balance,
        )


def _tokens_max(choice: Choice) -> int:
    """The most tokens that an attempt may use; 0 of what is not sold by tokens."""
    return (choice.most.prompt or 0) + (choice.most.completion or 0)
