"""Steps that look: whether leases ended, what the doctor says, who passes of a race for credits."""

import asyncio
from collections import Counter
from dataclasses import dataclass

import psycopg
from psycopg.rows import tuple_row

from harness.billing_log import Wanted
from harness.chats import Ask
from harness.history import Step
from harness.play import Play
from harness.provider import call_id_in
from harness.world import LEASE_SECONDS
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import call_id_of

DECIDED_SECONDS_MAX = 15.0
LISTED_SECONDS_MAX = 2 * LEASE_SECONDS + 4.0

_UNRESOLVED = "SELECT id FROM hold WHERE wallet = %s AND state = 'U'"


@dataclass(frozen=True, kw_only=True)
class AwaitUnresolved(Step):
    """Waits until a halted call's lease has ended in the books."""

    name: str

    async def run(self, play: Play) -> None:
        if self.name not in play.calls:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + LISTED_SECONDS_MAX
        while loop.time() < until:
            try:
                rows = await play.world.database.fetch_all(
                    _UNRESOLVED, [play.tenant.account_id], row=tuple_row
                )
            except LedgerUnavailable:
                rows = []
            # An older call of the same tenant may have been unresolved all along.
            asked = {call_id_in(record) for record in play.records(play.mark(self.name))}
            if any(not asked or str(call_id_of(row[0])) in asked for row in rows):
                play.overlap("unresolved while its owner was away")
                return
            await asyncio.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class CheckFenced(Step):
    """A server that was cut off stopped the provider by its own clock, before its lease ended."""

    name: str

    async def run(self, play: Play) -> None:
        for record in play.records(play.mark(self.name)):
            if record.gone_ms is None:
                play.findings.append(f"{self.name}: its server never stopped the provider")
                continue
            took_s = (record.gone_ms - record.received_ms) / 1e3
            play.overlap("fenced before its lease ended", took_s < LEASE_SECONDS)
            if took_s >= LEASE_SECONDS:
                play.findings.append(f"{self.name}: fenced after {took_s:.2f} s, past its lease")


@dataclass(frozen=True, kw_only=True)
class RunDoctor(Step):
    """The doctor looks while everything goes on, and tables are being vacuumed and reindexed."""

    times: int = 1
    maintain: bool = False

    async def run(self, play: Play) -> None:
        maintaining = asyncio.create_task(_maintain(play)) if self.maintain else None
        for _ in range(self.times):
            try:
                found = await play.world.check()
            except LedgerUnavailable:
                break
            play.overlap("the doctor looked while calls ran", play.running > 0)
            play.findings += [f"the doctor, beside calls: {violation}" for violation in found]
        if maintaining is not None:
            play.overlap("maintained while calls ran", await maintaining)


async def _maintain(play: Play) -> int:
    """Vacuums, analyses and reindexes what is busiest; how often that was done beside calls."""
    try:
        session = await play.world.session()
    except psycopg.Error:
        return 0
    done = 0
    try:
        await session.set_autocommit(True)
        for statement in (
            "VACUUM (ANALYZE) hold",
            "REINDEX TABLE CONCURRENTLY hold",
            "VACUUM (ANALYZE) account",
            "REINDEX INDEX CONCURRENTLY posting_pkey",
        ):
            await session.execute(statement)  # type: ignore[arg-type]  # of this list alone
            done += play.running > 0
    except psycopg.Error:
        pass  # the database went away, or a lock was not had in time
    finally:
        await session.close()
    return done


@dataclass(frozen=True, kw_only=True)
class RaceForCredits(Step):
    """`callers` at once on several replicas, with credits for exactly `room` of their holds."""

    name: str
    callers: int
    room: int
    more: int = 0
    replicas: int = 3

    async def run(self, play: Play) -> None:
        for number in range(self.replicas):
            await play.until_served(play.server(number))
        needed = await self._needed(play)
        if needed is None:
            play.findings.append("a caller without credits was not told what is needed")
            return
        wanted = Wanted(
            verb="grant",
            request_id=play.mark(f"{self.name}-credits"),
            account=play.tenant.slug,
            amount=self.room * needed + self.more % needed,
        )
        await play.bill(wanted, play.server(0))
        gate = play.mark(self.name)
        play.world.provider.gates.close(gate)
        calls = [
            play.send(f"{self.name}{number:03}", self._ask(play, number, gate),
                      play.server(number % self.replicas))
            for number in range(self.callers)
        ]  # fmt: skip
        await self._all_decided(play, gate, [call.task for call in calls])
        waiting = play.world.provider.gates.waiting(gate)
        refused = Counter(call.seen.reason for call in calls if call.task.done())
        if waiting != self.room or refused != Counter({"CREDITS_HELD": self.callers - self.room}):
            play.findings.append(f"room for {self.room}: {waiting} passed, refused {dict(refused)}")
        play.overlap("raced for the last credits", waiting > 0 and sum(refused.values()) > 0)
        play.world.provider.gates.open(gate)
        await asyncio.wait([call.task for call in calls], timeout=DECIDED_SECONDS_MAX)

    def _ask(self, play: Play, number: int, gate: str) -> Ask:
        return Ask(
            mark=play.mark(f"{self.name}{number:03}"),
            over=("grpc", "rest")[number % 2],
            stream=number % 4 < 2,
            behaviour=f"tokens=3,gate={gate}",
        )

    async def _needed(self, play: Play) -> int | None:
        """What one hold takes: a refused caller is told."""
        ask = self._ask(play, 999, play.mark(self.name))
        call = play.send(f"{self.name}999", ask, play.server(0))
        await asyncio.wait([call.task], timeout=DECIDED_SECONDS_MAX)
        needed = call.seen.facts.get("needed_nanousd")
        return None if needed is None else int(needed)

    async def _all_decided(self, play: Play, gate: str, tasks: "list[asyncio.Task[None]]") -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + DECIDED_SECONDS_MAX
        gates = play.world.provider.gates
        while loop.time() < until:
            if gates.waiting(gate) + sum(task.done() for task in tasks) >= self.callers:
                return
            await asyncio.sleep(0.005)


@dataclass(frozen=True, kw_only=True)
class CheckServed(Step):
    """A call of another tenant was answered although this one's account is locked."""

    name: str
    ms: int = 2500

    async def run(self, play: Play) -> None:
        call = play.calls.get(self.name)
        if call is None:
            return
        await asyncio.wait([call.task], timeout=self.ms / 1e3)
        if call.seen.status == "answered":
            play.overlap("served beside a locked account")
        elif is_about_lock(call.seen.reason):
            return  # it came in the second in which the lane found out
        else:
            play.findings.append(f"{self.name} was {call.seen.status} beside a locked account")


def is_about_lock(reason: str) -> bool:
    return reason == "LEDGER_UNAVAILABLE"


@dataclass(frozen=True, kw_only=True)
class ChangePrice(Step):
    """The price of an offer changes; calls that were held before keep theirs."""

    model: str
    prompt: int
    completion: int

    async def run(self, play: Play) -> None:
        world = play.world
        before = await world.price_version(self.model)
        for call in play.halted():
            if call.seen.ask.model == self.model and any(
                call_id_in(record) for record in play.records(call.seen.ask.mark)
            ):
                row = await world.database.fetch_one(
                    "SELECT price_version FROM hold WHERE wallet = %s AND model = %s",
                    [play.tenant.account_id, self.model],
                    row=tuple_row,
                )
                if row is not None:
                    play.pinned[call.name] = int(row[0])
        after = await world.set_price(self.model, self.prompt, self.completion)
        play.overlap("price changed mid-stream", len(play.pinned) if after != before else 0)
