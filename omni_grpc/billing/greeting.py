"""The first word on each of the lane's connections: who it is, and whether the ledger went back.

A failover or a restored backup may lose commits from the end. A worker sees that by the last of
its own: if the ledger has it, it has all before it.
"""

from typing import Final as Constant
from typing import NamedTuple

from omni_grpc.billing.operations import POSTED, Code, Final, FinalOp, Outcome
from omni_grpc.billing.session import LedgerSession
from omni_grpc.core.ids import HoldId

_GREET: Constant = """
SELECT CASE WHEN e.epoch = 0 THEN nextval('ledger_epoch') END,
       CASE WHEN e.epoch = 0 THEN nextval('ledger_lane') END,
       (e.posted IS NULL OR e.cost <= (
          SELECT sum(p.amount + CASE p.kind WHEN 'S' THEN p.loss ELSE 0 END)
            FROM posting p WHERE p.id = e.posted)) IS TRUE
       AND (e.unresolved IS NULL
            OR EXISTS (SELECT FROM posting p WHERE p.id = e.unresolved)
            OR EXISTS (SELECT FROM hold h WHERE h.id = e.unresolved AND h.state = 'U')),
       (SELECT (extract(epoch FROM create_time) * 1000000)::bigint::text
          FROM account WHERE id = 1)
  FROM (SELECT %s::bigint AS epoch, %s::uuid AS posted, %s::numeric AS cost,
               %s::uuid AS unresolved) e
"""


class Greeting(NamedTuple):
    """What the ledger answered."""

    epoch: int | None
    """The number of this worker's life; None where it had one."""
    lane: int | None
    """The number of its accounts of revenue and loss; None where it had one."""
    is_current: bool
    """Whether the ledger has all that it acknowledged to this worker."""
    ledger: str
    """Which ledger it is: the microsecond of its first account, also when it was restored."""


class LastEnds:
    """The last ends that this worker's own operations made in the ledger.

    One that was found to be there may be old: recovery asks for many such. That a posted hold is
    there again, as a hold, would prove the contrary.
    """

    def __init__(self) -> None:
        self._posted: HoldId | None = None
        self._cost = 0
        """What its postings come to at least; less if the last, a correction, is lost."""
        self._unresolved: HoldId | None = None

    def note(self, op: FinalOp, outcome: Outcome) -> None:
        """Notes an answer."""
        if outcome.code is not Code.DONE:
            return
        if op.kind in POSTED:
            self._posted, self._cost = op.id, op.cost if op.kind is Final.SETTLE else 0
        elif op.kind is Final.UNRESOLVED:
            self._unresolved = op.id

    async def greet(self, session: LedgerSession, epoch: int) -> Greeting:
        """Greets on a new connection; `epoch` is 0 the first time.

        Raises:
            psycopg.Error: the database does not answer.
        """
        ((found, lane, is_current, ledger),) = await session.execute(
            _GREET, [epoch, self._posted, self._cost, self._unresolved]
        )
        return Greeting(found, lane, is_current, ledger or "")
