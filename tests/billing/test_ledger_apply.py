"""ledger_apply against a plain model: the same answers and the same books after every batch."""

import asyncio
import dataclasses
import random
from collections.abc import Sequence
from uuid import UUID

import psycopg
import pytest
from ledger_model import Account, Books, Model, OpenHold, Refused, Said, Word
from ledger_rig import BUDGETS, WALLETS, final_op, hold_op, load_prices, transfer_op, until

from omni_grpc.billing.batch import APPLY_SQL, arguments, outcomes
from omni_grpc.billing.invariants import check
from omni_grpc.billing.operations import (
    Code,
    Final,
    FinalOp,
    HoldOp,
    Leg,
    Operation,
    Origin,
    Outcome,
    Requested,
    RequestKey,
)
from omni_grpc.core.ids import AccountId, new_hold_id
from omni_grpc.storage import Database

OWNER, EPOCH = "model", 1
INT64_MAX = 2**63 - 1
BATCHES = 120


def apply(sql: psycopg.Connection, batch: Sequence[Operation]) -> list[Outcome]:
    """One call of the database function, as the lane makes it."""
    cursor = sql.execute(APPLY_SQL, arguments(OWNER, EPOCH, 0, batch), prepare=True, binary=True)
    return outcomes(batch, cursor.fetchall())


def said(outcome: Outcome) -> Said:
    """What the contract states of an outcome; the rest is not compared."""
    has_balance = outcome.code in (Code.DONE, Code.SHORT)
    return Said(
        outcome.code,
        outcome.target,
        None if outcome.code is Code.UNKNOWN else outcome.amount,
        outcome.posted if has_balance else None,
        outcome.pending if has_balance else None,
        outcome.short_account,
    )


# --- the two books, in one form -----------------------------------------------------------------
def stored_books(sql: psycopg.Connection) -> Books:
    books = Books()
    for row in sql.execute(
        "SELECT id, kind, credits_posted, debits_posted, debits_pending, debit_limit, entry_count"
        " FROM account"
    ):
        books.accounts[row[0]] = Account(*row[1:])
    for row in sql.execute(
        "SELECT id, origin::text, wallet, amount, legs, leg_amounts, owner, epoch,"
        " lease_until < clock_timestamp(), state::text FROM hold"
    ):
        legs = dict(zip(row[4] or [], row[5] or [], strict=True))
        books.holds[row[0]] = OpenHold(*row[1:4], legs, *row[6:])
    for row in sql.execute(
        "SELECT id, kind::text, origin::text, decider::text, wallet, amount, held, loss, legs,"
        " leg_amounts, entry, balance_after FROM posting ORDER BY id, n"
    ):
        legs = dict(zip(row[8], row[9], strict=True)) if row[9] else None
        books.words.setdefault(row[0], []).append(Word(*row[1:8], legs, *row[10:]))
    return books


def stored_requests(sql: psycopg.Connection) -> dict[tuple[int, str], tuple[object, ...]]:
    rows = sql.execute(
        "SELECT principal, request_id, fingerprint, operation::text, target, amount FROM request"
    )
    return {(row[0], row[1]): (bytes(row[2]), *row[3:]) for row in rows}


