"""What waits for a lane: operations in their order, and the rule of which may share a batch."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import UUID

from omni_grpc.billing.operations import Final, FinalOp, Operation, Outcome, TransferOp
from omni_grpc.core.limits import LANE_BATCH_MAX
from omni_grpc.core.payments import Payment

_FINAL_RANK = {
    Final.SETTLE: 0,
    Final.VOID: 1,
    Final.WRITE_OFF: 2,
    Final.UNRESOLVED: 3,
    Final.LEASE_END: 4,
}

Result = asyncio.Future[Outcome]


class Waiting(NamedTuple):
    """An operation and who waits for its outcome.

    Whoever is `impatient` is let go when the database goes away; the operation stays.
    """

    op: Operation
    result: Result
    impatient: bool = False


class LaneQueue:
    """First in, first out, but for what must not stand in one batch."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def append(self, waiting: Waiting) -> None:
        """Puts an operation at the end."""
        self._waiting.append(waiting)

    def prepend(self, batch: list[Waiting]) -> None:
        """Puts operations before all others, in their order."""
        self._waiting.extendleft(reversed(batch))

    def remove(self, unwanted: Callable[[Waiting], bool]) -> list[Waiting]:
        """Takes out what is `unwanted`, wherever it stands."""
        found = [waiting for waiting in self._waiting if unwanted(waiting)]
        if found:
            self._waiting = deque(waiting for waiting in self._waiting if not unwanted(waiting))
        return found

    def take(self) -> list[Waiting]:
        """The next batch: at most one final of a hold, and never one beside its own hold.

        Nor do two operations stand in it that have one request id, or one payment.

        Of several finals of one hold a settle goes before a void before a lease's end; the
        others keep their place and find the hold decided.
        """
        queued = self._waiting
        if not queued:
            return []
        batch: list[Waiting] = []
        later: list[Waiting] = []
        place: dict[UUID, int] = {}
        named: set[tuple[int, str] | Payment] = set()
        while queued and len(batch) < LANE_BATCH_MAX:
            waiting = queued.popleft()
            op = waiting.op
            names = _names(op)
            if not named.isdisjoint(names):
                later.append(waiting)
                continue
            named.update(names)
            at = place.get(op.id)
            if at is None:
                place[op.id] = len(batch)
                batch.append(waiting)
                continue
            first = batch[at].op
            if (
                isinstance(op, FinalOp)
                and isinstance(first, FinalOp)
                and _FINAL_RANK[op.kind] < _FINAL_RANK[first.kind]
            ):
                later.append(batch[at])
                batch[at] = waiting
            else:
                later.append(waiting)
        queued.extendleft(reversed(later))
        return batch


def _names(op: Operation) -> list[tuple[int, str] | Payment]:
    """What names an operation beside its own id."""
    names: list[tuple[int, str] | Payment] = []
    if op.request is not None:
        names.append((op.request.principal, op.request.request_id))
    if isinstance(op, TransferOp) and op.payment is not None:
        names.append(op.payment)
    return names
