"""Histories of operations that Hypothesis makes up: the function decides each batch as the model
does, and at every commit the books balance. hypothesis_runs.py says how to look longer."""

import dataclasses
import itertools
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis_runs import EXAMPLES, histories
from ledger_model import Model, Refused
from ledger_rig import (
    BUDGETS,
    FUTURE,
    PAST,
    WALLETS,
    chat_end,
    chat_key,
    daily_budget,
    expiry_op,
    final_op,
    hold_op,
    load_prices,
    refund_op,
    transfer_op,
)
from ledger_sql import EPOCH, OWNER, TABLES, apply, said, stored_accounts, stored_books
from model_books import BUDGET, WALLET

from omni_grpc.billing.invariants import check
from omni_grpc.billing.operations import (
    ChatEnd,
    Decider,
    Final,
    FinalOp,
    HoldOp,
    Leg,
    Operation,
    Origin,
    Requested,
    RequestEndOp,
    RequestKey,
    TransferOp,
)
from omni_grpc.core.ids import ATTEMPTS_MAX, AccountId, HoldId, attempt_of, call_id_of
from omni_grpc.storage import Database

# --- what is drawn ------------------------------------------------------------------------------
wallets = st.sampled_from(WALLETS[:2])
amounts = st.integers(0, 12)
costs = st.integers(0, 15)
DAILY = 3_001
"""A budget of which each day has a window."""

legs = st.none() | st.tuples(st.sampled_from((*BUDGETS[:2], DAILY)), amounts)
seconds = st.sampled_from((3_600, -5))
names = st.sampled_from(("a", "b"))
deciders = st.sampled_from((Decider.OPERATOR, Decider.TIME))
ends = st.sampled_from((Final.VOID, Final.WRITE_OFF, Final.SETTLE))
own_or_another = st.none() | wallets
together = st.booleans()
"""Whether an operation waits for the next one, to be sent in one batch with it."""


