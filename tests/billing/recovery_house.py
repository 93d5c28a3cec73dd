"""A worker that recovers, others beside it that die, and a database that may go back in time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
from ledger_rig import (
    UNIT_PRICE,
    WALLETS,
    RealClock,
    Rig,
    Watch,
    Worker,
    final_op,
    hold_op,
    until,
)

from omni_grpc.billing import CallJournal, Lane, LedgerStore, Recovered, Recovery
from omni_grpc.billing.journal_records import Opened, Record, encode
from omni_grpc.billing.operations import Code, Final, FinalOp, HoldOp
from omni_grpc.core.ids import AccountId, HoldId
from omni_grpc.storage import (
    Connection,
    JournalFolder,
    SegmentWriter,
    boot_id,
    connect,
)

GRANT = 1_000

BOOKS = ("account", "hold", "posting", "usage_record", "request")


class Recoveries:
    """Notes what recoveries tell their observer."""

    def __init__(self) -> None:
        self.found: list[Recovered] = []

    def journal_recovered(self, found: Recovered) -> None:
        self.found.append(found)


class House:
    """A living worker, which recovers, and others beside it, which die."""

    def __init__(self, rig: Rig, root: Path, sql: psycopg.Connection) -> None:
        self.rig = rig
        self.root = root
        self.sql = sql
        self.worker: Worker
        self._journals: list[CallJournal] = []
        self._copy: dict[str, bytes] = {}

    async def start(self) -> None:
        self.worker = await self.rig.worker()
        await self.worker.grant(GRANT)

    def lane(self, url: str, journal: CallJournal) -> Lane:
        async def connection() -> Connection:
            return await connect(url, application_name="lane")

        return Lane(connection, RealClock(), Watch(), journal)

    def recovery(self, worker: Worker | None = None, store: LedgerStore | None = None) -> Recovery:
        one = worker or self.worker
        return Recovery(
            self.root,
            one.lane,
            store or self.rig.store,
            one.lane._journal,
            Recoveries(),
            late_s=0.0,
        )

    async def recover(self) -> Recovered:
        """Recovers the one journal there is."""
        (found,) = await self.recovery().recover()
        return found

    async def victim(self, **settings: object) -> "Victim":
        journal = CallJournal(self.root, RealClock(), **settings)  # type: ignore[arg-type]
        self._journals.append(journal)
        victim = Victim(self.lane(self.rig.url, journal), journal)
        victim.running = self.rig.start(victim.lane.run())
        await until(lambda: victim.lane.connected)
        return victim

    def folder(self) -> Path:
        (path,) = self.root.glob("w-*")
        return path

    def names(self) -> list[str]:
        return sorted(path.name.split("-")[0] for path in self.root.iterdir())

    def write(self, records: Sequence[Record]) -> None:
        """Leaves a journal with these records."""
        folder = JournalFolder.create(self.root)
        writer = SegmentWriter(folder)
        writer.begin(encode(records[0]))
        for record in records[1:]:
            writer.append(encode(record))
        writer.close()
        folder.release()

    def state(self, hold_id: HoldId) -> tuple[str, int]:
        """How a hold stands: open or unresolved and what it holds, or its final kind and amount."""
        row = self.sql.execute(
            "SELECT state::text, amount FROM hold WHERE id = %(id)s UNION ALL"
            " SELECT min(kind::text), sum(amount)::bigint FROM posting WHERE id = %(id)s"
            " HAVING count(*) > 0",
            {"id": hold_id},
        ).fetchone()
        return row or ("none", 0)

    def usage(self, hold_id: HoldId) -> tuple[object, ...]:
        row = self.sql.execute(
            "SELECT outcome::text, estimated, prompt, completion, provider_ref"
            " FROM usage_record WHERE hold_id = %s",
            [hold_id],
        ).fetchone()
        assert row
        return row

    def books(self) -> list[tuple[object, ...]]:
        return self.sql.execute(
            "SELECT id, credits_posted, debits_posted, debits_pending FROM account ORDER BY id"
        ).fetchall()

    def back_up(self) -> None:
        """Copies the books as they stand; not into tables, which would make the database another
        than its template, so that the next test had to make one anew."""
        for table in BOOKS:
            with self.sql.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
                self._copy[table] = b"".join(copy)

    def restore(self) -> None:
        """Puts the books back to their copy, unseen by the workers' connections."""
        with self.sql.transaction():
            for table in BOOKS:
                self.sql.execute(f"DELETE FROM {table}")
                with self.sql.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                    copy.write(self._copy[table])

    async def cut(self, *workers: Worker) -> None:
        """Ends the lanes' connections, as the end of their server does, until they are back."""
        lanes = [worker.lane for worker in workers or (self.worker,)]
        before = [lane.connected_at for lane in lanes]
        self.sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'lane'"
        )
        for lane in lanes:
            lane._wake.set()  # an idle lane looks once a second
        pairs = list(zip(lanes, before, strict=True))
        await until(lambda: all(lane.connected_at not in (None, was) for lane, was in pairs))

    async def balance(self) -> tuple[int, int, int]:
        found = await self.worker.ledger.balance(AccountId(WALLETS[0]))
        return found.posted, found.held, found.unresolved

    def close(self) -> None:
        for journal in self._journals:
            journal._writer.close()
            journal._folder.release()


class Victim:
    """A worker that dies with what its journal holds at that moment."""

    def __init__(self, lane: Lane, journal: CallJournal) -> None:
        self.lane = lane
        self.journal = journal
        self.running: asyncio.Task[None]

    async def hold(self, amount: int = 10, **facts: object) -> HoldOp:
        op = replace(hold_op(amount), **facts)  # type: ignore[arg-type]
        assert (await self.lane.hold(op)).code is Code.DONE
        return op

    async def dispatch(self, amount: int = 10, **facts: object) -> HoldOp:
        op = await self.hold(amount, **facts)
        self.journal.dispatched(op, amount, UNIT_PRICE)
        return op

    async def settle(self, cost: int = 3) -> FinalOp:
        """A whole call, acknowledged by the database."""
        return await self.end(cost)

    async def end(self, cost: int, kind: Final = Final.SETTLE) -> FinalOp:
        """A whole call that ends so, acknowledged by the database."""
        op = ended(await self.dispatch(), cost, kind)
        self.journal.final(op)
        await self.lane.apply(op)
        return op

    def opened(self, since_ms: int = 0) -> Opened:
        """How its journal begins."""
        return Opened(self.lane.owner, self.lane.epoch, boot_id(), since_ms, self.lane.ledger)

    async def die(self) -> None:
        """As a kill does it: the system closes the files, and nobody says a word."""
        self.running.cancel()
        await asyncio.wait([self.running])
        self.journal._writer.close()
        self.journal._folder.release()


def ended(hold: HoldOp, cost: int = 3, kind: Final = Final.SETTLE) -> FinalOp:
    return replace(final_op(kind, hold.id, cost, wallet=hold.wallet), hold=hold)
