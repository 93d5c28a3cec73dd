"""The watch: tells when four fifths of a budget are spent, and when all of it is.

Each worker looks every second at the budgets that its own calls were charged to, and now and then
at all windows that are open, for what it did not see: a charge that a command made, or a worker
that died. However many look, each threshold of a window is told once.
"""

import asyncio
from typing import Final, Protocol

import structlog

from omni_grpc.billing.budgets.store import START, BudgetStore
from omni_grpc.core.errors import OmniError

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
"""How often it is looked at what was charged."""

SWEEP_SECONDS: Final = 300.0
"""How often all open windows are looked at."""

STEP_WINDOWS: Final = 1_000
"""Windows of one statement: some milliseconds of the database."""


class Charging(Protocol):
    """Notes which budgets were charged; the lane does."""

    charged_budgets: set[int]


class BudgetWatch:
    """Run `run()` as a task in each worker."""

    def __init__(self, store: BudgetStore, charging: Charging) -> None:
        self._store = store
        self._charging = charging

    async def run(self) -> None:
        """Watches for ever; ends only by cancellation."""
        loop = asyncio.get_running_loop()
        sweep_at = loop.time() + SWEEP_SECONDS
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
                if loop.time() >= sweep_at:
                    await self.sweep()
                    sweep_at = loop.time() + SWEEP_SECONDS
            except OmniError as error:
                log.warning("budget_watch_paused", reason=error.reason)

    async def look(self) -> int:
        """Looks at the budgets that were charged since the last time; how often it told."""
        charged, told = self._charging.charged_budgets, 0
        while charged:
            some = [charged.pop() for _ in range(min(len(charged), STEP_WINDOWS))]
            try:
                told += await self._store.tell(some)
            except OmniError:
                charged.update(some)
                raise
        return told

    async def sweep(self) -> int:
        """Looks at all open windows; how often it told."""
        after, told = START, 0
        while found := await self._store.open_windows(after, STEP_WINDOWS):
            told += await self._store.tell([budget for _, budget in found])
            after = found[-1]
        return told
