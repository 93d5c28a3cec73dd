"""The verbs of histories: calls that are made, things that are broken, and their release."""

import asyncio
from dataclasses import dataclass, replace

import psycopg

from harness.chats import Ask
from harness.history import Step
from harness.play import Play
from harness.points import Halt, Point, lock_wallet, unlock
from harness.proxy import Line, Verdict

WAIT_SECONDS_MAX = 15.0


# --- calls --------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Chat(Step):
    """A client's call; with `halt` it is brought to that point and stays there."""

    name: str
    replica: int = 0
    tenant: int = 0
    over: str = "grpc"
    stream: bool = True
    model: str = "sim/fast"
    tokens: int = 4
    more: str = ""
    output_max: int = 64
    deadline_s: float = 20.0
    leave_after: int | None = None
    leave_ms: int | None = None
    slow_ms: int = 0
    request_id: str | None = None
    halt: Point | None = None
    awaited: bool = False
    counts: str = ""

    async def run(self, play: Play) -> None:
        server, mark = play.server(self.replica), play.mark(self.name)
        halt = None
        if self.halt is not None:
            tenant = play.tenants[self.tenant]
            halt = Halt.arm(self.halt, play.world, tenant, server.proxy, mark)
        behaviour = f"tokens={self.tokens}{self.more}"
        behaviour += halt.behaviour(self.tokens) if halt else ""
        ask = Ask(
            mark=mark,
            over=self.over,
            stream=self.stream,
            model=self.model,
            behaviour=behaviour,
            output_max=self.output_max,
            deadline_s=self.deadline_s,
            leave_after=self.leave_after,
            leave_ms=self.leave_ms,
            slow_ms=self.slow_ms,
            request_id=self.request_id and play.mark(self.request_id),
        )
        call = play.send(self.name, ask, server, halt, tenant=self.tenant)
        call.counts = self.counts
        if halt is not None:
            await halt.reach(call.task)
        if self.awaited:
            await asyncio.wait([call.task], timeout=WAIT_SECONDS_MAX)


@dataclass(frozen=True, kw_only=True)
class Repeat(Step):
    """The same call again, under its request id, perhaps to another replica or transport."""

    of: str
    name: str
    replica: int = 0
    over: str = "grpc"
    stream: bool = True
    awaited: bool = False

    async def run(self, play: Play) -> None:
        first = play.calls.get(self.of)
        if first is None:
            return
        ask = replace(
            first.seen.ask, over=self.over, stream=self.stream, leave_after=None, leave_ms=None
        )
        if not first.task.done():
            play.overlap("repeated while it ran")
        call = play.send(self.name, ask, play.server(self.replica), tenant=first.tenant)
        if self.awaited:
            await asyncio.wait([call.task], timeout=WAIT_SECONDS_MAX)


@dataclass(frozen=True, kw_only=True)
class Await(Step):
    """Waits until a call has ended for its client."""

    name: str

    async def run(self, play: Play) -> None:
        if self.name in play.calls:
            await asyncio.wait([play.calls[self.name].task], timeout=WAIT_SECONDS_MAX)


@dataclass(frozen=True, kw_only=True)
class Leave(Step):
    """A client goes away."""

    name: str

    async def run(self, play: Play) -> None:
        call = play.calls.get(self.name)
        if call is not None and not call.task.done():
            if call.halt is not None and call.is_halted:
                play.overlap(f"left {call.halt.point}")
            call.task.cancel()
            await asyncio.wait([call.task])


@dataclass(frozen=True, kw_only=True)
class Release(Step):
    """Lets a halted call go on, or ends its lane's connection."""

    name: str
    verdict: Verdict = Verdict.PASS

    async def run(self, play: Play) -> None:
        call = play.calls.get(self.name)
        if call is not None and call.is_halted and call.halt is not None:
            if self.verdict is not Verdict.PASS:
                play.overlap(f"{self.verdict.name.lower()} {call.halt.point}")
            await play.release(self.name, self.verdict)


@dataclass(frozen=True, kw_only=True)
class Sleep(Step):
    """Lets some time pass."""

    ms: int

    async def run(self, play: Play) -> None:
        await asyncio.sleep(self.ms / 1e3)


# --- servers ------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class KillServer(Step):
    """kill -9 of a replica."""

    replica: int = 0
    after_ms: int = 0

    async def run(self, play: Play) -> None:
        await asyncio.sleep(self.after_ms / 1e3)
        server = play.server(self.replica)
        points, running = play.points(server), play.running
        if await play.world.kill(server):
            play.overlap("killed while calls ran", running > 0)
            for point in points:
                play.overlap(f"killed {point}")


