"""Two or three writers on one database, whose operations meet and whose connections break: what
their callers were told, and the books, must be explained by some order of the operations.

hypothesis_runs.py says how to look longer. The rules are the same each time; how the writers meet
is up to the machine, so a history that fails may pass when it is tried again. It is then reported
as flaky, and what had no explanation stands in its message all the same. What is drawn never
depends on what happened, and a failure is told at a history's end, as Hypothesis demands.
"""

import asyncio
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from cut_proxy import Break, CutProxy
from explain import Search, Step, Unexplained, of_one_lane
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from hypothesis_runs import EXAMPLES, histories
from ledger_model import Model
from ledger_rig import (
    BUDGETS,
    Rig,
    Worker,
    chat_end,
    chat_key,
    final_op,
    hold_op,
    load_prices,
    refund_op,
    resolve_op,
    transfer_op,
    until,
)
from ledger_sql import TABLES, stored_books
from model_books import Books

from omni_grpc.billing.invariants import check
from omni_grpc.billing.lane import Result
from omni_grpc.billing.operations import (
    ChatEnd,
    Final,
    FinalOp,
    HoldOp,
    Leg,
    Operation,
    Origin,
    Requested,
    RequestKey,
)
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import AccountId, HoldId
from omni_grpc.storage import Database

T = TypeVar("T")

STATEMENT_S = 0.4
ARMED_MAX = 3
QUIET_S = 30.0
TOGETHER_MAX = 6
"""Operations from which on the books are looked at: all orders of them may have to be tried."""

writers = st.integers(0, 2)
amounts = st.integers(0, 12)
costs = st.integers(0, 15)
names = st.sampled_from(("a", "b"))
finals = st.tuples(
    writers,
    st.sampled_from((Final.SETTLE, Final.VOID, Final.UNRESOLVED, Final.LEASE_END)),
    costs,
)


@dataclasses.dataclass
class Asked:
    """An operation on its way."""

    op: Operation
    worker: Worker
    at: int
    cuts: int
    """How often the worker's connection had come or gone by then."""


