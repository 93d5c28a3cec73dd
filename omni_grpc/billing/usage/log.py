"""The log of calls: rows that wait in memory for a moment and are written in batches.

Adding one never waits and never fails. What the database cannot take now is tried again; when it is
away for so long that the queue is full, later rows are dropped and counted. A row that it refuses
is dropped and counted alone. Only annotations are lost then, never a charge: those stand in the
ledger.
"""

import asyncio
from collections import deque
from itertools import islice
from typing import Final, Protocol

import structlog

from omni_grpc.billing.session import is_of_data, sqlstate
from omni_grpc.billing.usage.model import RoutedCall
from omni_grpc.billing.usage.store import UsageStore
from omni_grpc.core.errors import OmniError

log = structlog.get_logger(__name__)

BATCH_SECONDS: Final = 0.25
"""How long a row waits at most while the database answers: what a killed worker loses."""

BATCH_ROWS: Final = 500
"""Rows of one statement: a few milliseconds of the database."""

QUEUE_ROWS_MAX: Final = 50_000
"""Rows that wait in one worker: some 50 MB, half a minute of the most calls that one can serve."""

RETRY_SECONDS: Final = 1.0


class CallLogObserver(Protocol):
    """Is told what the log loses."""

    def call_rows_dropped(self, count: int) -> None:
        """That many rows will never be written."""
        ...


class CallLog:
    """The rows of one worker's calls. Run `run()` as a task, and `close` it at the end."""

    def __init__(self, store: UsageStore, observer: CallLogObserver) -> None:
        self._store = store
        self._observer = observer
        self._queue: deque[RoutedCall] = deque()
        self._is_due = asyncio.Event()
        self._writing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return len(self._queue)

    def add(self, call: RoutedCall) -> None:
        """Has a call's row written soon."""
        queue = self._queue
        count = len(queue)
        if count >= QUEUE_ROWS_MAX:
            self._observer.call_rows_dropped(1)
            return
        queue.append(call)
        if count == BATCH_ROWS - 1:
            self._is_due.set()

    async def run(self) -> None:
        """Writes for ever; ends only by cancellation."""
        while True:
            try:
                async with asyncio.timeout(BATCH_SECONDS):
                    await self._is_due.wait()
            except TimeoutError:
                pass
            self._is_due.clear()
            try:
                await self.flush()
            except OmniError as error:
                log.warning("call_rows_wait", reason=error.reason, count=len(self._queue))
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Writes what waits.

        Raises:
            LedgerUnavailable: the database does not answer; the rest waits on.
        """
        async with self._writing:
            while self._queue:
                await self._write(list(islice(self._queue, BATCH_ROWS)))

    async def _write(self, batch: list[RoutedCall]) -> None:
        """Takes a batch from the head of the queue, once it is written or refused.

        They stay in the queue until then: sent twice, they are written once.
        """
        try:
            await self._store.insert(batch)
        except OmniError:
            raise
        except Exception as error:  # noqa: BLE001 - nothing a row can have may stop all others
            # What the server has against the statement itself is true of each row of it.
            is_of_rows = is_of_data(error) or not sqlstate(error)
            if is_of_rows and len(batch) > 1:
                middle = len(batch) // 2
                await self._write(batch[:middle])
                await self._write(batch[middle:])
                return
            log.error(
                "call_rows_refused",
                call_id=str(batch[0].call_id),
                count=len(batch),
                kind=type(error).__name__,
                sqlstate=sqlstate(error),
                error=str(error).partition("\n")[0],  # what follows may show a tenant's values
            )
            self._observer.call_rows_dropped(len(batch))
        for _ in batch:
            self._queue.popleft()

    async def close(self, seconds: float) -> None:
        """Writes what waits, for so long; what is left then is dropped."""
        try:
            async with asyncio.timeout(seconds):
                while self._queue:
                    try:
                        await self.flush()
                    except OmniError:
                        await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            pass
        if self._queue:
            log.warning("call_rows_lost", count=len(self._queue))
            self._observer.call_rows_dropped(len(self._queue))
