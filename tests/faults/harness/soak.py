"""Minutes of traffic while replicas and PostgreSQL are killed; then every call is accounted for.

Clients of both transports chat, cancel and repeat; at the end their own logs, the provider's log
and the ledger must agree call by call, and the doctor must find nothing.
"""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from harness.billing_log import BillingLog, Wanted
from harness.chats import Ask
from harness.history import History
from harness.model import differences
from harness.play import Call, Play
from harness.totals import provenance, say
from harness.world import UNRESOLVED_SECONDS_MAX, World
from omni_grpc.core.errors import LedgerUnavailable

TENANTS = 16
CREDITS = 10**13
PROGRESS_SECONDS = 10.0
PAUSE_SECONDS_MAX = 0.8
"""Between two calls of a client, so that a run's log fits into memory."""

REPEATS_MAX = 8
SETTLED_SECONDS_MAX = 60.0
FINDINGS_MAX = 50
GIVEN_UP = frozenset({"INTERRUPTED", "REQUEST_ID_REUSED", "CREDITS_HELD", "CREDITS_EXHAUSTED"})
"""What no repeat under the same request id can change."""


@dataclass(eq=False)
class Soak:
    """One run in a world of its own."""

    world: World
    clients: int
    seconds: float
    seed: int = 1
    faults: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    calls: int = 0
    _asked: int = 0

    async def run(self) -> bool:
        """Runs it; whether all is accounted for."""
        play = await self._begin()
        until = time.monotonic() + self.seconds
        tasks = [asyncio.create_task(self._client(play, n, until)) for n in range(self.clients)]
        chaos = asyncio.create_task(self._break_things(play, until))
        progress = asyncio.create_task(self._tell(play))
        try:
            await asyncio.gather(*tasks, chaos)
        finally:
            progress.cancel()
        say("traffic has ended; waiting for the last leases and settles")
        await play.finish()
        play.note_owners()
        self.calls = len(play.calls)
        await asyncio.sleep(UNRESOLVED_SECONDS_MAX)
        self.findings += await self._settled(play)
        self.findings += [str(violation) for violation in await self.world.check()]
        self.findings += self.world.ended()
        await self._summarize(play)
        return not self.findings

    async def _begin(self) -> Play:
        tenants = [await self.world.tenant() for _ in range(TENANTS)]
        keys = {tenant.slug: tenant.api_key for tenant in tenants} | {"": self.world.admin_key}
        play = Play(self.world, History(self.seed, ()), "soak-", tenants, BillingLog(keys))
        for tenant in tenants:
            wanted = Wanted(
                verb="grant",
                request_id=f"credits-{tenant.slug}",
                account=tenant.slug,
                amount=CREDITS,
            )
            await play.bill(wanted, self.world.servers[0])
        await play.billing.resolve(self.world.servers)
        return play

    # --- clients ------------------------------------------------------------------------------
    async def _client(self, play: Play, number: int, until: float) -> None:
        rng = random.Random(f"{self.seed}/{number}")
        while time.monotonic() < until:
            self._asked += 1
            ask = self._ask(rng, f"{number}-{self._asked}")
            call = await self._call(play, rng, ask, number)
            for _ in range(REPEATS_MAX if ask.request_id else 0):
                if call.seen.status in ("answered", "left") or call.seen.reason in GIVEN_UP:
                    break
                await asyncio.sleep(rng.uniform(0.05, 0.5))
                call = await self._call(play, rng, ask, number)
            await asyncio.sleep(rng.uniform(0, PAUSE_SECONDS_MAX))

    def _ask(self, rng: random.Random, name: str) -> Ask:
        leaves = rng.random()
        return Ask(
            mark=f"soak-{name}",
            over=rng.choice(("grpc", "rest")),
            stream=rng.random() < 0.7,
            behaviour=f"tokens={rng.randrange(1, 40)},delay_ms={rng.uniform(0, 12):.2f}",
            leave_after=rng.randrange(12) if leaves < 0.1 else None,
            leave_ms=rng.randrange(1, 250) if 0.1 <= leaves < 0.2 else None,
            slow_ms=rng.choice((0, 0, 0, 15)),
            request_id=f"soak-{name}" if rng.random() < 0.4 else None,
        )

    async def _call(self, play: Play, rng: random.Random, ask: Ask, number: int) -> Call:
        while not any(server.alive for server in self.world.servers):
            await asyncio.sleep(0.02)
        server = rng.choice([server for server in self.world.servers if server.alive])
        name = f"{ask.mark}/{len(play.calls)}"
        call = play.send(name, ask, server, tenant=number % TENANTS)
        await asyncio.wait([call.task])
        return call

    # --- faults -------------------------------------------------------------------------------
    async def _break_things(self, play: Play, until: float) -> None:
        rng = random.Random(f"{self.seed}/faults")
        while time.monotonic() < until:
            await asyncio.sleep(rng.uniform(0.1, 1.8))
            server = rng.choice(self.world.servers)
            what = rng.choices(
                ("kill a server", "kill PostgreSQL", "cut lanes", "freeze a server"), (60, 25, 8, 7)
            )[0]
            self.faults[what] += 1
            match what:
                case "kill a server":
                    play.note_owners()
                    server.proxy.batches.clear()
                    await self.world.kill(server)
                    await asyncio.sleep(rng.choice((0, 0, 0.2)))
                    await server.start()
                case "kill PostgreSQL":
                    await self._kill_postgres(rng)
                case "cut lanes":
                    server.proxy.cut_lanes()
                case _:
                    server.freeze()
                    await asyncio.sleep(rng.uniform(0.1, 1.0))
                    server.thaw()

    async def _kill_postgres(self, rng: random.Random) -> None:
        postgres = self.world.postgres
        match rng.choice(("all", "postmaster", "backend", "recovery")):
            case "all":
                await postgres.kill_all()
            case "postmaster":
                await postgres.kill_postmaster()
            case "recovery":
                await postgres.kill_in_recovery()
            case _:
                for server in self.world.servers:
                    for backend in server.proxy.lane_backends()[:1]:
                        postgres.kill_backend(backend)
                        return
        await asyncio.sleep(rng.choice((0, 0, 0.3)))
        await postgres.start()

    # --- what came of it ----------------------------------------------------------------------
    async def _tell(self, play: Play) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            seen = Counter(call.seen.status for call in play.calls.values())
            say(
                f"{time.monotonic() - began:4.0f} s of {self.seconds:.0f}: {len(play.calls)} calls "
                f"({', '.join(f'{count} {name}' for name, count in seen.most_common())}), "
                f"{self.world.deaths} kills of a server, {self.world.postgres.kills} of PostgreSQL"
            )

    async def _settled(self, play: Play) -> list[str]:
        until = time.monotonic() + SETTLED_SECONDS_MAX
        while True:
            try:
                books = [await self.world.books(tenant) for tenant in play.tenants]
                found = differences(play, books, late=True)
            except LedgerUnavailable as error:
                found = [f"the database does not answer: {error.message}"]
            if not found or time.monotonic() > until:
                return found
            await asyncio.sleep(0.5)

    async def _summarize(self, play: Play) -> None:
        seen = Counter(call.seen.status for call in play.calls.values())
        books = [await self.world.books(tenant) for tenant in play.tenants]
        ends = Counter(
            attempt.kinds
            for own in books
            for attempts in own.calls().values()
            for attempt in attempts.values()
        )
        generated = sum(len(records) for records in self.world.provider.by_mark.values())
        charged = sum(row.amount for own in books for row in own.postings if row.kind == "S")
        rows = [
            ("calls", len(play.calls)),
            *((f"  {name}", count) for name, count in seen.most_common()),
            ("repeats under a request id", len(play.calls) - self._asked),
            ("attempts that reached the provider", generated),
            *((f"  ended in the books as {kinds}", count) for kinds, count in ends.most_common()),
            ("charged, nano-USD", charged),
            ("kills of a server", self.world.deaths),
            ("kills of PostgreSQL", self.world.postgres.kills),
            *((f"  {name}", count) for name, count in self.faults.items()),
            ("differences", len(self.findings)),
        ]
        say("\n".join(f"{name:<44}{count:>14,}" for name, count in rows))
        for text in self.findings[:FINDINGS_MAX]:
            say(f"  - {text}")

    def to_json(self) -> dict[str, object]:
        return {
            **provenance(),
            "minutes": round(self.seconds / 60, 1),
            "clients": self.clients,
            "calls": self.calls,
            "server_kills": self.world.deaths,
            "postgres_kills": self.world.postgres.kills,
            "differences": len(self.findings),
        }
