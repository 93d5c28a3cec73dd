"""Runs a chat's plan: attempts, fallback before the first byte, the answer, what it cost.

This is the one door to providers for every transport. Each attempt has its hold before it is sent
and exactly one end, whatever becomes of its caller (`attempts`). What a provider generated is
charged once, and nothing else is.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import msgspec

from omni_grpc.billing import RequestKey, RequestRepeatedError
from omni_grpc.catalog import scopes_of
from omni_grpc.catalog.tokens import DEFAULT_MODEL
from omni_grpc.completion.attempts import FailedAttempts, HeldAttempt, meter_of
from omni_grpc.completion.call import Call
from omni_grpc.completion.call_report import CallReport, CallReports
from omni_grpc.completion.classifying import Classifier, UnclassifiedError
from omni_grpc.completion.endings import Endings
from omni_grpc.completion.faults import is_final
from omni_grpc.completion.limiting import CallLimits
from omni_grpc.completion.own_credentials import OwnCredentials, OwnWatch, Try
from omni_grpc.completion.plain import PlainAttempt
from omni_grpc.completion.repeats import Repeats
from omni_grpc.completion.stops import LeaseStop
from omni_grpc.completion.streamed import StreamedAttempt, StreamPart
from omni_grpc.completion.tally import COUNTED_BYTES_INLINE
from omni_grpc.completion.watch import ChatWatch
from omni_grpc.core.chat import ChatCompletion, ChatRequest
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import ContextTooLong
from omni_grpc.core.limits import HOLD_LEASE_SECONDS
from omni_grpc.limits import RateLimits
from omni_grpc.providers import ProviderFault, Providers
from omni_grpc.routing import (
    ROUTED,
    Attempt,
    Health,
    Plan,
    RouteContext,
    Router,
    Warmth,
    prompt_tokens,
    prompt_upper_bound,
)

ChatEvent = StreamPart | ChatCompletion


class Chats:
    """Completes chats. One instance serves all calls of a worker."""

    def __init__(
        self,
        router: Router,
        providers: Providers,
        repeats: Repeats,
        clock: Clock,
        *,
        health: Health,
        warmth: Warmth,
        own: OwnCredentials | None = None,
        lease_s: float = HOLD_LEASE_SECONDS,
        reports: CallReports | None = None,
        classifier: Classifier | None = None,
        limits: RateLimits | None = None,
    ) -> None:
        """`lease_s` is how long a hold outlives the last renewal of its lease.

        Without `reports` no call is reported; without a `classifier` all analysis is local; without
        `limits` no call has any.
        """
        self._router = router
        self._providers = providers
        self._repeats = repeats
        self._clock = clock
        self._health = health
        self._warmth = warmth
        self._own = own or OwnCredentials()
        self._endings = Endings(lease_s)
        self._classifier = classifier
        self._limits = limits
        self._reports = reports or CallReports(None, clock)

    async def complete(self, call: Call, request: ChatRequest) -> ChatCompletion:
        """Completes a chat whole. The repeat of a done request gets the first answer.

        Raises:
            OmniError: why there is no answer; `charged_nanousd` says what it cost all the same.
        """
        failed = FailedAttempts()
        key = self._repeats.key(call, request)
        with self._report(call, request) as report, self._limited(call) as limits:
            plan = report.plan = await self._plan(call, request, limits)
            tries = self._own.tries(call, plan.attempts)
            while (one := await tries.next()) is not None:
                attempt = one.attempt
                if one.refused is not None:
                    failed.never_began(one.refused)
                    continue
                if not await limits.has_room(attempt.offer.id, _tokens_max(attempt, request)):
                    continue
                try:
                    held = await self._begin(call, request, one, key)
                    running = PlainAttempt(held)
                except RequestRepeatedError as repeated:
                    return (await self._repeats.recall(repeated.call_id)).completion
                limits.began(held.charge)
                report.tried(attempt.offer.id)
                try:
                    found = await running.complete()
                except ProviderFault as fault:
                    failed.add(running, fault)
                    if is_final(fault):
                        break
                    continue
                balance = await running.held.balance()
                return running.completion(
                    found.choices, found.system_fingerprint, found.service_tier, balance
                )
            raise limits.error(failed)

    async def stream(self, call: Call, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Streams a chat: ChatStarted, tuples of deltas, then one ChatCompletion.

        The iterator must be closed (`contextlib.aclosing`); closing it early cancels the provider.
        The repeat of a done request streams the first answer, all of it in one event.

        Raises:
            OmniError: before ChatStarted, why there is no answer; after it, why it broke off.
        """
        failed = FailedAttempts()
        key = self._repeats.key(call, request)
        last: ChatCompletion | None = None
        with self._report(call, request) as report, self._limited(call) as limits:
            plan = report.plan = await self._plan(call, request, limits)
            tries = self._own.tries(call, plan.attempts)
            while (one := await tries.next()) is not None:
                attempt = one.attempt
                if one.refused is not None:
                    failed.never_began(one.refused)
                    continue
                if not await limits.has_room(attempt.offer.id, _tokens_max(attempt, request)):
                    continue
                try:
                    held = await self._begin(call, request, one, key)
                    running = StreamedAttempt(held)
                except RequestRepeatedError as repeated:
                    kept = await self._repeats.recall(repeated.call_id)
                    for event in kept.events():
                        yield event
                    return
                limits.began(held.charge)
                report.tried(attempt.offer.id)
                try:
                    first = await running.open()
                except ProviderFault as fault:
                    failed.add(running, fault)
                    if is_final(fault):
                        break
                    continue
                report.first_token()
                async with aclosing(running.rest(first)) as parts:
                    async for part in parts:
                        yield part
                balance = await running.held.balance()
                last = running.completion(
                    (), running.system_fingerprint, running.service_tier, balance
                )
                break
            if last is None:
                raise limits.error(failed)
        yield last  # outside the report: whoever leaves with it has a whole answer

    async def count_prompt(self, call: Call, request: ChatRequest) -> int:
        """Tokens of a chat's prompt by our own count, for the model that would be asked first.

        It calls nobody and holds nothing. A prompt that is too long for the model is counted too.

        Raises:
            OmniError: no model that can be called here can take the request.
        """
        await self._own.look_up(call)
        context = route_context(call, request)
        if prompt_upper_bound(request) > COUNTED_BYTES_INLINE:
            return await asyncio.to_thread(self._count_prompt, context, request)
        return self._count_prompt(context, request)

    async def drain(self, seconds: float = 0.0) -> None:
        """Waits for what ended calls still have to find out and settle.

        Providers that are read on are left after `seconds`, and charged by what came.
        """
        if self._classifier is not None:
            await self._classifier.close()
        await self._endings.close(seconds)

    # --- one attempt --------------------------------------------------------------------------
    def _report(self, call: Call, request: ChatRequest) -> CallReport:
        return self._reports.open(call, request.model, tags=request.tags, end_user=request.end_user)

    def _limited(self, call: Call) -> CallLimits:
        return CallLimits(self._limits, call, self._endings)

    async def _plan(self, call: Call, request: ChatRequest, limits: CallLimits) -> Plan:
        await self._own.look_up(call)
        context = route_context(call, request)
        if self._classifier is not None and request.model in ROUTED:
            await limits.begin()  # else who is refused would pay for the question all the same
            with suppress(UnclassifiedError):
                said = await self._classifier.analysis(call, request, self.complete)
                context = msgspec.structs.replace(context, analysis=said)
        if prompt_upper_bound(request) > COUNTED_BYTES_INLINE:
            return await asyncio.to_thread(self._router.plan, request, context)
        return self._router.plan(request, context)

    def _count_prompt(self, context: RouteContext, request: ChatRequest) -> int:
        try:
            plan = self._router.plan(request, context)
            model = plan.attempts[0].offer.provider_model
        except ContextTooLong:
            model = DEFAULT_MODEL
        return prompt_tokens(request, model)

    async def _begin(
        self,
        call: Call,
        request: ChatRequest,
        one: Try[Attempt],
        key: RequestKey | None,
    ) -> HeldAttempt:
        call.seconds_left(self._clock)
        attempt, account = one.attempt, one.account
        lease = LeaseStop(call)
        charge = await meter_of(call).hold(
            model=attempt.offer.id,
            credential=one.credential,
            markup_ppm=one.markup_ppm,
            price=attempt.price,
            hold_price=attempt.offer.hold_price,
            prompt_tokens_max=attempt.prompt_tokens_max,
            output_tokens_max=attempt.output_tokens_max,
            choice_count=request.sampling.choice_count or 1,
            short_credits=request.short_credits,
            lease_lost=lease,
            request=key,
        )
        return HeldAttempt(
            call=call,
            request=request,
            attempt=attempt,
            charge=charge,
            watch=ChatWatch(self._health, self._warmth, self._clock, attempt.offer, call, request)
            if account is None
            else OwnWatch(self._clock, one),
            provider=self._providers.get(attempt.offer.provider)
            if account is None
            else account.chat,
            lease=lease,
            endings=self._endings,
            repeats=self._repeats,
            request_key=key,
            is_last=one.is_last,
            is_at_fee=one.markup_ppm is not None,
            clock=self._clock,
        )


def route_context(call: Call, request: ChatRequest) -> RouteContext:
    """Who asks, as far as routing cares."""
    principal = call.principal
    if principal is None:
        return RouteContext(unit=request.end_user, seed=call.name)
    return RouteContext(
        scopes=scopes_of(principal.place),
        # Not a session's prefix: a user keeps its arm from one session to the next.
        unit=request.end_user or principal.user_name or principal.key_prefix,
        seed=call.name,
        models=principal.models,
        own=() if call.own is None else call.own.access,
    )


def _tokens_max(attempt: Attempt, request: ChatRequest) -> int:
    """The most tokens that an attempt may use, of the prompt and of all choices."""
    choices = request.sampling.choice_count or 1
    return attempt.prompt_tokens_max + attempt.output_tokens_max * choices
