"""The roller: counts what ended into sums by the hour, each event once.

Any worker of any replica may count; who begins first does, and the others pass by. Each step is one
transaction, so that a worker that is killed leaves nothing half counted.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from omni_grpc.billing.usage.store import UsageStore
from omni_grpc.core.errors import OmniError

log = structlog.get_logger(__name__)

ROLL_SECONDS: Final = 1.0
"""How often a worker looks for what to count. Until then a report counts it by itself."""

STEP_EVENTS: Final = 5_000
"""Events of one transaction: some hundred milliseconds of the database."""

SWEEP_ROWS: Final = 10_000

PAUSE_SECONDS: Final = 30.0
"""How long it pauses after an error that trying again at once would only repeat."""

_NUMBERS_WENT_BACK: Final = -1


class UsageRoller:
    """Run `run()` as a task in each worker."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Counts for ever; ends only by cancellation."""
        while True:
            await asyncio.sleep(ROLL_SECONDS)
            try:
                await self.roll()
            except OmniError as error:
                log.info("usage_roll_paused", reason=error.reason)
            except Exception:
                log.exception("usage_roll_failed")
                await asyncio.sleep(PAUSE_SECONDS)

    async def roll(self) -> int:
        """Counts all that is over now; about how many events that were.

        Raises:
            LedgerUnavailable: the database does not answer; what was counted stays.
        """
        count = 0
        generations = await self._store.generations()
        for generation in generations:
            while step := await self._store.roll(generation, STEP_EVENTS):
                if step == _NUMBERS_WENT_BACK:
                    if len(generations) == 1:
                        log.warning("usage_counted_anew", cause="the database was restored")
                        await self._store.restart()
                    break
                count += step
        while await self._store.sweep(SWEEP_ROWS):
            pass
        return count

    async def rebuild(self, progress: Callable[[int], None]) -> int:
        """Counts everything anew, beside the sums that are read until it is done.

        Workers that run meanwhile count some of it, or all.

        Args:
            progress: is told after each step how many events this session counted so far.

        Returns:
            How many attempts the new sums have, whoever counted them.

        Raises:
            LedgerUnavailable: the database does not answer; the workers count on from there.
        """
        generation = await self._store.restart()
        count = 0
        while not await self._store.is_active(generation):
            step = await self._store.roll(generation, STEP_EVENTS)
            if step:
                count += step
                progress(count)
            else:  # another session counts, or a transaction that ran at the beginning still does
                await asyncio.sleep(0.05)
        while await self._store.sweep(SWEEP_ROWS):
            pass
        return await self._store.attempt_count()