class LedgerMachine(RuleBasedStateMachine):
    """The rules make operations; `send` gives a batch of them to the function and to the model."""

    holds = Bundle("holds")
    charges = Bundle("charges")
    """Attempts that were settled."""

    decided = Bundle("decided")
    """Attempts that others than their owners ended."""

    grants = Bundle("grants")

    def __init__(self, sql: psycopg.Connection) -> None:
        super().__init__()
        self.sql = sql
        self.numbers = itertools.count(1)
        self.batch: list[Operation] = []
        self.last: list[Operation] = []

    @initialize()
    def begin(self) -> None:
        self.sql.execute(f"TRUNCATE {', '.join(TABLES[1:])}")
        self.sql.execute(
            "UPDATE account SET credits_posted = 0, debits_posted = 0, debits_pending = 0,"
            " debit_limit = NULL, entry_count = 0"
        )
        self.sql.execute(
            "DELETE FROM account WHERE id IN"
            " (SELECT account_id FROM budget_window WHERE budget_id = %s)",
            [DAILY],
        )
        self.sql.execute("DELETE FROM budget_window WHERE budget_id = %s", [DAILY])
        self.sql.execute("DELETE FROM budget WHERE id = %s", [DAILY])
        daily_budget(self.sql, DAILY, 15)
        self.now = FUTURE
        self.model = Model(stored_books(self.sql), OWNER, EPOCH)
        self.look_at_the_clock()
        self.grant(WALLETS[0], 20, None, False)
        self.grant(WALLETS[1], 3, None, False)

    def new_id(self) -> UUID:
        """Of a call: small, so that a history can be read."""
        return UUID(int=next(self.numbers) << 4)

    # --- batches --------------------------------------------------------------------------------
    def add(self, op: Operation, waits: bool) -> None:
        ids = {other.id for other in self.batch}
        keys = {(o.request.principal, o.request.request_id) for o in self.batch if o.request}
        key = op.request and (op.request.principal, op.request.request_id)
        if op.id in ids or key in keys or _call_ended(op) & set(map(_ended, self.batch)):
            self.send(self.batch)  # no batch has two of them
            self.batch = []
        self.batch.append(op)
        if not waits:
            self.send(self.batch)
            self.batch = []

    def send(self, batch: list[Operation]) -> None:
        self.last = batch
        try:
            expected = self.model.apply(batch)
        except Refused:
            with pytest.raises(psycopg.Error):
                apply(self.sql, batch, now=self.now)
        else:
            found = apply(self.sql, batch, now=self.now)
            assert [said(outcome) for outcome in found] == expected
        self.check_accounts()

    def check_accounts(self) -> None:
        found = stored_accounts(self.sql)
        assert found == self.model.books.accounts
        money = [account for account in found.values() if account.kind != BUDGET]
        assert sum(account.posted for account in money) == 0
        for account in money:
            assert account.kind != WALLET or account.posted >= account.pending >= 0

    @precondition(lambda self: self.last)
    @rule()
    def send_the_last_batch_again(self) -> None:
        self.send(self.last)

    # --- credits --------------------------------------------------------------------------------
    @rule(
        target=grants,
        wallet=wallets,
        amount=st.integers(1, 20),
        expire_time=st.sampled_from((None, PAST, FUTURE)),
        together=together,
    )
    def grant(
        self, wallet: int, amount: int, expire_time: datetime | None, together: bool
    ) -> TransferOp:
        op = transfer_op(amount, wallet=wallet, expire_time=expire_time)
        return self.transfer(op, Requested.GRANT, together)

    @rule(target=grants, wallet=wallets, amount=st.integers(1, 20))
    def grant_and_expire(self, wallet: int, amount: int) -> TransferOp:
        grant = self.grant(wallet, amount, PAST, False)
        self.expire(grant, None, False)
        return grant

    @rule(grant=grants, wallet=own_or_another, together=together)
    def expire(self, grant: TransferOp, wallet: int | None, together: bool) -> None:
        op = expiry_op(grant.id, wallet=wallet or grant.wallet)
        self.add(dataclasses.replace(op, id=self.new_id()), together)

    @rule(charge=charges, amount=st.integers(1, 12), wallet=own_or_another, together=together)
    def refund(self, charge: HoldOp, amount: int, wallet: int | None, together: bool) -> None:
        op = refund_op(amount, charge.id, wallet=wallet or charge.wallet)
        self.transfer(op, Requested.REFUND, together)

    def transfer(self, op: TransferOp, operation: Requested, waits: bool) -> TransferOp:
        new_id = self.new_id()
        request = RequestKey(1, f"transfer {new_id.int}", b"", operation)
        op = dataclasses.replace(op, id=new_id, request=request)
        self.add(op, waits)
        return op

    # --- holds ----------------------------------------------------------------------------------
    @rule(
        target=holds, wallet=wallets, amount=amounts, least=amounts, leg=legs, seconds=seconds,
        together=together,
    )  # fmt: skip
    def hold(
        self, wallet: int, amount: int, least: int, leg: tuple[int, int] | None, seconds: int,
        together: bool,
    ) -> HoldOp:  # fmt: skip
        budget = [] if leg is None else [Leg(AccountId(leg[0]), min(leg[1], least), leg[1])]
        return self.reserve(
            hold_op(amount, least=min(least, amount), wallet=wallet, legs=budget, seconds=seconds),
            together,
        )

    @rule(
        target=holds, name=names, wallet=wallets, amount=amounts, seconds=seconds, together=together
    )
    def chat(self, name: str, wallet: int, amount: int, seconds: int, together: bool) -> HoldOp:
        return self.reserve(
            hold_op(amount, wallet=wallet, seconds=seconds, request=chat_key(name)), together
        )

    @rule(target=holds, before=holds, amount=amounts, together=together)
    def next_attempt(self, before: HoldOp, amount: int, together: bool) -> HoldOp:
        if before.origin is Origin.API or attempt_of(before.id) == ATTEMPTS_MAX:
            return before
        op = dataclasses.replace(
            before, id=HoldId(UUID(int=before.id.int + 1)), amount_min=amount, amount_max=amount,
            legs=(),
        )  # fmt: skip
        self.add(op, together)
        return op

    @rule(target=holds, wallet=wallets, amount=amounts, seconds=seconds, together=together)
    def team_hold(self, wallet: int, amount: int, seconds: int, together: bool) -> HoldOp:
        return self.reserve(
            hold_op(amount, wallet=wallet, seconds=seconds, origin=Origin.API), together
        )

    def reserve(self, op: HoldOp, waits: bool) -> HoldOp:
        op = dataclasses.replace(op, id=HoldId(UUID(int=self.new_id().int + 1)))
        self.add(op, waits)
        return op

    @rule(hold=holds, together=together)
    def hold_again(self, hold: HoldOp, together: bool) -> None:
        self.add(hold, together)

    @rule(hold=holds, together=together)
    def bring_back(self, hold: HoldOp, together: bool) -> None:
        """As the lane does for a database that lost it."""
        legs = tuple(dataclasses.replace(leg, amount_min=leg.amount_max) for leg in hold.legs)
        self.add(dataclasses.replace(hold, amount_min=0, legs=legs, request=None), together)

    # --- ends -----------------------------------------------------------------------------------
    @rule(
        target=charges, hold=holds | decided, cost=costs, is_estimate=st.booleans(),
        together=together,
    )  # fmt: skip
    def settle(self, hold: HoldOp, cost: int, is_estimate: bool, together: bool) -> HoldOp:
        self.end(hold, Final.SETTLE, together, cost, is_estimate=is_estimate)
        return hold

    @rule(
        target=charges, wallet=wallets, amount=amounts, leg=legs, cost=costs,
        is_estimate=st.booleans(),
    )  # fmt: skip
    def charge(
        self, wallet: int, amount: int, leg: tuple[int, int] | None, cost: int, is_estimate: bool
    ) -> HoldOp:
        hold = self.hold(wallet, amount, amount, leg, 3_600, False)
        return self.settle(hold, cost, is_estimate, False)

    @rule(target=charges, wallet=wallets, amount=amounts, estimate=costs, cost=costs)
    def charge_and_correct(self, wallet: int, amount: int, estimate: int, cost: int) -> HoldOp:
        charge = self.charge(wallet, amount, None, estimate, True)
        self.correct(charge, cost, False)
        return charge

    @rule(charge=charges, cost=costs, together=together)
    def correct(self, charge: HoldOp, cost: int, together: bool) -> None:
        self.end(charge, Final.SETTLE, together, cost)

    @rule(hold=holds, together=together)
    def void(self, hold: HoldOp, together: bool) -> None:
        self.end(hold, Final.VOID, together)

    @rule(hold=holds, ref=st.none() | st.just("gen-1"), together=together)
    def leave_unresolved(self, hold: HoldOp, ref: str | None, together: bool) -> None:
        if hold.origin is Origin.ROUTER:
            self.end(hold, Final.UNRESOLVED, together, provider_ref=ref)

    @rule(target=decided, hold=holds | charges, kind=ends, cost=costs, decider=deciders)
    def decide(self, hold: HoldOp, kind: Final, cost: int, decider: Decider) -> HoldOp:
        """Whether it is unresolved or not."""
        self.end(hold, kind, False, 0 if kind is Final.VOID else cost, decider=decider)
        return hold

    @rule(target=decided, wallet=wallets, amount=amounts, kind=ends, cost=costs, decider=deciders)
    def lose(self, wallet: int, amount: int, kind: Final, cost: int, decider: Decider) -> HoldOp:
        hold = self.hold(wallet, amount, amount, None, 3_600, False)
        self.leave_unresolved(hold, None, False)
        return self.decide(hold, kind, cost, decider)

    @rule(hold=holds, together=together)
    def lease_ends(self, hold: HoldOp, together: bool) -> None:
        self.end(hold, Final.LEASE_END, together)

    @rule(target=charges, hold=holds, cost=costs, together=together)
    def finish_chat(self, hold: HoldOp, cost: int, together: bool) -> HoldOp:
        done = hold.request and chat_end(hold.request, hold.id, ChatEnd.DONE, b"sealed")
        self.end(hold, Final.SETTLE, together, cost, ends=done)
        return hold

    @rule(hold=holds, end=st.sampled_from(ChatEnd), together=together)
    def end_chat(self, hold: HoldOp, end: ChatEnd, together: bool) -> None:
        if hold.request:
            ends = chat_end(hold.request, hold.id, end)
            self.add(RequestEndOp(call_id_of(hold.id), ends), together)

    def end(self, hold: HoldOp, kind: Final, waits: bool, cost: int = 0, **facts: Any) -> None:
        wallet = hold.wallet if hold.origin is Origin.API else None
        self.add(final_op(kind, hold.id, cost, origin=hold.origin, wallet=wallet, **facts), waits)

    # --- what else happens ----------------------------------------------------------------------
    @rule()
    def time_passes(self) -> None:
        self.sql.execute("UPDATE hold SET lease_until = now() - interval '1 s'")
        self.sql.execute("UPDATE request SET until = now() - interval '1 s'")
        self.sql.execute("UPDATE credit_lot SET expire_time = now() - interval '1 s'")
        self.model.lapse()

    @rule(hold=holds)
    def renew(self, hold: HoldOp) -> None:
        rows = self.sql.execute("SELECT ledger_renew(%s, %s, 60, %s)", [OWNER, EPOCH, [hold.id]])
        assert {row[0] for row in rows} == self.model.renew([hold.id])

    @rule(budget=st.sampled_from(BUDGETS[:2]), limit=st.none() | st.integers(0, 20))
    def limit(self, budget: int, limit: int | None) -> None:
        self.sql.execute("UPDATE account SET debit_limit = %s WHERE id = %s", [limit, budget])
        self.model.books.accounts[budget].limit = limit

    @rule(limit=st.integers(0, 20))
    def limit_of_a_day(self, limit: int) -> None:
        """Changes as it does over the API: all windows that have not ended have it at once."""
        self.sql.execute("UPDATE budget SET amount = %s WHERE id = %s", [limit, DAILY])
        self.sql.execute("SELECT budget_limit_changed(%s)", [DAILY])
        for (window,) in self.sql.execute(
            "SELECT account_id FROM budget_window WHERE budget_id = %s", [DAILY]
        ):
            self.model.books.accounts[window].limit = limit

    @rule(days=st.sampled_from((1, 1, -1)))
    def the_day_ends(self, days: int) -> None:
        """Or the database's clock is put back."""
        self.now += timedelta(days=days)
        self.look_at_the_clock()

    def look_at_the_clock(self) -> None:
        """Tells the model which window is open; the books know it only once it is there."""
        row = self.sql.execute("SELECT ledger_windows(%s, %s)", [[f"{{{DAILY}}}"], self.now])
        window = int(row.fetchall()[0][0][0][1:-1])
        self.model.windows[DAILY] = window
        self.model.books.accounts.setdefault(window, stored_accounts(self.sql)[window])

    def teardown(self) -> None:
        if self.batch:
            self.send(self.batch)
        assert stored_books(self.sql) == self.model.books


def _ended(op: Operation) -> UUID | None:
    ends = op.ends if isinstance(op, FinalOp | RequestEndOp) else None
    return ends and ends.call_id


def _call_ended(op: Operation) -> set[UUID | None]:
    return {_ended(op)} - {None}


@pytest.mark.timeout(0 if EXAMPLES else 400)  # a failure takes its time to be shrunk
async def test_any_history_is_decided_as_the_model_decides_it(
    sql: psycopg.Connection, database: Database
) -> None:
    run_state_machine_as_test(
        lambda: LedgerMachine(sql), settings=histories(examples=120, steps=30)
    )
    assert await check(database, prices=load_prices) == []
