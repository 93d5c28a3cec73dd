"""The lane: one connection through which a worker's ledger operations go, in batches.

While one batch is in the database the next one gathers; an idle lane sends at once, so light load
waits for nothing. The lane promises that an operation whose future it returned is either applied
exactly once or refused, also when the connection, or the acknowledgement of a commit, is lost: the
same batch is sent again under the same ids. It never drops a final: those wait, without bound,
until the database answers. New holds are refused at once while it does not.
"""

import asyncio
import itertools
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Protocol
from uuid import UUID

import psycopg
import structlog

from omni_grpc.billing.batch import APPLY_SQL, arguments, outcomes
from omni_grpc.billing.operations import (
    AttemptOutcome,
    Code,
    Final,
    FinalOp,
    HoldOp,
    Operation,
    Origin,
    Outcome,
    RequestEndOp,
    TransferOp,
)
from omni_grpc.billing.session import (
    STATEMENT_SECONDS_MAX,
    Connect,
    LedgerSession,
    is_of_data,
    sends_again,
    sqlstate,
)
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Busy, Internal, LedgerUnavailable, OmniError
from omni_grpc.core.limits import HOLD_LEASE_SECONDS, LANE_BATCH_MAX, LANE_QUEUE_MAX

log = structlog.get_logger(__name__)

GATHER_CALLS_MIN = 24
"""Open calls of this worker from which its batches are given time to fill."""

GATHER_SECONDS = 0.001
"""That time: as long as a batch takes in the database."""

GATHER_SHARE = 8
"""A batch with an eighth of the open calls in it is full enough."""

RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Pauses between attempts to connect, or to send a batch to a server that takes none; the last
one repeats."""

_FINAL_RANK = {Final.SETTLE: 0, Final.VOID: 1, Final.UNRESOLVED: 2, Final.LEASE_END: 3}

Result = asyncio.Future[Outcome]


class LaneObserver(Protocol):
    """What wants to know how the lane fares; the metrics do."""

    def batch_applied(self, size: int, seconds: float) -> None:
        """A batch of `size` operations was committed."""

    def connection_changed(self, connected: bool) -> None:
        """The database answers, or no longer does."""


class Lane:
    """Applies ledger operations in arrival order; see the module's promise.

    Run `run()` as a task for the lane's life; `close()` lets what is queued finish.
    """

    def __init__(
        self,
        connect: Connect,
        clock: Clock,
        observer: LaneObserver,
        *,
        statement_s: float = STATEMENT_SECONDS_MAX,
    ) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self.epoch = 0
        self.connected_at: float | None = None
        """Monotonic time since which the database answers; None while it does not."""
        self.was_cut = False
        """Whether the database went away once in this worker's life."""
        self._number = 0
        self._session = LedgerSession(connect, statement_s)
        self._clock = clock
        self._observer = observer
        self._queue: deque[tuple[Operation, Result]] = deque()
        self._renewals: deque[tuple[list[UUID], asyncio.Future[set[UUID]]]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._unsettled = 0
        self._open = 0
        """The router's holds that were granted here and whose end was not stated yet."""
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
            LedgerUnavailable: the database does not answer; nothing is queued.
            Busy: the lane is full, or closing; nothing is queued.
        """
        if self._closing:
            raise Busy("The server is stopping; send the call to another one.", retry_after_s=1.0)
        if not self.connected:
            raise _unavailable()
        if len(self._queue) >= LANE_QUEUE_MAX:
            raise Busy("The ledger has too much to do; try again shortly.", retry_after_s=0.5)
        return self._enqueue(op)

    def apply(self, op: Operation) -> Result:
        """Queues any other operation; finals are always taken."""
        return self._enqueue(op)

    async def renew(self, ids: list[UUID]) -> set[UUID]:
        """Renews the leases of one's own open holds; returns those still owned."""
        result: asyncio.Future[set[UUID]] = asyncio.get_running_loop().create_future()
        self._renewals.append((ids, result))
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
                await self._wake.wait()
                self._wake.clear()
                while self._renewals:
                    await self._renew_next()
                while self._queue:
                    await self._gather()
                    await self._apply(self._take())
                    if self._renewals:
                        await self._renew_next()
        finally:
            await self._session.close()

    async def _gather(self) -> None:
        """Lets a batch fill while many calls are open.

        A batch costs much the same for one operation as for ten, here and in the database; with
        many calls open more operations come within a millisecond. With few, nothing is waited for.
        """
        if self._open >= GATHER_CALLS_MIN and len(self._queue) * GATHER_SHARE < self._open:
            await asyncio.sleep(GATHER_SECONDS)

    def _enqueue(self, op: Operation) -> Result:
        result: Result = asyncio.get_running_loop().create_future()
        self._queue.append((op, result))
        self._unsettled += 1
        self._idle.clear()
        self._wake.set()
        return result

    def _take(self) -> list[tuple[Operation, Result]]:
        """The next batch: at most one final of a hold, and never one beside its own hold.

        Of several finals of one hold a settle goes before a void before a lease's end; the
        others keep their place and find the hold decided.
        """
        queued = self._queue
        if not queued:
            return []
        batch: list[tuple[Operation, Result]] = []
        later: list[tuple[Operation, Result]] = []
        place: dict[UUID, int] = {}
        request_ids: set[tuple[int, str]] = set()
        while queued and len(batch) < LANE_BATCH_MAX:
            op, result = queued.popleft()
            if op.request is not None:
                key = (op.request.principal, op.request.request_id)
                if key in request_ids:
                    later.append((op, result))
                    continue
                request_ids.add(key)
            at = place.get(op.id)
            if at is None:
                place[op.id] = len(batch)
                batch.append((op, result))
                continue
            first = batch[at][0]
            if (
                isinstance(op, FinalOp)
                and isinstance(first, FinalOp)
                and _FINAL_RANK[op.kind] < _FINAL_RANK[first.kind]
            ):
                later.append(batch[at])
                batch[at] = (op, result)
            else:
                later.append((op, result))
        queued.extendleft(reversed(later))
        return batch

    async def _apply(self, batch: list[tuple[Operation, Result]]) -> None:
        """Applies `batch`, however often it must be sent; splits it where its data is at fault."""
        operations = [op for op, _ in batch]
        pauses = itertools.chain([0.0], _pauses())
        while True:
            started = self._clock.monotonic()
            try:
                rows = await self._session.execute(
                    APPLY_SQL, arguments(self.owner, self.epoch, self._number, operations)
                )
                found = outcomes(operations, rows)
            except (psycopg.Error, ValueError) as error:
                if sends_again(error):
                    log.info("ledger_batch_sent_again", sqlstate=sqlstate(error))
                elif is_of_data(error):
                    await self._split(batch, error)
                    return
                else:
                    await self._connection_lost(error, batch)
                    await asyncio.sleep(next(pauses))
                    await self._reconnect()
            else:
                self._observer.batch_applied(len(batch), self._clock.monotonic() - started)
                for (op, result), outcome in zip(batch, found, strict=True):
                    self._resolve(op, result, outcome)
                return

    async def _split(self, batch: list[tuple[Operation, Result]], error: Exception) -> None:
        """Finds the operation that the database refuses, so that it alone fails."""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._apply(batch[:middle])
            await self._apply(batch[middle:])
            return
        op, result = batch[0]
        log.error(
            "ledger_operation_refused",
            operation=type(op).__name__,
            id=str(op.id),
            sqlstate=sqlstate(error),
            error=str(error).splitlines()[0] if str(error) else "",
        )
        self._done()
        _fail(result, Internal("The ledger could not apply this operation."))

    def _resolve(self, op: Operation, result: Result, outcome: Outcome) -> None:
        self._done()
        self._count(op, outcome)
        if (
            isinstance(op, FinalOp)
            and (op.kind, op.origin) == (Final.SETTLE, Origin.ROUTER)
            and outcome.code not in (Code.DONE, Code.ALREADY)
        ):
            log.error("settle_refused", id=str(op.id), code=outcome.code.name, cost_nanousd=op.cost)
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
                id=op.id, kind=Final.VOID, origin=op.origin, outcome=AttemptOutcome.FAILED
            )
            self._enqueue(abandoned)

    def _count(self, op: Operation, outcome: Outcome) -> None:
        """Counts the open calls. A team's holds are none: most end by time, in any worker."""
        if isinstance(op, TransferOp | RequestEndOp) or op.origin is not Origin.ROUTER:
            return
        if isinstance(op, FinalOp):
            if op.kind is not Final.LEASE_END:
                self._open = max(0, self._open - 1)
        elif outcome.code in (Code.DONE, Code.ALREADY):
            self._open += 1

    def _done(self) -> None:
        self._unsettled -= 1
        if self._unsettled == 0:
            self._idle.set()

    async def _renew_next(self) -> None:
        ids, result = self._renewals.popleft()
        try:
            rows = await self._session.execute(
                "SELECT ledger_renew(%s::text, %s::bigint, %s::integer, %s::uuid[])",
                [
                    self.owner,
                    self.epoch,
                    int(HOLD_LEASE_SECONDS),
                    "{" + ",".join(i.hex for i in ids) + "}",
                ],
            )
        except psycopg.Error as error:
            _fail(result, _unavailable())
            if not sends_again(error):
                await self._connection_lost(error, [])
                await self._reconnect()
            return
        if not result.done():
            result.set_result({row[0] for row in rows})

    # --- the connection ---------------------------------------------------------------------
    async def _connection_lost(
        self, error: Exception, batch: Iterable[tuple[Operation, Result]]
    ) -> None:
        """Refuses every hold that waits; what was sent is still resolved when all is back."""
        was_connected = self.connected
        self.connected_at = None
        self.was_cut = True
        if was_connected:
            log.error("ledger_connection_lost", error=str(error).strip() or type(error).__name__)
            self._observer.connection_changed(False)
        for op, result in batch:
            if not isinstance(op, FinalOp):
                _fail(result, _unavailable())
        kept: deque[tuple[Operation, Result]] = deque()
        for op, result in self._queue:
            if isinstance(op, FinalOp):
                kept.append((op, result))
                continue
            self._done()
            _fail(result, _unavailable())
        self._queue = kept
        await self._session.close()

    async def _reconnect(self) -> None:
        pauses = _pauses()
        while True:
            try:
                await self._session.open()
                ((epoch, number),) = await self._session.execute(
                    "SELECT CASE WHEN %s = 0 THEN nextval('ledger_epoch') END,"
                    " CASE WHEN %s = 0 THEN nextval('ledger_lane') END",
                    [self.epoch, self.epoch],
                )
            except (psycopg.Error, OSError, TimeoutError, LedgerUnavailable) as error:
                log.warning("ledger_connect_failed", error=str(error).strip())
                self._fail_renewals()
                await self._session.close()
                await asyncio.sleep(next(pauses))
                continue
            if epoch is not None:
                self.epoch, self._number = int(epoch), int(number)
                self.owner = f"{self.owner}:{self.epoch}"
            self.connected_at = self._clock.monotonic()
            self._observer.connection_changed(True)
            log.info("ledger_connected", owner=self.owner, lane=self._number)
            return

    def _fail_renewals(self) -> None:
        while self._renewals:
            _, result = self._renewals.popleft()
            _fail(result, _unavailable())


def _pauses() -> Iterator[float]:
    return itertools.chain(RECONNECT_SECONDS, itertools.repeat(RECONNECT_SECONDS[-1]))


def _unavailable() -> LedgerUnavailable:
    return LedgerUnavailable(
        "The ledger's database does not answer, so nothing was started or charged; "
        "try again shortly.",
        retry_after_s=1.0,
    )


def _fail(result: "asyncio.Future[Any]", error: OmniError) -> None:
    """Fails a future that may have nobody who waits for it."""
    if not result.done():
        result.set_exception(error)
        result.exception()  # marks it as seen
