"""A lane and a journal as a worker of the service has them, and the operations of a routed call."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from typing import Final

from ledger_work import CREDENTIAL, KEY_ID, MODEL, Work, costs, held, provider_ref, usages

from omni_grpc.billing import AttemptOutcome, CallJournal, Lane
from omni_grpc.billing.journal import Journal
from omni_grpc.billing.operations import (
    ChatEnd,
    FinalOp,
    HoldOp,
    Origin,
    Requested,
    RequestEnd,
    RequestKey,
)
from omni_grpc.billing.operations import Final as FinalKind
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.ids import AccountId, KeyId, call_id_of, hold_id_of, new_call_id
from omni_grpc.storage import Connection, connect

CONNECT_SECONDS_MAX: Final = 30.0
SEALED_BYTES: Final = 1_200
"""A sealed answer of some 250 tokens."""


class Watch:
    """Counts what a lane tells its observer."""

    def __init__(self) -> None:
        self.batches = 0
        self.batch_s = 0.0
        self.cuts = 0

    def batch_applied(self, size: int, seconds: float) -> None:
        """A batch of `size` operations was committed."""
        del size
        self.batches += 1
        self.batch_s += seconds

    def connection_changed(self, connected: bool) -> None:
        """The database answers, or no longer does."""
        self.cuts += not connected

    def rows_parked(self, count: int) -> None:
        """Rows are locked by other sessions."""

    def dead_letter_written(self) -> None:
        """An operation can never apply."""
        raise RuntimeError("the bench sends no such operation")


@contextlib.asynccontextmanager
async def running_lane(url: str, watch: Watch, journal: Journal) -> AsyncIterator[Lane]:
    """A lane that is connected; at its end what is queued is applied."""

    async def connection() -> Connection:
        return await connect(url, application_name="bench ledger")

    lane = Lane(connection, SystemClock(), watch, journal)
    running = [asyncio.ensure_future(lane.run())]
    if isinstance(journal, CallJournal):
        running.append(asyncio.ensure_future(journal.run()))
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            while not lane.connected:  # noqa: ASYNC110 - bounded, and before anything is measured
                await asyncio.sleep(0.005)
        yield lane
        await lane.close(CONNECT_SECONDS_MAX)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        if isinstance(journal, CallJournal):
            await journal.close()


class Calls:
    """The holds and settles of one process's calls; each wallet and each usage has its turn."""

    def __init__(self, work: Work) -> None:
        first, count = work.wallets
        self.price = work.price
        self._held = held(work.price)
        self._lease_s = work.lease_s
        self._keyed = work.way == "keyed"
        self._sealed = os.urandom(SEALED_BYTES)
        self._wallets: Iterator[int] = itertools.cycle(range(first, first + count))
        self._answers = itertools.cycle(zip(usages(), costs(work.price), strict=True))

    def hold(self) -> HoldOp:
        """The hold of the next call."""
        call_id = new_call_id()
        return HoldOp(
            id=hold_id_of(call_id, 1),
            origin=Origin.ROUTER,
            wallet=AccountId(next(self._wallets)),
            amount_min=self._held,
            amount_max=self._held,
            seconds=self._lease_s,
            key_id=KeyId(KEY_ID),
            model=MODEL,
            credential=CREDENTIAL,
            price_version=self.price.version,
            markup_ppm=0,
            request=RequestKey(KEY_ID, str(call_id), call_id.bytes, Requested.CHAT)
            if self._keyed
            else None,
        )

    def settle(self, hold: HoldOp) -> FinalOp:
        """The settle of a call, with a usage."""
        usage, cost = next(self._answers)
        key = hold.request
        return FinalOp(
            id=hold.id,
            kind=FinalKind.SETTLE,
            origin=Origin.ROUTER,
            wallet=hold.wallet,
            cost=cost,
            outcome=AttemptOutcome.ANSWERED,
            usage=usage,
            provider_ref=provider_ref(hold.id),
            hold=hold,
            ends=RequestEnd(
                key.principal, key.request_id, call_id_of(hold.id), ChatEnd.DONE, self._sealed
            )
            if key
            else None,
        )
