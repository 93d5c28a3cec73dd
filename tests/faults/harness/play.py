"""One history in a world: its tenants, its clients and their log, and what its steps noted."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from harness.billing_log import BillingLog, Told, Wanted
from harness.chats import Ask, Seen, chat
from harness.history import History
from harness.points import Halt, Point
from harness.proxy import Verdict
from harness.servers import Life, Server, is_running
from harness.world import Tenant, World
from omni_grpc.core.ids import call_id_of
from omni_grpc.simulator import CallRecord

CALLS_SECONDS_MAX = 45.0
SERVED_TRIES = 60


@dataclass(eq=False)
class Call:
    """A client's call in a play. `counts` names an overlap, had if a provider was reached."""

    name: str
    seen: Seen
    task: "asyncio.Task[None]"
    tenant: int
    kind: int
    halt: Halt | None = None
    counts: str = ""

    @property
    def is_halted(self) -> bool:
        return self.halt is not None and self.halt.is_reached


@dataclass(frozen=True)
class Expected:
    """How a hold that a step itself made must have ended: kinds of its postings, and the charge."""

    kinds: str
    charged: int


@dataclass(eq=False)
class Play:
    """What must be true of it, model.py says."""

    world: World
    history: History
    prefix: str
    tenants: list[Tenant]
    billing: BillingLog
    calls: dict[str, Call] = field(default_factory=dict)
    overlaps: Counter[tuple[int, str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    """What a step itself saw to be wrong."""
    kind: int = 0
    """Whose steps run; overlaps are counted for it."""
    owners: dict[UUID, int] = field(default_factory=dict)
    """Which process held a call's attempts, as the proxies saw it."""
    damaged: set[int] = field(default_factory=set)
    """Processes whose journals lost records by a fault that no journal survives."""
    expected: dict[UUID, Expected] = field(default_factory=dict)
    """Holds that steps made past the service, by their calls' ids."""
    pinned: dict[str, int] = field(default_factory=dict)
    """The price version that a call must have been charged at, by its name."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What steps keep for later steps."""
    cleanups: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What must be undone before the world is mended."""
    began_s: float = field(default_factory=time.monotonic)

    @property
    def tenant(self) -> Tenant:
        return self.tenants[0]

    def server(self, number: int) -> Server:
        return self.world.servers[number % len(self.world.servers)]

    def overlap(self, name: str, count: int = 1) -> None:
        """Counts that two things happened at once, as was wanted."""
        if count:
            self.overlaps[self.kind, name] += count

    def mark(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def payment(self, name: str) -> int:
        """The number of a payment's hash, its own in all plays of all runs."""
        return self.kept.setdefault("payments", {}).setdefault(name, uuid4().int)

    def records(self, mark: str) -> list[CallRecord]:
        """What the provider saw of the calls with this mark, in order."""
        return self.world.provider.by_mark.get(mark, [])

    # --- clients ------------------------------------------------------------------------------
    def send(
        self, name: str, ask: Ask, server: Server, halt: Halt | None = None, *, tenant: int = 0
    ) -> Call:
        """Starts a client; its server may be dead."""
        seen = Seen(ask, server.number, server.life)
        task = asyncio.create_task(chat(ask, seen, self.tenants[tenant].api_key))
        call = self.calls[name] = Call(name, seen, task, tenant, self.kind, halt)
        return call

    def halted(self, server: Server | None = None) -> list[Call]:
        """The calls that stand at a point now."""
        return [
            call
            for call in self.calls.values()
            if call.is_halted and (server is None or call.seen.server == server.number)
        ]

    def points(self, server: Server | None = None) -> list[Point]:
        """The points at which calls stand now."""
        return [call.halt.point for call in self.halted(server) if call.halt is not None]

    @property
    def running(self) -> int:
        return sum(not call.task.done() for call in self.calls.values())

    async def release(self, name: str, verdict: Verdict = Verdict.PASS) -> None:
        call = self.calls.get(name)
        if call is not None and call.halt is not None:
            await call.halt.release(verdict)
            call.halt.is_reached = False

    async def bill(self, wanted: Wanted, server: Server) -> Told:
        return await self.billing.send(wanted, server)

    async def let_end(self, life: Life) -> None:
        """Waits for the calls of one process, which may hang for as long as they are told to."""
        tasks = [call.task for call in self.calls.values() if call.seen.life is life]
        if tasks:
            await asyncio.wait(tasks, timeout=CALLS_SECONDS_MAX)

    async def until_served(self, server: Server) -> None:
        """Waits until a server's lane has its database again; it may not know yet that it lost it.

        It is asked for what cannot be, which changes nothing.
        """
        slug = self.tenant.slug
        wanted = Wanted(
            verb="release",
            request_id=self.mark("served"),
            account=slug,
            hold=f"accounts/{slug}/holds/{uuid4()}",
            caller=slug,
        )
        for _ in range(SERVED_TRIES):
            if (await self.bill(wanted, server)).reason == "NOT_FOUND":
                return
            await asyncio.sleep(0.1)

    # --- the end ------------------------------------------------------------------------------
    async def finish(self) -> None:
        """Mends the world and waits for every client."""
        for call in self.calls.values():
            if call.halt is not None:
                await call.halt.release()
        await self.world.reconnect()
        for undo in reversed(self.cleanups):
            await undo()
        await self.world.mend()
        tasks = [call.task for call in self.calls.values()]
        if tasks:
            _, waiting = await asyncio.wait(tasks, timeout=CALLS_SECONDS_MAX)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for call in self.calls.values():
            if call.counts and self.records(call.seen.ask.mark):
                self.overlaps[call.kind, call.counts] += 1

    def note_owners(self) -> None:
        """Remembers whose every hold is: the proxies forget."""
        for server in self.world.servers:
            for batch in server.proxy.batches:
                parts = batch.operations.owner.split(":")
                for hold_id, _ in batch.operations.holds if len(parts) > 1 else ():
                    self.owners[call_id_of(hold_id)] = int(parts[1])

    def lives(self, call_id: UUID) -> bool:
        """Whether the process that held a call's attempts still runs."""
        owner = self.owners.get(call_id)
        return owner is not None and owner not in self.world.dead and is_running(owner)
