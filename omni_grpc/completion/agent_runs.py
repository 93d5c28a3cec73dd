"""What the steps of an agent's run cost together. Each step is a call of its own in the ledger."""

import asyncio
from typing import Final
from uuid import UUID

import msgspec
import structlog

from omni_grpc.completion.store import AgentRunStore
from omni_grpc.core.chat import ChatCompletion
from omni_grpc.core.errors import OmniError
from omni_grpc.core.ids import CallId, OrgId
from omni_grpc.core.money import NanoUsd

log = structlog.get_logger(__name__)

KEPT_DAYS: Final = 30
"""Runs are told their totals for so long; what they cost stands in the ledger for ever."""

FORGET_SECONDS: Final = 3_600.0
FORGET_ROWS: Final = 1_000
"""Deleted at once, so that no other statement waits long."""


class RunTotal(msgspec.Struct, frozen=True):
    """What a run has had by now.

    Attributes:
        run_id: the run.
        step_count: steps that were answered.
        unanswered_count: steps that failed or were left, and were charged all the same.
        cost_nanousd: what all of these were charged.
        saved_nanousd: what the answered ones saved; None where none of them says it.
    """

    run_id: str
    step_count: int
    unanswered_count: int
    cost_nanousd: NanoUsd
    saved_nanousd: int | None


class AgentRuns:
    """Adds steps up, each once, however often its request is repeated."""

    def __init__(self, store: AgentRunStore) -> None:
        self._store = store

    async def begin(self, org_id: OrgId, run_id: str, call_id: CallId) -> None:
        """Notes that a call is a step of a run: it counts if it is charged, however it ends.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        await self._store.begin_step(org_id, run_id, call_id)

    async def add(self, org_id: OrgId, run_id: str, step: ChatCompletion) -> RunTotal:
        """Counts an answered step in, and tells the run's total.

        Raises:
            LedgerUnavailable: the database does not answer; the step itself is charged all the
                same, and counts when its request is repeated.
        """
        saved = None if step.savings is None else step.savings.saved_nanousd
        count, unanswered, cost, saved_in_all = await self._store.add_step(
            org_id, run_id, CallId(UUID(step.call_id)), step.cost_nanousd, saved
        )
        return RunTotal(run_id, count, unanswered, NanoUsd(cost), saved_in_all)

    async def run(self) -> None:
        """Forgets old runs for ever; ends only by cancellation."""
        while True:
            await asyncio.sleep(FORGET_SECONDS)
            try:
                while await self._store.forget_steps(KEPT_DAYS, FORGET_ROWS):
                    pass
            except OmniError as error:
                log.warning("old_agent_runs_kept", reason=error.reason)