# --- the stream ---------------------------------------------------------------------------------
class Stream:
    """Random batches; ids come up again, so that every order of events happens."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.holds: list[HoldOp] = []
        self.transfers: list[Operation] = []
        self.sent: list[list[Operation]] = []

    def batch(self) -> list[Operation]:
        chance = self.random
        if self.sent and chance.random() < 0.08:
            return chance.choice(self.sent[-4:])
        size = chance.choice((1, 1, 2, 4, 8, 16, 30))
        batch: dict[UUID, Operation] = {}
        keys: set[tuple[int, str]] = set()
        for _ in range(size):
            op = self._operation()
            key = op.request and (op.request.principal, op.request.request_id)
            if op.id in batch or key in keys:
                continue
            batch[op.id] = op
            keys |= {key} if key else set()
        if chance.random() < 0.03:
            poison = self._poison()
            batch.setdefault(poison.id, poison)
        found = list(batch.values())
        self.sent.append(found)
        return found

    def _operation(self) -> Operation:
        dice = self.random.random()
        if dice < 0.08:
            if self.transfers and dice < 0.02:
                return self.random.choice(self.transfers)
            op = transfer_op(self.random.choice((1, 20, 100)), wallet=self._wallet())
            self.transfers.append(op)
            return op
        if dice < 0.5 or not self.holds:
            if self.holds and dice < 0.13:
                return self._again(self.random.choice(self.holds[-20:]))
            op = self._hold()
            self.holds.append(op)
            return op
        return self._final()

    def _wallet(self) -> int:
        return self.random.choice(WALLETS[:3])

    def _hold(self) -> HoldOp:
        chance = self.random
        origin = Origin.API if chance.random() < 0.3 else Origin.ROUTER
        high = chance.choice((0, 1, 5, 5, 10, 30, INT64_MAX if chance.random() < 0.05 else 7))
        least = chance.choice((high, high, 0, high // 2))
        legs: list[Leg] = []
        if origin is Origin.ROUTER and chance.random() < 0.4:
            for budget in chance.sample(BUDGETS, chance.choice((1, 2, 3))):
                most = chance.choice((high, high, 0, 3, 12)) if high < 100 else 9
                low = least if most == high else chance.choice((most, most // 2, 0))
                legs.append(Leg(AccountId(budget), low, most))
        wallet = self._wallet()
        hold_id = new_hold_id()
        request = None
        if origin is Origin.API:
            name = f"hold {hold_id}" if chance.random() < 0.8 else f"common {chance.randrange(6)}"
            request = RequestKey(1, name, f"{wallet} {high}".encode(), Requested.HOLD)
        return hold_op(
            high,
            least=least,
            wallet=wallet,
            origin=origin,
            hold_id=hold_id if origin is Origin.API else None,
            legs=legs,
            seconds=chance.choice((3_600, 3_600, -5)),
            request=request,
        )

    def _again(self, op: HoldOp) -> HoldOp:
        """The same hold once more, sometimes with other content."""
        if op.request is None and self.random.random() < 0.3:
            return dataclasses.replace(
                op, amount_min=op.amount_max // 2 + 1, amount_max=op.amount_max // 2 + 1, legs=()
            )
        return op

    def _final(self) -> FinalOp:
        chance = self.random
        hold = chance.choice(self.holds[-30:])
        hold_id = new_hold_id() if chance.random() < 0.03 else hold.id
        origin = hold.origin if chance.random() < 0.9 else chance.choice(list(Origin))
        kinds = [Final.SETTLE] * 5 + [Final.VOID] * 2 + [Final.LEASE_END] * 2
        if origin is Origin.ROUTER and hold.origin is Origin.ROUTER:
            kinds += [Final.UNRESOLVED]
        kind = chance.choice(kinds)
        cost = chance.choice((0, 1, 3, 5, 10, 40)) if kind is Final.SETTLE else 0
        wallet, request = None, None
        if origin is Origin.API and kind is not Final.LEASE_END:
            wallet = hold.wallet if chance.random() < 0.9 else WALLETS[3]
            if chance.random() < 0.7:
                name = f"{kind} {hold_id} {chance.randrange(2)}"
                request = RequestKey(1, name, f"{wallet} {cost}".encode(), Requested(kind.value))
        legs = [chance.choice((0, 2, cost)) for _ in hold.legs] if chance.random() < 0.5 else []
        return final_op(
            kind,
            hold_id,
            cost,
            origin=origin,
            decider="p" if kind is Final.VOID and chance.random() < 0.4 else "o",
            wallet=wallet,
            leg_costs=legs,
            request=request,
        )

    def _poison(self) -> Operation:
        return self.random.choice(
            (
                transfer_op(0),
                transfer_op(-3),
                transfer_op(INT64_MAX + 1),
                hold_op(-1, least=-1),
                hold_op(5, wallet=9_999),
                hold_op(0, legs=[Leg(AccountId(9_999), 0, 0)]),
                hold_op(0, legs=[Leg(AccountId(BUDGETS[2]), 0, INT64_MAX + 1)]),
            )
        )


@pytest.mark.parametrize("seed", range(8))
async def test_every_batch_is_decided_as_the_model_decides_it(
    seed: int, sql: psycopg.Connection, database: Database
) -> None:
    stream = Stream(seed)
    chance = stream.random
    sql.execute("UPDATE account SET debit_limit = 60 WHERE id = %s", [BUDGETS[0]])
    model = Model(stored_books(sql), OWNER, EPOCH)
    codes: set[tuple[str, Code]] = set()
    for _ in range(BATCHES):
        batch = stream.batch()
        try:
            expected = model.apply(batch)
        except Refused:
            with pytest.raises(psycopg.Error):
                apply(sql, batch)
        else:
            found = apply(sql, batch)
            assert [said(outcome) for outcome in found] == expected
            codes |= {
                (type(op).__name__, outcome.code) for op, outcome in zip(batch, found, strict=True)
            }
        if chance.random() < 0.1 and model.books.holds:
            ids = chance.sample(list(model.books.holds), 1)
            rows = sql.execute("SELECT ledger_renew(%s, %s, 60, %s)", [OWNER, EPOCH, ids])
            assert {row[0] for row in rows} == model.renew(ids)
        if chance.random() < 0.03:
            limit = chance.choice((None, 0, 40, 500))
            account = chance.choice(BUDGETS[:2])
            sql.execute("UPDATE account SET debit_limit = %s WHERE id = %s", [limit, account])
            model.books.accounts[account].limit = limit
        stored = stored_books(sql)
        assert stored.accounts == model.books.accounts
        assert stored.holds == model.books.holds
        assert stored.words == model.books.words
    assert stored_requests(sql) == {
        key: (asked.fingerprint, asked.operation, asked.target, asked.amount)
        for key, asked in model.books.requests.items()
    }
    assert await check(database, prices=load_prices, slice_rows=100) == []
    assert await check(database, prices=load_prices) == []
    assert {("HoldOp", code) for code in (Code.DONE, Code.ALREADY, Code.DECIDED, Code.SHORT)} | {
        ("FinalOp", code)
        for code in (Code.DONE, Code.ALREADY, Code.DECIDED, Code.UNKNOWN, Code.RENEWED)
    } <= codes


# --- single rules -------------------------------------------------------------------------------
def balance(sql: psycopg.Connection, account: int = WALLETS[0]) -> tuple[int, int]:
    """What is posted and what is pending."""
    row = sql.execute(
        "SELECT credits_posted - debits_posted, debits_pending FROM account WHERE id = %s",
        [account],
    ).fetchone()
    assert row
    return row


def codes(found: Sequence[Outcome]) -> list[Code]:
    return [outcome.code for outcome in found]


async def test_late_settles_in_one_batch_share_the_room_that_is_left(
    sql: psycopg.Connection,
) -> None:
    first, second, other = hold_op(5), hold_op(5), hold_op(8)
    apply(sql, [transfer_op(10)])
    apply(sql, [first, second])
    apply(sql, [final_op(Final.VOID, op.id, decider="p") for op in (first, second)])
    apply(sql, [other])
    found = apply(sql, [final_op(Final.SETTLE, op.id, 5) for op in (first, second)])
    assert codes(found) == [Code.DONE, Code.DONE]
    assert [outcome.amount for outcome in found] == [2, 0]
    assert balance(sql) == (8, 8)
    assert sql.execute("SELECT sum(debits_posted) FROM account WHERE kind = 5").fetchone() == (8,)


async def test_a_settle_after_its_owners_own_void_is_refused(sql: psycopg.Connection) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    apply(sql, [final_op(Final.VOID, op.id)])
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 5)])) == [Code.DECIDED]
    assert balance(sql) == (10, 0)


async def test_a_repeated_request_tells_the_first_outcome_to_the_microsecond(
    sql: psycopg.Connection,
) -> None:
    request = RequestKey(1, "mine", b"5 of wallet", Requested.HOLD)
    apply(sql, [transfer_op(10)])
    (first,) = apply(sql, [hold_op(5, origin=Origin.API, request=request)])
    (again,) = apply(sql, [hold_op(5, origin=Origin.API, request=request)])
    assert (again.code, again.target, again.amount) == (Code.REQUEST_REPEATED, first.target, 5)
    assert again.until == first.until


async def test_a_request_id_of_a_refused_hold_is_free_again(sql: psycopg.Connection) -> None:
    request = RequestKey(1, "mine", b"5 of wallet", Requested.HOLD)
    assert codes(apply(sql, [hold_op(5, origin=Origin.API, request=request)])) == [Code.SHORT]
    apply(sql, [transfer_op(10)])
    assert codes(apply(sql, [hold_op(5, origin=Origin.API, request=request)])) == [Code.DONE]


async def test_the_same_request_id_of_two_callers_is_two_requests(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(10)])
    found = apply(
        sql,
        [
            hold_op(5, origin=Origin.API, request=RequestKey(caller, "mine", b"5", Requested.HOLD))
            for caller in (1, 2)
        ],
    )
    assert codes(found) == [Code.DONE, Code.DONE]


@pytest.mark.parametrize("kind", [Final.SETTLE, Final.VOID, Final.LEASE_END])
@pytest.mark.parametrize("origin", [Origin.ROUTER, Origin.API])
async def test_an_origin_cannot_end_the_others_holds(
    origin: Origin, kind: Final, sql: psycopg.Connection
) -> None:
    mine = hold_op(5, origin=origin, seconds=-1)
    other = Origin.API if origin is Origin.ROUTER else Origin.ROUTER
    apply(sql, [transfer_op(10)])
    apply(sql, [mine])
    wallet = WALLETS[0] if other is Origin.API else None
    assert codes(apply(sql, [final_op(kind, mine.id, 0, origin=other, wallet=wallet)])) == [
        Code.UNKNOWN
    ]
    assert balance(sql) == (10, 5)


async def test_a_caller_cannot_end_a_hold_of_another_wallet(sql: psycopg.Connection) -> None:
    op = hold_op(5, origin=Origin.API)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    theirs = final_op(Final.SETTLE, op.id, 5, origin=Origin.API, wallet=WALLETS[1])
    assert codes(apply(sql, [theirs])) == [Code.UNKNOWN]
    apply(sql, [final_op(Final.SETTLE, op.id, 5, origin=Origin.API, wallet=WALLETS[0])])
    assert codes(apply(sql, [theirs])) == [Code.UNKNOWN]


async def test_open_already_and_final_already_are_told_apart(sql: psycopg.Connection) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    assert codes(apply(sql, [op])) == [Code.DONE]
    assert codes(apply(sql, [op])) == [Code.ALREADY]
    apply(sql, [final_op(Final.SETTLE, op.id, 3)])
    assert codes(apply(sql, [op])) == [Code.DECIDED]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 3)])) == [Code.ALREADY]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 4)])) == [Code.DECIDED]
    assert codes(apply(sql, [final_op(Final.VOID, op.id)])) == [Code.DECIDED]
    assert balance(sql) == (7, 0)


async def test_an_unresolved_hold_is_not_open_for_its_owner_but_takes_its_settle(
    sql: psycopg.Connection,
) -> None:
    op = hold_op(5, seconds=-1)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    assert codes(apply(sql, [final_op(Final.LEASE_END, op.id)])) == [Code.DONE]
    assert balance(sql) == (10, 5)
    assert codes(apply(sql, [op])) == [Code.DECIDED]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 5)])) == [Code.DONE]
    assert balance(sql) == (5, 0)


async def test_a_hold_of_another_life_of_the_worker_is_not_its_own(
    sql: psycopg.Connection,
) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    rows = sql.execute(
        APPLY_SQL, arguments(OWNER, EPOCH + 1, 0, [op]), prepare=True, binary=True
    ).fetchall()
    assert codes(outcomes([op], rows)) == [Code.DECIDED]


async def test_what_a_provider_bills_above_the_hold_is_the_operators_loss(
    sql: psycopg.Connection,
) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    (outcome,) = apply(sql, [final_op(Final.SETTLE, op.id, 12)])
    assert (outcome.amount, outcome.posted, outcome.pending) == (5, 5, 0)
    assert sql.execute("SELECT debits_posted FROM account WHERE id = 200").fetchone() == (7,)
    assert sql.execute("SELECT credits_posted FROM account WHERE id = 100").fetchone() == (12,)


async def test_a_budget_of_another_unit_stands_in_the_same_hold(sql: psycopg.Connection) -> None:
    """Dollars on the wallet, tokens on the budget: each is held, and charged, in its own unit."""
    sql.execute("UPDATE account SET debit_limit = 1000 WHERE id = %s", [BUDGETS[0]])
    tokens = Leg(AccountId(BUDGETS[0]), 700, 700)
    op, too_much = hold_op(5, legs=[tokens]), hold_op(1, legs=[tokens])
    apply(sql, [transfer_op(10)])
    assert codes(apply(sql, [op, too_much])) == [Code.DONE, Code.SHORT]
    apply(sql, [final_op(Final.SETTLE, op.id, 2, leg_costs=[640])])
    assert balance(sql) == (8, 0)
    assert balance(sql, BUDGETS[0]) == (-640, 0)


async def test_a_limit_below_what_is_spent_refuses_holds_and_not_facts(
    sql: psycopg.Connection,
) -> None:
    leg = Leg(AccountId(BUDGETS[0]), 5, 5)
    op = hold_op(5, legs=[leg])
    apply(sql, [transfer_op(100)])
    apply(sql, [op])
    sql.execute("UPDATE account SET debit_limit = 2 WHERE id = %s", [BUDGETS[0]])
    assert codes(apply(sql, [hold_op(5, legs=[leg])])) == [Code.SHORT]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 5)])) == [Code.DONE]
    assert balance(sql, BUDGETS[0]) == (-5, 0)


async def test_exactly_those_holds_pass_that_fit_in_their_order(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(10)])
    found = apply(sql, [hold_op(4), hold_op(7), hold_op(4), hold_op(3, least=1), hold_op(1)])
    assert codes(found) == [Code.DONE, Code.SHORT, Code.DONE, Code.DONE, Code.SHORT]
    assert [outcome.amount for outcome in found] == [4, None, 4, 2, None]


async def test_finals_free_room_for_the_holds_of_their_own_batch(sql: psycopg.Connection) -> None:
    op = hold_op(10)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    assert codes(apply(sql, [hold_op(9), final_op(Final.SETTLE, op.id, 1)])) == [
        Code.DONE,
        Code.DONE,
    ]


async def test_a_missing_account_is_an_error_and_nothing_happens(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(10)])
    with pytest.raises(psycopg.Error) as caught:
        apply(sql, [hold_op(4), hold_op(1, wallet=9_999)])
    assert caught.value.sqlstate == "OM002"
    assert balance(sql) == (10, 0)


@pytest.mark.parametrize("is_final", [False, True])
async def test_a_hold_that_appears_while_its_accounts_are_locked_restarts_the_batch(
    is_final: bool, url: str, sql: psycopg.Connection
) -> None:
    op = hold_op(5)
    apply(sql, [transfer_op(10)])
    settle = final_op(Final.SETTLE, op.id, 5)
    async with (
        await psycopg.AsyncConnection.connect(url) as blocker,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as late,
    ):
        await blocker.execute("SELECT FROM account WHERE id = 107 FOR UPDATE")
        waiting = asyncio.create_task(
            late.execute(APPLY_SQL, arguments("other", 1, 7, [settle]), binary=True)
        )
        await until(
            lambda: (
                sql.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'",
                    [late.info.backend_pid],
                ).fetchone()
                is not None
            )
        )
        apply(sql, [op])
        if is_final:
            apply(sql, [final_op(Final.VOID, op.id, decider="p")])
        await blocker.rollback()
        with pytest.raises(psycopg.Error) as caught:
            await waiting
        assert caught.value.sqlstate == "OM001"
        cursor = await late.execute(APPLY_SQL, arguments("other", 1, 7, [settle]), binary=True)
        assert codes(outcomes([settle], await cursor.fetchall())) == [Code.DONE]
    assert balance(sql) == (5, 0)


ODD_TEXTS = (
    "", " ", "NULL", "null", '"', "\\", '\\"', "{1,2}", "a,b", "line\nbreak", "é🜂\u200b", "''",
)  # fmt: skip


async def test_texts_arrive_as_they_were_sent(sql: psycopg.Connection) -> None:
    """A batch writes its texts into array literals by itself."""
    grants = [
        dataclasses.replace(
            transfer_op(1, request=RequestKey(1, text, b"", Requested.GRANT)), reference=text
        )
        for text in ODD_TEXTS
    ]
    holds = [dataclasses.replace(hold_op(0), model=text, credential=text) for text in ODD_TEXTS]
    apply(sql, [*grants, *holds])
    for text, grant, hold in zip(ODD_TEXTS, grants, holds, strict=True):
        found = sql.execute(
            "SELECT p.reference, q.request_id, h.model, h.credential"
            " FROM posting p, request q, hold h WHERE (p.id, q.target, h.id) = (%s, %s, %s)",
            [grant.id, grant.id, hold.id],
        ).fetchone()
        assert found == (text, text, text, text)
