"""A plain attempt: the answer comes whole, or not at all."""

import asyncio

from omni_grpc.billing import AttemptOutcome, RequestEnd
from omni_grpc.completion.attempts import RunningAttempt
from omni_grpc.completion.faults import end_attempt, settle_cancelled
from omni_grpc.completion.stops import in_time
from omni_grpc.core.errors import OmniError
from omni_grpc.core.money import NanoUsd
from omni_grpc.providers import ProviderAnswer, ProviderCompletion, ProviderFault


class PlainAttempt(RunningAttempt):
    """One attempt to get an answer whole."""

    async def complete(self) -> ProviderCompletion:
        """The whole answer, settled.

        Raises:
            ProviderFault: there is none; the hold has its end.
            OmniError: nothing was sent.
        """
        answer = self._provider.complete(self._upstream(), self._dispatch, self.held.provider_id)
        self.ignored += answer.left_out
        try:
            with in_time(self._call, self._clock, bills_on=self._bills_on):
                found = await answer
        except ProviderFault as fault:
            await self._fail(fault, None)
            raise
        except asyncio.CancelledError:
            await self._leave(self._end_left_answer(answer))
            raise
        self._tally.add_choices(found.choices)

        def seal(_charged: NanoUsd) -> RequestEnd | None:
            return self._request_end(found.choices, found.system_fingerprint, found.service_tier)

        await self._settle_answered(found.usage, seal)
        return found

    async def _end_left_answer(self, answer: ProviderAnswer) -> None:
        """Charges the whole answer where it came all the same, else the prompt."""
        try:
            found = await self._left_answer(answer)
        except ProviderFault as fault:
            await end_attempt(self.held, fault, self._tally, None, bills_on=self._bills_on)
        except OmniError:  # it was left before it was sent
            self.held.void(AttemptOutcome.CANCELLED)
        else:
            if found is not None:
                self._tally.add_choices(found.choices)
            await settle_cancelled(self.held, self._tally, None if found is None else found.usage)

    async def _left_answer(self, answer: ProviderAnswer) -> ProviderCompletion | None:
        """What the provider sent before it was stopped, or all that it says where it bills on."""
        if self._bills_on and self.held.was_dispatched and self._endings.has_room:
            reading = asyncio.create_task(answer.drain())
            if await self._endings.read_on(reading, self._lease):
                return reading.result()
        return await answer.cancel()
