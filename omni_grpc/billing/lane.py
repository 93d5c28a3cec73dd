"""The lane: one connection through which a worker's ledger operations go, in batches.

While one batch is in the database the next one gathers; an idle lane sends at once, so light load
waits for nothing. The lane promises that an operation whose future it returned is either applied
exactly once or refused, also when the connection, or the acknowledgement of a commit, is lost: the
same batch is sent again under the same ids. It never drops a final: those wait, without bound,
until the database answers, and one that can never apply is kept as a dead letter. New holds are
refused at once while the database does not answer.
"""

import asyncio
import itertools
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol
from uuid import UUID

import psycopg
import structlog

from omni_grpc.billing.batch import outcomes, statement
from omni_grpc.billing.dead_letters import INSERT_SQL, letter
from omni_grpc.billing.gathering import Gathering
from omni_grpc.billing.greeting import LastEnds
from omni_grpc.billing.journal import Journal
from omni_grpc.billing.operations import (
    AttemptOutcome,
    Code,
    Decider,
    Final,
    FinalOp,
    HoldOp,
    Operation,
    Origin,
    Outcome,
    RequestEndOp,
    TransferOp,
)
from omni_grpc.billing.parking import PROBE_SECONDS, Parking
from omni_grpc.billing.queue import LaneQueue, Result, Waiting
from omni_grpc.billing.refusals import fail, locked, unavailable, unknown
from omni_grpc.billing.renewals import Renewals
from omni_grpc.billing.session import (
    STATEMENT_SECONDS_MAX,
    Connect,
    LedgerSession,
    is_lock_timeout,
    is_of_data,
    sends_again,
    sqlstate,
)
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Busy, Internal, LedgerUnavailable
from omni_grpc.core.limits import HOLD_LEASE_SECONDS, LANE_QUEUE_MAX

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Pauses between attempts to connect, or to send a batch to a server that takes none; the last
one repeats."""

LOOK_SECONDS = 1.0
"""How often an idle lane looks whether its connection still lives."""

_OF_REQUESTS = frozenset(
    {
        Code.REQUEST_REUSED,
        Code.REQUEST_REPEATED,
        Code.REQUEST_RUNNING,
        Code.REQUEST_INTERRUPTED,
    }
)


class LaneObserver(Protocol):
    """What wants to know how the lane fares; the metrics do."""

    def batch_applied(self, size: int, seconds: float) -> None:
        """A batch of `size` operations was committed."""

    def connection_changed(self, connected: bool) -> None:
        """The database answers, or no longer does."""

    def rows_parked(self, count: int) -> None:
        """That many rows are locked by other sessions, and what concerns them waits."""

    def dead_letter_written(self) -> None:
        """An operation can never apply and was set aside."""


class Lane:
    """Applies ledger operations in arrival order; see the module's promise.

    Run `run()` as a task for the lane's life; `close()` lets what is queued finish.
    """

    def __init__(
        self,
        connect: Connect,
        clock: Clock,
        observer: LaneObserver,
        journal: Journal,
        *,
        lease_s: float = HOLD_LEASE_SECONDS,
        statement_s: float = STATEMENT_SECONDS_MAX,
    ) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self.epoch = 0
        self.ledger = ""
        """Which ledger this is: the microsecond of its first account, also when it was restored."""
        self.connected_at: float | None = None
        """Monotonic time since which the database answers; None while it does not."""
        self.was_cut = False
        """Whether the database went away once in this worker's life."""
        self.lease_s = lease_s
        self.charged_budgets: set[int] = set()
        """Budgets that this worker's calls were charged to; whoever looks at them empties it."""
        self._number = 0
        self._session = LedgerSession(connect, statement_s)
        self._clock = clock
        self._observer = observer
        self._journal = journal
        self._queue = LaneQueue()
        self._parking = Parking(self._session)
        self._renewals = Renewals(self._session)
        self._gathering = Gathering()
        self._last_ends = LastEnds()
        self._wake = asyncio.Event()
        self._closing = False
        self._unsettled = 0
        self._idle = asyncio.Event()
        self._idle.set()

    # --- what others call -----------------------------------------------------------------
    @property
    def connected(self) -> bool:
        """Whether the last thing known of the database is that it answers."""
        return self.connected_at is not None

    @property
    def depth(self) -> int:
        """Operations that wait for their outcome."""
        return self._unsettled

    def hold(self, op: HoldOp) -> Result:
        """Queues a hold.

        A hold whose caller no longer waits when it is granted is voided by the lane itself.

        Raises:
            LedgerUnavailable: the database does not answer, or another session sits on a
                row that it needs; nothing is queued.
            Busy: the lane is full, or closing; nothing is queued.
        """
        if self._closing:
            raise Busy("The server is stopping; send the call to another one.", retry_after_s=1.0)
        if not self.connected:
            raise unavailable()
        if self._parking.concerns(op):
            raise locked()
        if len(self._queue) >= LANE_QUEUE_MAX:
            raise Busy("The ledger has too much to do; try again shortly.", retry_after_s=0.5)
        return self._enqueue(op)

    def apply(self, op: Operation, *, impatient: bool = False) -> Result:
        """Queues any other operation; finals are always taken.

        An `impatient` caller is told LedgerUnavailable when the database goes away before the
        outcome is known; the operation stays.
        """
        return self._enqueue(op, impatient=impatient)

    async def renew(self, ids: list[UUID]) -> dict[UUID, bool]:
        """Renews the leases of one's own open holds; those still owned, and whether it was done.

        It is not where another session sits on the hold's row.
        """
        result = self._renewals.ask(ids)
        self._wake.set()
        return await result

    async def close(self, seconds: float) -> bool:
        """Waits until every queued operation has its outcome; says whether it came to that."""
        self._closing = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.error("ledger_not_drained", waiting=self._unsettled)
            return False
        return True

    # --- the loop ---------------------------------------------------------------------------
    async def run(self) -> None:
        """Connects, and applies batches for ever; ends only by cancellation."""
        try:
            await self._reconnect()
            while True:
                await self._wait_for_work()
                while self._renewals:
                    await self._renew_next()
                if self._parking:
                    await self._release()
                while self._queue:
                    await self._gathering.gather(self._queue)
                    await self._apply(self._queue.take())
                    if self._renewals:
                        await self._renew_next()
        finally:
            await self._session.close()

    async def _wait_for_work(self) -> None:
        """Waits until there is something to do; meanwhile sees to it that the connection lives.

        A worker that is idle must notice that its database went away, since it may come back
        without what it had acknowledged to this worker.
        """
        loop = asyncio.get_running_loop()
        while True:
            timer = loop.call_later(LOOK_SECONDS, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            self._wake.clear()
            if self._queue or self._renewals or self._parking:
                return
            try:
                await self._session.look()
            except psycopg.Error as error:
                await self._connection_lost(error, [])
                await self._reconnect()

    def _enqueue(self, op: Operation, *, impatient: bool = False) -> Result:
        result: Result = asyncio.get_running_loop().create_future()
        self._unsettled += 1
        self._idle.clear()
        self._queue_or_park(Waiting(op, result, impatient))
        return result

    def _queue_or_park(self, waiting: Waiting) -> None:
        if self._parking.concerns(waiting.op):
            self._parking.add(waiting)
        else:
            self._queue.append(waiting)
            self._wake.set()

    async def _apply(self, batch: list[Waiting]) -> None:
        """Applies `batch`, however often it must be sent; splits it where its data is at fault."""
        operations = [waiting.op for waiting in batch]
        pauses = itertools.chain([0.0], _pauses())
        while True:
            started = self._clock.monotonic()
            try:
                rows = await self._session.execute(
                    *statement(self.owner, self.epoch, self._number, operations)
                )
                found = outcomes(operations, rows)
            except (psycopg.Error, ValueError) as error:
                if sends_again(error):
                    log.info("ledger_batch_sent_again", sqlstate=sqlstate(error))
                    if is_lock_timeout(error) and await self._park(batch):
                        return
                elif is_of_data(error):
                    await self._split(batch, error)
                    return
                else:
                    await self._connection_lost(error, batch)
                    await asyncio.sleep(next(pauses))
                    await self._reconnect()
            else:
                self._observer.batch_applied(len(batch), self._clock.monotonic() - started)
                for waiting, outcome in zip(batch, found, strict=True):
                    self._resolve(waiting.op, waiting.result, outcome)
                return

    # --- operations that cannot be applied now, or ever ---------------------------------------
    async def _park(self, batch: list[Waiting]) -> bool:
        """Sets aside what concerns rows that another session sits on; whether any does."""
        try:
            if not await self._parking.park(batch):
                return False
        except psycopg.Error:
            return False
        self._observer.rows_parked(self._parking.count)
        asyncio.get_running_loop().call_later(PROBE_SECONDS, self._wake.set)
        for waiting in [*batch, *self._queue.remove(lambda one: self._parking.concerns(one.op))]:
            if not self._parking.concerns(waiting.op):
                continue
            if isinstance(waiting.op, FinalOp | RequestEndOp):
                self._parking.add(waiting)
            else:
                self._done()
                fail(waiting.result, locked())
        self._queue.prepend([one for one in batch if not self._parking.concerns(one.op)])
        return True

    async def _release(self) -> None:
        try:
            ready = await self._parking.release()
        except psycopg.Error as error:
            if not sends_again(error):
                await self._connection_lost(error, [])
                await self._reconnect()
            ready = []
        self._queue.prepend(ready)
        self._observer.rows_parked(self._parking.count)
        if self._parking:
            asyncio.get_running_loop().call_later(PROBE_SECONDS, self._wake.set)

    async def _split(self, batch: list[Waiting], error: Exception) -> None:
        """Finds the operation that the database refuses, so that it alone fails."""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._apply(batch[:middle])
            await self._apply(batch[middle:])
            return
        op, result, _ = batch[0]
        log.error(
            "ledger_operation_refused",
            operation=type(op).__name__,
            id=str(op.id),
            sqlstate=sqlstate(error),
            error=str(error).splitlines()[0] if str(error) else "",
        )
        if isinstance(op, FinalOp) and op.origin is Origin.ROUTER:
            await self._bury(op, error)
        self._done()
        self._gathering.note(op, None)
        fail(result, Internal("The ledger could not apply this operation."))

    async def _bury(self, op: FinalOp, error: Exception) -> None:
        """Keeps what nobody could send again: the end of a provider's attempt."""
        pauses = _pauses()
        while True:
            try:
                await self._session.execute(INSERT_SQL, letter(op, sqlstate(error), error))
            except psycopg.Error as fault:
                if is_of_data(fault):
                    log.critical("dead_letter_refused", id=str(op.id), sqlstate=sqlstate(fault))
                    return
                if not sends_again(fault):
                    await self._connection_lost(fault, [])
                    await asyncio.sleep(next(pauses))
                    await self._reconnect()
            else:
                self._observer.dead_letter_written()
                self._acknowledge(op)
                return

    # --- outcomes -------------------------------------------------------------------------------
    def _resolve(self, op: Operation, result: Result, outcome: Outcome) -> None:
        self._done()
        self._gathering.note(op, outcome)
        if isinstance(op, FinalOp) and op.origin is Origin.ROUTER:
            if self._give_back(op, result, outcome):
                return
            self._acknowledge(op)
            self._last_ends.note(op, outcome)
            if op.hold is not None and op.hold.legs and op.kind is Final.SETTLE:
                self.charged_budgets.update(leg.account for leg in op.hold.legs)
            if op.kind is Final.SETTLE and outcome.code not in (Code.DONE, Code.ALREADY):
                log.error(
                    "settle_refused", id=str(op.id), code=outcome.code.name, cost_nanousd=op.cost
                )
        if not result.done():
            result.set_result(outcome)
        elif (
            isinstance(op, HoldOp)
            and op.origin is Origin.ROUTER
            and outcome.code in (Code.DONE, Code.ALREADY, Code.DECIDED)
        ):
            # Nobody waits for this hold any more, so nothing was or will be dispatched under it;
            # its lease may have ended before its acknowledgement came through (DECIDED).
            abandoned = FinalOp(
                id=op.id,
                kind=Final.VOID,
                origin=op.origin,
                wallet=op.wallet,
                outcome=AttemptOutcome.FAILED,
            )
            self._enqueue(abandoned)

    def _acknowledge(self, op: FinalOp) -> None:
        """Tells the journal, which waits for the owner's own word and not for another's on it."""
        if op.decider is Decider.OWNER:
            self._journal.acknowledged(op.id)

    def _give_back(self, op: FinalOp, result: Result, outcome: Outcome) -> bool:
        """Gives a database that lost a hold that hold again, then its end; whether it did.

        A failover or a restored backup can lose what was acknowledged. The hold takes what room
        its wallet has; what the charge exceeds it by is the operator's loss.
        """
        if outcome.code is not Code.UNKNOWN or op.hold is None:
            return False
        if op.kind not in (Final.SETTLE, Final.UNRESOLVED):
            return False
        log.error("ledger_lost_a_hold", id=str(op.id), cost_nanousd=op.cost)
        self._unsettled += 1
        self._idle.clear()
        legs = tuple(replace(leg, amount_min=leg.amount_max) for leg in op.hold.legs)
        self._restore(op, result, replace(op.hold, amount_min=0, legs=legs))
        return True

    def _restore(self, op: FinalOp, result: Result, hold: HoldOp) -> None:
        given = self._enqueue(hold)
        given.add_done_callback(lambda done: self._given_back(op, result, hold, done))

    def _given_back(self, op: FinalOp, result: Result, hold: HoldOp, given: Result) -> None:
        if given.cancelled() or isinstance(given.exception(), LedgerUnavailable):
            self._queue_or_park(Waiting(op, result))  # the connection was lost again
        elif given.exception() is not None:  # it names what this database does not know
            if hold.legs:
                self._restore(op, result, replace(hold, legs=()))
            else:
                self._queue_or_park(Waiting(replace(op, hold=None), result))
        elif given.result().code in _OF_REQUESTS:
            # Its request id stands for another call by now; the money is owed all the same.
            self._restore(op, result, replace(hold, request=None))
        elif given.result().code is Code.SHORT and hold.legs:  # and so it is where a budget is full
            self._restore(op, result, replace(hold, legs=()))
        else:
            self._queue_or_park(Waiting(replace(op, hold=None), result))

    def _done(self) -> None:
        self._unsettled -= 1
        if self._unsettled == 0:
            self._idle.set()

    async def _renew_next(self) -> None:
        try:
            await self._renewals.send_next(self.owner, self.epoch, self.lease_s)
        except psycopg.Error as error:
            if not sends_again(error):
                await self._connection_lost(error, [])
                await self._reconnect()

    # --- the connection ---------------------------------------------------------------------
    async def _connection_lost(self, error: Exception, batch: Iterable[Waiting]) -> None:
        """Refuses every hold that waits; what was sent is still resolved when all is back.

        A call that waits for its settle is let go at once: the settle stays.
        """
        was_connected = self.connected
        self.connected_at = None
        self.was_cut = True
        if was_connected:
            log.error("ledger_connection_lost", error=str(error).strip() or type(error).__name__)
            self._observer.connection_changed(False)
        self._queue.prepend(self._parking.clear())
        self._observer.rows_parked(0)
        for waiting in batch:
            if isinstance(waiting.op, HoldOp):
                fail(waiting.result, unavailable())
            elif waiting.impatient or not isinstance(waiting.op, FinalOp):
                fail(waiting.result, unknown())
        for waiting in self._queue.remove(lambda one: isinstance(one.op, HoldOp | TransferOp)):
            self._done()
            fail(waiting.result, unavailable())
        for waiting in self._queue:
            if waiting.impatient:
                fail(waiting.result, unknown())
        await self._session.close()

    async def _reconnect(self) -> None:
        pauses = _pauses()
        while True:
            try:
                await self._session.open()
                greeting = await self._last_ends.greet(self._session, self.epoch)
            except (psycopg.Error, OSError, TimeoutError, LedgerUnavailable) as error:
                log.warning("ledger_connect_failed", error=str(error).strip())
                self._renewals.fail_all()
                await self._session.close()
                await asyncio.sleep(next(pauses))
                continue
            if greeting.epoch is not None and greeting.lane is not None:
                self.epoch, self._number = greeting.epoch, greeting.lane
                self.owner = f"{self.owner}:{self.epoch}"
                self.ledger = greeting.ledger
                self._journal.opened(self.owner, self.epoch, self.ledger)
            if not greeting.is_current:
                await self._send_retained()
            self.connected_at = self._clock.monotonic()
            self._observer.connection_changed(True)
            log.info("ledger_connected", owner=self.owner, lane=self._number)
            return

    async def _send_retained(self) -> None:
        """The database went back in time: tells it again what it had acknowledged.

        What still waits since the last time, where the connection was lost meanwhile, waits on.
        """
        queued = {waiting.op.id for waiting in self._queue}
        count = 0
        async for op in self._journal.retained():
            if op.id not in queued:
                self._enqueue(op)
                count += 1
        log.critical("ledger_went_back", sent_again=count)


def _pauses() -> Iterator[float]:
    return itertools.chain(RECONNECT_SECONDS, itertools.repeat(RECONNECT_SECONDS[-1]))
