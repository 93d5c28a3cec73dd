"""What a ledger bench measures, and in which order.

What is compared goes by turns, so that both sides meet the same noise of the machine.
"""

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import psycopg
from ledger_books import Books
from ledger_lane import Watch, running_lane
from ledger_results import ONE_WALLET_CALLERS, PROCESSES, Client, Plan, Results, Row
from ledger_steps import pgbench
from ledger_work import Found, Way, Work
from psycopg import pq

from omni_grpc.billing import LedgerStore, NoJournal, Reaper
from omni_grpc.billing.invariants import Invariant
from omni_grpc.core.clock import SystemClock
from omni_grpc.storage import Database, EmbeddedPostgres

HERE: Final = Path(__file__).parent
END_SECONDS_MAX: Final = 60.0
ORPHAN_LEASE_S: Final = 3
OUTAGE_CALLERS: Final = 64
POLL_SECONDS: Final = 0.002
STEP_CLIENTS: Final[tuple[Client, ...]] = ("psycopg", "pgbench")
PAUSE_SECONDS: Final = 0.05

_UNRESOLVED: Final = """
SELECT id, extract(epoch FROM clock_timestamp() - lease_until) FROM hold WHERE state = 'U'
"""


class Process:
    """A process of callers."""

    def __init__(self, work: Work) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "ledger_worker.py"), msgspec.json.encode(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def await_word(self, word: str) -> None:
        """Waits until the process says where it is."""
        said = self._line()
        if said != word:
            raise SystemExit(f"A process of callers said {said!r} where {word!r} was due.")

    def go(self) -> None:
        """Lets it begin, or end."""
        if self.process.stdin is not None:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()

    def found(self) -> Found:
        """What it found, at its end."""
        found = msgspec.json.decode(self._line(), type=Found)
        self.process.wait(END_SECONDS_MAX)
        return found

    def _line(self) -> str:
        return self.process.stdout.readline().rstrip("\n") if self.process.stdout else ""


@contextlib.contextmanager
def processes(*works: Work) -> Iterator[list[Process]]:
    """Processes that are ready; whichever is left at the end is killed."""
    started: list[Process] = []
    try:
        started.extend(Process(work) for work in works)
        yield started
    finally:
        for one in started:
            one.process.kill()
            one.process.wait()


class Runner:
    """Measures on one server with one set of books. `tell` is told what runs now."""

    def __init__(self, books: Books, plan: Plan, tell: Callable[[str], None]) -> None:
        self._books = books
        self._plan = plan
        self._tell = tell
        self._debited_before = books.debits_nanousd()
        self.results = Results()

    # --- the scenarios --------------------------------------------------------------------------
    def lane(self) -> None:
        """Through the lane: many wallets at each number of callers, and one wallet beside them.

        The bytes that a call leaves behind are the growth of the tables meanwhile.
        """
        with self._growth() as grown:
            for _ in range(self._plan.rounds):
                for callers in self._plan.callers:
                    self._measure("lane", self._plan.wallets, 1, callers)
                    if callers == ONE_WALLET_CALLERS:
                        self._measure("lane", 1, 1, callers)
        self.results.bytes_per_call = grown

    def keyed(self) -> None:
        """The same calls, each with a request id of its own, and its answer kept."""
        with self._growth() as grown:
            for _ in range(self._plan.rounds):
                self._measure("keyed", self._plan.wallets, 1, ONE_WALLET_CALLERS)
        self.results.bytes_per_keyed_call = grown

    def replicas(self) -> None:
        """Three processes on one wallet, and one of them alone."""
        before = self._books.deadlocks()
        for _ in range(self._plan.rounds):
            self._measure("lane", 1, 1, ONE_WALLET_CALLERS)
            self._measure("lane", 1, PROCESSES, ONE_WALLET_CALLERS)
        self.results.deadlocks = self._books.deadlocks() - before

    def steps(self) -> None:
        """One transaction a step: finds the best number of connections, then goes by turns."""
        plan = self._plan
        for wallets in (plan.wallets, 1):
            best = {client: self._best_connections(client, wallets) for client in STEP_CLIENTS}
            for _ in range(plan.rounds):
                for client, connections in best.items():
                    self._turn(client, wallets, connections)
                self._turn("lane", wallets, ONE_WALLET_CALLERS)

    def orphans(self) -> None:
        """Kills a worker with open holds; how long after its lease is each one unresolved?"""
        self._tell("waiting for the leases of a killed worker to end")
        self.results.unresolved_s = asyncio.run(self._orphaned())

    def outages(self) -> None:
        """Kills PostgreSQL under load and starts it again."""
        with processes(self._work("lane", self._plan.wallets, OUTAGE_CALLERS, None)) as (one,):
            one.await_word("ready")
            one.go()
            one.await_word("measuring")
            times = [self._outage() for _ in range(self._plan.kills)]
            one.go()
            one.await_word("measured")
            found = one.found()
        self.results.charged_nanousd += found.charged_nanousd
        for killed, back in times:
            granted = min(at for at in found.granted_after_cut if at > killed)
            self.results.outage_s.append(back - killed)
            self.results.first_hold_s.append(max(0.0, granted - back))

    def examine(self) -> None:
        """Whether the books are right, and every charge that was acknowledged is in them."""
        self._books.book_steps()
        results = self.results
        results.debited_nanousd = self._books.debits_nanousd() - self._debited_before
        found = self._books.doctor(
            lambda part, rows: self._tell(f"the doctor reads {part}: {rows:,}")
        )
        results.violations = [str(violation) for violation in found]
        results.overcharges = sum(
            violation.invariant in (Invariant.I4, Invariant.I6) for violation in found
        )

    @contextlib.contextmanager
    def _growth(self) -> Iterator[dict[str, float]]:
        """Gives, once it is over, by how many bytes each table grew for each settled call."""
        sizes, calls, grown = self._books.sizes(), self._books.entries(), dict[str, float]()
        yield grown
        calls = self._books.entries() - calls
        for table, after in self._books.sizes().items():
            grown[table] = (after - sizes[table]) / max(1, calls)

    def _best_connections(self, client: Client, wallets: int) -> int:
        """On how many connections one transaction a step is fastest."""
        tried = self._plan.connections
        if len(tried) == 1:
            return tried[0]
        return max(tried, key=lambda count: self._measure(client, wallets, 1, count).per_second)

    # --- one measurement ------------------------------------------------------------------------
    def _measure(self, client: Client, wallets: int, count: int, callers: int) -> Row:
        words = "1 wallet" if wallets == 1 else f"{wallets:,} wallets"
        self._tell(f"{client}, {words}, {count} x {callers}")
        row = self._row(client, wallets, count, callers)
        self.results.rows.append(row)
        return row

    def _turn(self, client: Client, wallets: int, callers: int) -> None:
        """A measurement that is compared with the others of its round."""
        row = msgspec.structs.replace(self._measure(client, wallets, 1, callers), turn=True)
        self.results.rows[-1] = row

    def _row(self, client: Client, wallets: int, count: int, callers: int) -> Row:
        ways: dict[Client, Way] = {"lane": "lane", "keyed": "keyed"}
        work = self._work(ways.get(client, "steps"), wallets, callers, self._plan.seconds)
        if client == "pgbench":
            before = self._used()
            found = [pgbench(self._books.program("pgbench"), work)]
            after = self._used()
        else:
            with processes(*[work] * count) as started:
                for word in ("ready", "measuring", "measured"):
                    for one in started:
                        one.await_word(word)
                    if word == "ready":
                        for one in started:
                            one.go()
                    elif word == "measuring":
                        before = self._used()
                after = self._used()
                found = [one.found() for one in started]
        self.results.charged_nanousd += sum(one.charged_nanousd for one in found)
        postgres_s, wal_bytes = (end - begin for begin, end in zip(before, after, strict=True))
        return _row_of(client, wallets, callers, found, postgres_s, wal_bytes)

    def _work(self, way: Way, wallets: int, callers: int, seconds: float | None) -> Work:
        return Work(
            way=way,
            url=self._books.url,
            wallets=(self._books.first_wallet, wallets),
            callers=callers,
            price=self._books.price,
            warm_s=self._plan.warm_s,
            seconds=seconds,
        )

    def _used(self) -> tuple[float, float]:
        return self._books.cpu_s(), self._books.wal_bytes()

    # --- what is killed -------------------------------------------------------------------------
    def _outage(self) -> tuple[float, float]:
        """Kills the server, starts it; returns when it was killed, and when it took sessions."""
        self._tell("killing PostgreSQL under load")
        pid = self._books.pid()
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        time.sleep(PAUSE_SECONDS)
        with ThreadPoolExecutor(1) as pool:
            back = pool.submit(_answers, self._books.url)
            with EmbeddedPostgres(self._books.folder):
                came_back = back.result()
                self._await_calls()
        return killed, came_back

    def _await_calls(self) -> None:
        """Waits until calls are settled again that were begun after the outage."""
        enough = self._books.entries() + 8 * OUTAGE_CALLERS
        deadline = time.monotonic() + END_SECONDS_MAX
        while self._books.entries() < enough:
            if time.monotonic() > deadline:
                raise SystemExit("No call was settled after PostgreSQL was back.")
            time.sleep(PAUSE_SECONDS)

    async def _orphaned(self) -> list[float]:
        work = msgspec.structs.replace(
            self._work("orphans", self._plan.wallets, self._plan.orphans, None),
            lease_s=ORPHAN_LEASE_S,
        )
        late: dict[object, float] = {}
        with processes(work) as (one,):
            async with (
                Database(self._books.url, application_name="bench") as database,
                running_lane(self._books.url, Watch(), NoJournal()) as lane,
                await psycopg.AsyncConnection.connect(self._books.url, autocommit=True) as sql,
            ):
                reaping = asyncio.ensure_future(
                    Reaper(lane, LedgerStore(database), SystemClock()).run()
                )
                held = asyncio.ensure_future(asyncio.to_thread(one.await_word, "held"))
                deadline = time.monotonic() + END_SECONDS_MAX
                while len(late) < work.callers and time.monotonic() < deadline:
                    for hold_id, seconds in await (await sql.execute(_UNRESOLVED)).fetchall():
                        late.setdefault(hold_id, float(seconds))
                    if held.done() and one.process.poll() is None:
                        one.process.kill()
                    await asyncio.sleep(POLL_SECONDS)
                reaping.cancel()
        if len(late) < work.callers:
            raise SystemExit(f"Of {work.callers} orphans only {len(late)} became unresolved.")
        return sorted(late.values())


def _row_of(
    client: Client,
    wallets: int,
    callers: int,
    found: Sequence[Found],
    postgres_s: float,
    wal_bytes: float,
) -> Row:
    operations = max(1, sum(one.operations for one in found))
    batches = sum(one.batches for one in found)
    return Row(
        client=client,
        wallets=wallets,
        processes=len(found),
        callers=callers,
        per_second=sum(one.per_second for one in found),
        hold_p50_ms=statistics.median(one.hold_p50_ms for one in found),
        hold_p99_ms=max(one.hold_p99_ms for one in found),
        batch=operations / batches if batches else 0.0,
        batch_ms=1e3 * sum(one.batch_s for one in found) / batches if batches else 0.0,
        client_us=1e6 * sum(one.cpu_s for one in found) / operations,
        postgres_us=1e6 * postgres_s / operations,
        wal_bytes=wal_bytes / operations,
        refused=sum(one.refused for one in found),
    )


def _answers(url: str) -> float:
    """The monotonic time at which the server took sessions."""
    deadline = time.monotonic() + END_SECONDS_MAX
    while pq.PGconn.ping(url.encode()) != pq.Ping.OK:
        if time.monotonic() > deadline:
            raise SystemExit("PostgreSQL did not come back.")
        time.sleep(POLL_SECONDS)
    return time.monotonic()