class LanesMachine(RuleBasedStateMachine):
    holds = Bundle("holds")

    def __init__(self, url: str, sql: psycopg.Connection) -> None:
        super().__init__()
        self.url, self.sql = url, sql
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.moments = itertools.count(1)
        self.numbers = itertools.count(1)
        self.steps: list[Step] = []
        self.asked = 0
        self.unanswered = 0
        self.failure: BaseException | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(count=st.integers(2, 3))
    def begin(self, count: int) -> None:
        self.sql.execute(f"TRUNCATE {', '.join(TABLES[1:])}")
        self.sql.execute(
            "UPDATE account SET credits_posted = 0, debits_posted = 0, debits_pending = 0,"
            " debit_limit = CASE WHEN kind = 2 THEN 15 END, entry_count = 0"
        )
        self.model = Model(of_one_lane(stored_books(self.sql)))
        self.run(self.open(count))
        self.grant(0, "first", 20)

    async def open(self, count: int) -> None:
        database = await self.stack.enter_async_context(Database(self.url, application_name="x"))
        self.rig = Rig(self.url, database)
        self.stack.push_async_callback(self.rig.close)
        self.proxies = [
            await self.stack.enter_async_context(CutProxy(self.url)) for _ in range(count)
        ]
        self.workers = [
            await self.rig.worker(url=proxy.url, statement_s=STATEMENT_S) for proxy in self.proxies
        ]

    # --- asking ---------------------------------------------------------------------------------
    def ask(self, *asked: tuple[int, Operation]) -> None:
        """Gives operations to writers, and lets all writers go on; waits for nothing."""
        if self.asked >= TOGETHER_MAX:
            self.look()
        self.asked += len(asked)
        self.run(self._ask(asked))

    async def _ask(self, asked: Sequence[tuple[int, Operation]]) -> None:
        for writer, op in asked:
            worker = self.workers[writer % len(self.workers)]
            one = Asked(op, worker, next(self.moments), len(worker.watch.connected))
            try:
                result = (
                    worker.lane.hold(op)
                    if isinstance(op, HoldOp)
                    else worker.lane.apply(op, impatient=not isinstance(op, FinalOp))
                )
            except LedgerUnavailable:
                continue  # nothing was queued
            self.unanswered += 1
            result.add_done_callback(functools.partial(self.answered, one))
        await asyncio.sleep(0)

    def answered(self, asked: Asked, done: Result) -> None:
        """Notes what is known of an operation now."""
        self.unanswered -= 1
        moment = next(self.moments)
        was_cut = len(asked.worker.watch.connected) > asked.cuts
        lane = asked.worker.lane
        maybe = Step(asked.op, lane.owner, lane.epoch, asked.at)
        error = done.exception()
        if isinstance(error, LedgerUnavailable):
            self.steps.append(maybe)
            if isinstance(asked.op, HoldOp) and asked.op.origin is Origin.ROUTER:
                # Nobody waits for it, so the lane voids it by itself when it was made.
                void = final_op(Final.VOID, asked.op.id, wallet=asked.op.wallet)
                self.steps.append(dataclasses.replace(maybe, op=void, last_of=[maybe]))
            return
        if error is not None:
            self.failure = self.failure or error
            return
        certain = dataclasses.replace(maybe, answered=moment, outcome=done.result())
        if was_cut:
            self.steps.append(maybe)
            certain.last_of = [maybe]
        self.steps.append(certain)

    # --- holds ----------------------------------------------------------------------------------
    @rule(
        target=holds, writer=writers, amount=amounts, least=amounts, is_budgeted=st.booleans(),
        is_over=st.booleans(),
    )  # fmt: skip
    def hold(
        self, writer: int, amount: int, least: int, is_budgeted: bool, is_over: bool
    ) -> HoldOp:
        least = min(least, amount)
        legs = [Leg(AccountId(BUDGETS[0]), least, amount)] if is_budgeted else []
        seconds = -5 if is_over else 3_600
        return self.reserve(writer, hold_op(amount, least=least, legs=legs, seconds=seconds))

    @rule(target=holds, writer=writers, name=names, amount=amounts, is_over=st.booleans())
    def chat(self, writer: int, name: str, amount: int, is_over: bool) -> HoldOp:
        seconds = -5 if is_over else 3_600
        return self.reserve(writer, hold_op(amount, seconds=seconds, request=chat_key(name)))

    @rule(target=holds, writer=writers, name=names, amount=st.integers(3, 4))
    def team_hold(self, writer: int, name: str, amount: int) -> HoldOp:
        op = hold_op(amount, origin=Origin.API, request=team_key(name, amount))
        return self.reserve(writer, op)

    def reserve(self, writer: int, op: HoldOp) -> HoldOp:
        op = self.numbered(op)
        self.ask((writer, op))
        return op

    def numbered(self, op: HoldOp) -> HoldOp:
        """Of a call of its own, with a number that can be read."""
        return dataclasses.replace(op, id=HoldId(UUID(int=(next(self.numbers) << 4) + 1)))

    # --- ends -----------------------------------------------------------------------------------
    @rule(writer=writers, hold=holds, cost=costs, is_estimate=st.booleans())
    def settle(self, writer: int, hold: HoldOp, cost: int, is_estimate: bool) -> None:
        ends = None
        if hold.request and hold.request.operation is Requested.CHAT:
            ends = chat_end(hold.request, hold.id, ChatEnd.DONE, b"sealed")
        self.end(writer, hold, Final.SETTLE, cost, is_estimate=is_estimate, ends=ends)

    @rule(
        writer=writers, hold=holds,
        kind=st.sampled_from((Final.VOID, Final.LEASE_END, Final.UNRESOLVED)),
    )  # fmt: skip
    def end_without_a_charge(self, writer: int, hold: HoldOp, kind: Final) -> None:
        if kind is not Final.UNRESOLVED or hold.origin is Origin.ROUTER:
            self.end(writer, hold, kind)

    @rule(
        writer=writers, hold=holds, cost=costs,
        kind=st.sampled_from((Final.VOID, Final.WRITE_OFF, Final.SETTLE)),
    )  # fmt: skip
    def decide(self, writer: int, hold: HoldOp, kind: Final, cost: int) -> None:
        """The operator's word, whether the hold is unresolved or not."""
        if hold.origin is Origin.ROUTER:
            self.ask((writer, resolve_op(kind, hold.id, 0 if kind is Final.VOID else cost)))

    def end(self, writer: int, hold: HoldOp, kind: Final, cost: int = 0, **facts: Any) -> None:
        wallet = hold.wallet if hold.origin is Origin.API else None
        op = final_op(kind, hold.id, cost, origin=hold.origin, wallet=wallet, **facts)
        self.ask((writer, op))

    # --- what meets -----------------------------------------------------------------------------
    @rule(
        target=holds, writer=writers, amount=st.integers(1, 12), is_over=st.booleans(),
        words=st.lists(finals, min_size=1, max_size=4),
    )  # fmt: skip
    def hold_and_ends_meet(
        self, writer: int, amount: int, is_over: bool, words: list[tuple[int, Final, int]]
    ) -> HoldOp:
        op = self.numbered(hold_op(amount, seconds=-5 if is_over else 3_600))
        self.ask((writer, op), *self.ends_of(op, words))
        return op

    @rule(hold=holds, words=st.lists(finals, min_size=2, max_size=4))
    def ends_meet(self, hold: HoldOp, words: list[tuple[int, Final, int]]) -> None:
        if hold.origin is Origin.ROUTER:
            self.ask(*self.ends_of(hold, words))

    def ends_of(
        self, hold: HoldOp, words: list[tuple[int, Final, int]]
    ) -> list[tuple[int, Operation]]:
        return [
            (writer, final_op(kind, hold.id, cost if kind is Final.SETTLE else 0))
            for writer, kind, cost in words
        ]

    @rule(
        target=holds, name=names, amounts=st.lists(st.integers(3, 4), min_size=2, max_size=3),
        is_chat=st.booleans(), is_over=st.booleans(),
    )  # fmt: skip
    def requests_meet(self, name: str, amounts: list[int], is_chat: bool, is_over: bool) -> HoldOp:
        """One request id at several writers at once, with the same content or not."""
        ops = [
            self.numbered(
                hold_op(
                    amount,
                    origin=Origin.ROUTER if is_chat else Origin.API,
                    seconds=-5 if is_over else 3_600,
                    request=chat_key(name) if is_chat else team_key(name, amount),
                )
            )
            for amount in amounts
        ]
        self.ask(*enumerate(ops))
        return ops[0]

    # --- transfers ------------------------------------------------------------------------------
    @rule(writer=writers, name=names, amount=st.integers(5, 6))
    def grant(self, writer: int, name: str, amount: int) -> None:
        key = RequestKey(3, name, str(amount).encode(), Requested.GRANT)
        op = transfer_op(amount, request=key)
        self.ask((writer, dataclasses.replace(op, id=UUID(int=next(self.numbers) << 4))))

    @rule(writer=writers, hold=holds, amount=st.integers(1, 9))
    def refund(self, writer: int, hold: HoldOp, amount: int) -> None:
        op = refund_op(amount, hold.id)
        new_id = UUID(int=next(self.numbers) << 4)
        key = RequestKey(4, str(new_id.int), b"", Requested.REFUND)
        self.ask((writer, dataclasses.replace(op, id=new_id, request=key)))

    # --- what goes wrong ------------------------------------------------------------------------
    @rule(writer=writers, how=st.sampled_from(Break))
    def break_connection(self, writer: int, how: Break) -> None:
        """At its next statements, but no more of them than a look can wait for."""
        proxy = self.proxies[writer % len(self.proxies)]
        if proxy.armed < ARMED_MAX:
            proxy.arm(how)

    @rule(writer=writers)
    def take_the_database_away(self, writer: int) -> None:
        self.run(self._down(self.proxies[writer % len(self.proxies)]))

    async def _down(self, proxy: CutProxy) -> None:
        proxy.down()
        await asyncio.sleep(0)

    # --- looking --------------------------------------------------------------------------------
    def look(self) -> None:
        """When all is quiet: explains what was seen since the last look."""
        self.run(self._quiet())
        books = of_one_lane(stored_books(self.sql))
        if self.failure is None:
            self.explain(books)
        self.steps, self.asked = [], 0

    def explain(self, books: Books) -> None:
        try:
            found = Search(self.steps, books).explain(self.model)
        except Unexplained as failure:
            self.failure = failure
            return
        if found is None:
            event("a search was given up")
        self.model = found or Model(books)

    async def _quiet(self) -> None:
        for proxy in self.proxies:
            proxy.up()
        await until(lambda: self.unanswered == 0, QUIET_S)
        lanes = [worker.lane for worker in self.workers]
        await until(lambda: all(lane.depth == 0 and lane.connected for lane in lanes), QUIET_S)

    def teardown(self) -> None:
        try:
            if hasattr(self, "rig"):
                self.look()
                if self.failure:
                    raise self.failure
                assert self.run(check(self.rig.database, prices=load_prices)) == []
        finally:
            self.run(self.stack.aclose())
            self.runner.close()


def team_key(name: str, amount: int) -> RequestKey:
    return RequestKey(2, name, str(amount).encode(), Requested.HOLD)


@pytest.mark.timeout(0 if EXAMPLES else 400)  # a failure takes its time to be shrunk
def test_what_writers_beside_each_other_are_told_has_an_explanation(
    url: str, sql: psycopg.Connection
) -> None:
    run_state_machine_as_test(
        lambda: LanesMachine(url, sql), settings=histories(examples=40, steps=20)
    )
