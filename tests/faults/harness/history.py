"""Histories: steps that are data, so that they print, repeat from a seed, and can be left out.

A step is a frozen dataclass with one verb. Steps refer to each other by the names of calls alone,
and a step whose call is missing does nothing: so any history without some of its steps is one too.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from harness.billing_log import BillingLog
from harness.chats import Ask, Seen, chat
from harness.points import Halt, Point
from harness.proxy import Verdict
from harness.servers import Server
from harness.world import Tenant, World
from omni_grpc.simulator import CallRecord

CREDITS = 10**9
CALLS_SECONDS_MAX = 40.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that happens."""

    async def run(self, play: "Play") -> None:
        raise NotImplementedError

    def __str__(self) -> str:
        told = [
            f"{each.name}={getattr(self, each.name)!s}"
            for each in fields(self)
            if getattr(self, each.name) != each.default
        ]
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True)
class History:
    """What a seed stands for: steps, each with the number of the kind of faults it belongs to."""

    seed: int
    steps: tuple[tuple[int, Step], ...]
    credits: int = CREDITS

    @property
    def kinds(self) -> tuple[int, ...]:
        return tuple(sorted({kind for kind, _ in self.steps}))

    def without(self, left_out: Iterable[int]) -> "History":
        gone = set(left_out)
        kept = tuple(step for place, step in enumerate(self.steps) if place not in gone)
        return History(self.seed, kept, self.credits)

    def __str__(self) -> str:
        head = f"seed {self.seed}, {self.credits} nano-USD of credits:"
        return "\n".join([head, *(f"  kind {kind}: {step}" for kind, step in self.steps)])


@dataclass(eq=False)
class Call:
    """A client's call in a play."""

    name: str
    seen: Seen
    task: "asyncio.Task[None]"
    halt: Halt | None = None

    @property
    def is_halted(self) -> bool:
        return self.halt is not None and self.halt.is_reached


@dataclass(eq=False)
class Play:
    """One history in a world. What must be true of it, model.py says."""

    world: World
    history: History
    prefix: str
    tenant: Tenant
    billing: BillingLog
    calls: dict[str, Call] = field(default_factory=dict)
    overlaps: Counter[tuple[int, str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    """What a step itself saw to be wrong."""
    kind: int = 0
    """Whose steps run; overlaps are counted for it."""
    others: dict[str, Any] = field(default_factory=dict)
    """What steps keep for later steps, by names of theirs."""
    began_s: float = field(default_factory=time.monotonic)

    def server(self, number: int) -> Server:
        return self.world.servers[number % len(self.world.servers)]

    def overlap(self, name: str, count: int = 1) -> None:
        """Counts that two things happened at once, as was wanted."""
        if count:
            self.overlaps[self.kind, name] += count

    def mark(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def records(self, name: str) -> list[CallRecord]:
        """What the provider saw of a call, in order."""
        return self.world.provider.by_mark.get(self.mark(name), [])

    def halted(self, server: Server | None = None) -> list[Call]:
        """The calls that stand at a point now."""
        return [
            call
            for call in self.calls.values()
            if call.is_halted and (server is None or call.seen.server == server.number)
        ]

    def send(self, name: str, ask: Ask, number: int, halt: Halt | None = None) -> Call:
        """Starts a client; its server may be dead."""
        server = self.server(number)
        seen = Seen(ask, server.number, server.life)
        task = asyncio.create_task(chat(ask, seen, self.tenant.api_key))
        call = self.calls[name] = Call(name, seen, task, halt)
        return call

    async def release(self, name: str, verdict: Verdict = Verdict.PASS) -> None:
        call = self.calls.get(name)
        if call is not None and call.halt is not None:
            await call.halt.release(verdict)
            call.halt.is_reached = False

    async def finish(self) -> None:
        """Mends the world and waits for every client."""
        for call in self.calls.values():
            if call.halt is not None:
                await call.halt.release()
        await self.world.mend()
        tasks = [call.task for call in self.calls.values()]
        if tasks:
            _, waiting = await asyncio.wait(tasks, timeout=CALLS_SECONDS_MAX)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def at(self, point: Point, server: Server | None = None) -> int:
        """How many calls stand at a point."""
        return sum(call.halt.point is point for call in self.halted(server) if call.halt)
