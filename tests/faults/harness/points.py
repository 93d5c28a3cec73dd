"""The named points of a call at which it can be brought to a halt, and how each is reached.

Before and after its hold and its settle a call is held by the proxy, in between by a gate of the
provider; while its settle runs in the database, by a lock on its wallet.
"""

import asyncio
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import psycopg

from harness.provider import call_id_in
from harness.proxy import Batch, DatabaseProxy, Trap, Verdict
from omni_grpc.core.ids import call_id_of

if TYPE_CHECKING:
    from harness.world import Tenant, World

REACH_SECONDS_MAX = 5.0


class Point(StrEnum):
    """Where a call is."""

    BEFORE_HOLD = "before its hold"
    AFTER_HOLD = "after its hold, unacknowledged"
    DISPATCHED = "after dispatch"
    FIRST_TOKEN = "after the first token"
    MID_STREAM = "mid-stream"
    FINAL_USAGE = "after its final usage"
    SETTLE_SENT = "after its settle was sent"
    SETTLE_COMMITTED = "after its settle committed, unacknowledged"


IN_PROVIDER = (Point.DISPATCHED, Point.FIRST_TOKEN, Point.MID_STREAM)
IN_LANE = (
    Point.BEFORE_HOLD,
    Point.AFTER_HOLD,
    Point.FINAL_USAGE,
    Point.SETTLE_SENT,
    Point.SETTLE_COMMITTED,
)
WHOLE = (Point.DISPATCHED, *IN_LANE)
"""Those of a plain answer, which has no middle."""


@dataclass(eq=False)
class Halt:
    """A call that is to stop at a point, then stops there, then is released."""

    point: Point
    world: "World"
    tenant: "Tenant"
    proxy: DatabaseProxy
    mark: str
    trap: Trap | None = None
    is_reached: bool = False
    _lock: "psycopg.AsyncConnection[tuple[Any, ...]] | None" = None
    _first_batch: int = 0
    _released: bool = field(default=False)

    @classmethod
    def arm(
        cls, point: Point, world: "World", tenant: "Tenant", proxy: DatabaseProxy, mark: str
    ) -> Self:
        """Prepares the halt; the call is sent after this."""
        made = cls(point, world, tenant, proxy, mark, _first_batch=len(proxy.batches))
        if point in (Point.BEFORE_HOLD, Point.AFTER_HOLD):
            made.trap = proxy.trap(
                lambda batch: batch.operations.holds_for(tenant.account_id),
                before=point is Point.BEFORE_HOLD,
            )
        elif point in (Point.FINAL_USAGE, Point.SETTLE_COMMITTED):
            made.trap = proxy.trap(made.settles, before=point is Point.FINAL_USAGE)
        else:
            world.provider.gates.close(mark)
        return made

    def behaviour(self, tokens: int) -> str:
        """What the provider is asked so that its gate stands at the point."""
        match self.point:
            case Point.DISPATCHED:
                return f",gate={self.mark}"
            case Point.FIRST_TOKEN:
                return f",gate={self.mark},gate_after=1"
            case Point.MID_STREAM:
                return f",gate={self.mark},gate_after={max(1, tokens // 2)}"
            case Point.SETTLE_SENT:
                return f",gate={self.mark},gate_after={tokens}"
        return ""

    def settles(self, batch: Batch) -> bool:
        """Whether a batch settles the call."""
        records = self.world.provider.by_mark.get(self.mark, ())
        calls = {UUID(call_id_in(record)) for record in records if call_id_in(record)}
        return any(
            kind == "S" and call_id_of(hold_id) in calls
            for hold_id, kind in batch.operations.finals
        )

    @property
    def batch(self) -> Batch | None:
        """The batch that is held, or whose commit is."""
        if self.trap is not None:
            return self.trap.batch
        sent = self.proxy.batches[self._first_batch :]
        return next((batch for batch in sent if self.settles(batch) and batch.sent_s), None)

    async def reach(self, call: "asyncio.Task[None]") -> bool:
        """Waits until the call is there; False if it ends first, or does not come."""
        until = time.monotonic() + REACH_SECONDS_MAX
        if self.trap is not None:
            reached = self.trap.reached.is_set
        else:
            gates = self.world.provider.gates

            def reached() -> bool:
                return gates.waiting(self.mark) > 0

        while not reached() and not call.done() and time.monotonic() < until:
            await asyncio.sleep(0.002)
        self.is_reached = reached()
        if self.is_reached and self.point is Point.SETTLE_SENT:
            self._lock = await lock_wallet(self.world, self.tenant)
            gates.open(self.mark)
            while self.batch is None and not call.done() and time.monotonic() < until:
                await asyncio.sleep(0.002)
            self.is_reached = self.batch is not None
        return self.is_reached

    async def release(self, verdict: Verdict = Verdict.PASS) -> None:
        """Lets it go on, or ends its connection."""
        if self.trap is not None:
            self.trap.tell(verdict)
            if self.trap in self.proxy.traps:
                self.proxy.traps.remove(self.trap)
        self.world.provider.gates.open(self.mark)
        if self._lock is not None:
            await unlock(self._lock)
            self._lock = None


async def lock_wallet(
    world: "World", tenant: "Tenant"
) -> "psycopg.AsyncConnection[tuple[Any, ...]]":
    """A session that sits on the tenant's wallet until `unlock`."""
    session = await world.session()
    await session.execute("SET lock_timeout = '5s'")
    await session.execute("SELECT FROM account WHERE id = %s FOR UPDATE", [tenant.account_id])
    return session


async def unlock(session: "psycopg.AsyncConnection[tuple[Any, ...]]") -> None:
    try:
        await session.rollback()
    except psycopg.Error:
        pass  # its server was killed, which unlocks as well
    finally:
        await session.close()
