"""A plain attempt: the answer comes whole, or not at all."""

import asyncio

from omni_grpc.billing import AttemptOutcome, RequestEnd
from omni_grpc.completion.attempts import HeldAttempt, RunningAttempt
from omni_grpc.completion.faults import end_attempt, settle_cancelled
from omni_grpc.completion.stops import in_time
from omni_grpc.core.errors import OmniError
from omni_grpc.core.money import NanoUsd
from omni_grpc.providers import ProviderCompletion, ProviderFault


class PlainAttempt(RunningAttempt):
    """One attempt to get an answer whole."""

    def __init__(self, given: HeldAttempt) -> None:
        super().__init__(given)
        self._answering: asyncio.Task[ProviderCompletion] | None = None

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