@dataclass(frozen=True, kw_only=True)
class StartServer(Step):
    """Starts a replica that was killed."""

    replica: int = 0

    async def run(self, play: Play) -> None:
        server = play.server(self.replica)
        if not server.alive:
            await server.start()


@dataclass(frozen=True, kw_only=True)
class Freeze(Step):
    """SIGSTOP of a replica for a time; of 0, until `Thaw` or the end."""

    replica: int = 0
    ms: int = 0

    async def run(self, play: Play) -> None:
        server = play.server(self.replica)
        if server.freeze():
            play.overlap("froze a server")
            for point in play.points(server):
                play.overlap(f"froze the server {point}")
        if self.ms:
            await asyncio.sleep(self.ms / 1e3)
            server.thaw()


@dataclass(frozen=True, kw_only=True)
class Thaw(Step):
    """SIGCONT of a replica."""

    replica: int = 0

    async def run(self, play: Play) -> None:
        play.server(self.replica).thaw()


# --- the database -------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class KillPostgres(Step):
    """kill -9 of PostgreSQL: `backend` of a replica's lane, `postmaster`, `all`, `recovery`."""

    what: str = "all"
    replica: int = 0
    away_ms: int = 0
    after_ms: int = 0

    async def run(self, play: Play) -> None:
        await asyncio.sleep(self.after_ms / 1e3)
        postgres = play.world.postgres
        points = play.points()
        match self.what:
            case "backend":
                backends = play.server(self.replica).proxy.lane_backends()
                killed = sum(map(postgres.kill_backend, backends)) > 0
            case "postmaster":
                killed = await postgres.kill_postmaster()
            case "recovery":
                killed = await postgres.kill_in_recovery()
            case _:
                killed = await postgres.kill_all()
        if killed:
            play.overlap(f"killed {self.what}")
            for point in points:
                play.overlap(f"killed PostgreSQL {point}")
        await asyncio.sleep(self.away_ms / 1e3)
        await postgres.start()


@dataclass(frozen=True, kw_only=True)
class FreezePostgres(Step):
    """SIGSTOP of a replica's lane backends, or of all of PostgreSQL, for a time."""

    replica: int | None = None
    ms: int = 100

    async def run(self, play: Play) -> None:
        postgres = play.world.postgres
        if self.replica is None:
            master = postgres.postmaster()
            pids = [*postgres.backends(), *([master] if master else [])]
        else:
            pids = play.server(self.replica).proxy.lane_backends()
        if postgres.freeze(pids):
            play.overlap("froze PostgreSQL" if self.replica is None else "froze a lane's backend")
        try:
            await asyncio.sleep(self.ms / 1e3)
        finally:
            postgres.thaw()


@dataclass(frozen=True, kw_only=True)
class SetLine(Step):
    """Cuts or silences the line between a replica and its database, or opens it again."""

    replica: int = 0
    line: Line = Line.CUT

    async def run(self, play: Play) -> None:
        proxy = play.server(self.replica).proxy
        if self.line is not Line.OPEN and proxy.line is Line.OPEN:
            play.overlap(f"{self.line.name.lower()} line")
        proxy.set_line(self.line)


@dataclass(frozen=True, kw_only=True)
class SilencePools(Step):
    """Whatever is not a lane hears nothing of the database for a time."""

    replica: int = 0
    ms: int = 500

    async def run(self, play: Play) -> None:
        proxy = play.server(self.replica).proxy
        proxy.set_pools(silent=True)
        play.overlap("silenced pools", play.running > 0)
        await asyncio.sleep(self.ms / 1e3)
        proxy.set_pools(silent=False)


@dataclass(frozen=True, kw_only=True)
class CutLanes(Step):
    """Resets the lane's connections once."""

    replica: int = 0

    async def run(self, play: Play) -> None:
        if play.server(self.replica).proxy.cut_lanes():
            play.overlap("cut lanes")


@dataclass(frozen=True, kw_only=True)
class LockWallet(Step):
    """A forgotten session sits on the wallet's row for a time, in which other steps are taken."""

    ms: int = 300
    meanwhile: tuple[Step, ...] = ()

    async def run(self, play: Play) -> None:
        try:
            lock = await lock_wallet(play.world, play.tenant)
        except psycopg.Error:
            return  # the database is away
        play.overlap("sat on the wallet")
        loop = asyncio.get_running_loop()
        until = loop.time() + self.ms / 1e3
        try:
            for step in self.meanwhile:
                await step.run(play)
            await asyncio.sleep(max(0.0, until - loop.time()))
        finally:
            await unlock(lock)
