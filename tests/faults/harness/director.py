"""Performs a history in a world, and says what is wrong afterwards."""

import asyncio
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

from harness.billing_log import BillingLog, Wanted
from harness.books import Books
from harness.history import History
from harness.model import differences
from harness.play import Play
from harness.world import UNRESOLVED_SECONDS_MAX, World
from omni_grpc.core.errors import LedgerUnavailable

PATIENCE_SECONDS = 15.0
"""How long what waits for the database may take to be written once all is mended."""

STEP_SECONDS_MAX = 60.0
GRANT = "credits"


@dataclass(eq=False)
class Performance:
    """What came of a history."""

    history: History
    findings: list[str]
    late: dict[int, list[str]] = field(default_factory=dict)
    """What was found of earlier histories, by their seeds, when their orphans were due."""
    overlaps: Counter[tuple[int, str]] = field(default_factory=Counter)
    calls: int = 0
    seconds: float = 0.0


@dataclass(eq=False)
class Debt:
    """A play whose orphans must be listed as unresolved when it is due."""

    play: Play
    due_s: float


class Director:
    """Performs one history after the other in its world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._plays = 0
        self._debts: list[Debt] = []

    async def perform(self, history: History) -> Performance:
        """Performs a history; its findings say all that is wrong, also of plays before it."""
        began = time.monotonic()
        play = await self.begin(history)
        for kind, step in history.steps:
            play.kind = kind
            try:
                async with asyncio.timeout(STEP_SECONDS_MAX):
                    await step.run(play)
            except Exception:  # noqa: BLE001 - told as what this history shows
                play.findings.append(f"{step} failed: {traceback.format_exc()}")
                break
        await play.finish()
        await play.billing.resolve(self.world.servers)
        for server in self.world.servers:
            assert not server.proxy.blind, server.proxy.blind
        play.note_owners()
        findings = await self.settled(play)
        findings += [str(violation) for violation in await self.world.check()]
        findings += self.world.ended()
        if not findings and await self._has_orphans(play):
            self._debts.append(Debt(play, time.monotonic() + UNRESOLVED_SECONDS_MAX))
        else:
            self._forget(play)
        late = await self.collect()
        for server in self.world.servers:
            server.proxy.batches.clear()
        seconds = time.monotonic() - began
        return Performance(history, findings, late, play.overlaps, len(play.calls), seconds)

    async def collect(self, *, all_of_them: bool = False) -> dict[int, list[str]]:
        """Looks at the debts that are due, or waits for all of them; what is wrong, by seed."""
        found: dict[int, list[str]] = {}
        while self._debts and (all_of_them or self._debts[0].due_s < time.monotonic()):
            debt = self._debts.pop(0)
            await asyncio.sleep(max(0.0, debt.due_s - time.monotonic()))
            wrong = differences(debt.play, await self._books(debt.play), late=True)
            if wrong:
                found[debt.play.history.seed] = wrong
            self._forget(debt.play)
        return found

    async def begin(self, history: History) -> Play:
        """A play with its tenants, who have their credits by grants that are part of it."""
        self._plays += 1
        steps = [step for _, step in history.steps]
        steps += [inner for step in steps for inner in getattr(step, "meanwhile", ())]
        count = 1 + max((getattr(step, "tenant", 0) for step in steps), default=0)
        tenants = [await self.world.tenant() for _ in range(count)]
        keys = {tenant.slug: tenant.api_key for tenant in tenants} | {"": self.world.admin_key}
        play = Play(self.world, history, f"p{self._plays}-", tenants, BillingLog(keys))
        for tenant in tenants if history.credits else ():
            wanted = Wanted(
                verb="grant",
                request_id=f"{play.prefix}{GRANT}-{tenant.slug}",
                account=tenant.slug,
                amount=history.credits,
            )
            await play.bill(wanted, self.world.servers[0])
        await play.billing.resolve(self.world.servers)
        return play

    async def _books(self, play: Play) -> list[Books]:
        return [await self.world.books(tenant) for tenant in play.tenants]

    async def settled(self, play: Play) -> list[str]:
        """What the model finds, once it finds nothing or patience is over."""
        until = time.monotonic() + PATIENCE_SECONDS
        pause = 0.01
        while True:
            try:
                found = differences(play, await self._books(play))
            except LedgerUnavailable as error:
                found = [f"the database does not answer: {error.message}"]
            if not found or time.monotonic() > until:
                return found
            await asyncio.sleep(pause)
            pause = min(0.2, 1.5 * pause)

    async def _has_orphans(self, play: Play) -> bool:
        """Whether a killed server's calls are not final yet."""
        return any(row.origin == "r" for books in await self._books(play) for row in books.holds)

    def _forget(self, play: Play) -> None:
        self.world.provider.forget(play.prefix)
