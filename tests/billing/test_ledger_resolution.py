"""Unresolved holds: who may end them and how, what comes late, and estimates that are corrected."""

import psycopg
import pytest
from ledger_rig import BUDGETS, WALLETS, final_op, hold_op, resolve_op, transfer_op
from ledger_sql import apply, balance, codes

from omni_grpc.billing.operations import Code, Decider, Final, FinalOp, HoldOp, Leg, Origin
from omni_grpc.core.ids import AccountId

WALLET = WALLETS[0]
OTHERS = [Decider.TIME, Decider.OPERATOR]
ENDS = [Final.SETTLE, Final.VOID, Final.WRITE_OFF]


@pytest.fixture(autouse=True)
async def books_stay_clean(clean_books: None) -> None:
    """The doctor looks at each test's books."""


def held(sql: psycopg.Connection, amount: int = 10, *, granted: int = 10) -> HoldOp:
    op = hold_op(amount)
    apply(sql, [transfer_op(granted)])
    apply(sql, [op])
    return op


def unresolved(sql: psycopg.Connection, amount: int = 10, *, granted: int = 10) -> HoldOp:
    op = held(sql, amount, granted=granted)
    assert codes(apply(sql, [final_op(Final.UNRESOLVED, op.id)])) == [Code.DONE]
    return op


def losses(sql: psycopg.Connection) -> int:
    return -balance(sql, 200)[0]


def revenue(sql: psycopg.Connection) -> int:
    return balance(sql, 100)[0]


def usage_of(sql: psycopg.Connection, op: HoldOp) -> tuple[object, ...] | None:
    return sql.execute(
        "SELECT outcome::text, estimated, prompt, provider_ref FROM usage_record"
        " WHERE hold_id = %s",
        [op.id],
    ).fetchone()


# --- who may end what ---------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("decider", OTHERS)
@pytest.mark.parametrize("seconds", [60, -1])
async def test_only_its_owner_ends_an_open_hold(
    seconds: int, decider: Decider, kind: Final, sql: psycopg.Connection
) -> None:
    """Also when its lease is over, as long as that was not stated."""
    op = hold_op(10, seconds=seconds)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    assert codes(apply(sql, [final_op(kind, op.id, 0, decider=decider)])) == [Code.NOT_UNRESOLVED]
    assert balance(sql, WALLET) == (10, 10)


@pytest.mark.parametrize("decider", OTHERS)
async def test_nobody_but_its_caller_ends_a_hold_of_a_team(
    decider: Decider, sql: psycopg.Connection
) -> None:
    op = hold_op(10, origin=Origin.API, seconds=-1)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    for kind in ENDS:
        final = final_op(kind, op.id, 0, origin=Origin.API, decider=decider)
        assert codes(apply(sql, [final])) == [Code.NOT_UNRESOLVED]
    assert balance(sql, WALLET) == (10, 10)


@pytest.mark.parametrize("decider", [Decider.OWNER, *OTHERS])
async def test_an_unresolved_hold_is_voided_settled_or_written_off(
    decider: Decider, sql: psycopg.Connection
) -> None:
    void, settle, write_off = (unresolved(sql) for _ in range(3))
    found = apply(
        sql,
        [
            final_op(Final.VOID, void.id, decider=decider),
            final_op(Final.SETTLE, settle.id, 4, decider=decider),
            final_op(Final.WRITE_OFF, write_off.id, 7, decider=decider),
        ],
    )
    assert codes(found) == [Code.DONE] * 3
    assert [outcome.amount for outcome in found] == [0, 4, 0]
    assert balance(sql, WALLET) == (26, 0)
    assert (revenue(sql), losses(sql)) == (11, 7)
    deciders = sql.execute("SELECT DISTINCT decider::text FROM posting WHERE kind <> 'G'")
    assert deciders.fetchall() == [(decider,)]


@pytest.mark.parametrize("kind", ENDS)
async def test_a_resolution_sent_again_is_known_and_another_one_refused(
    kind: Final, sql: psycopg.Connection
) -> None:
    op = unresolved(sql)
    final = resolve_op(kind, op.id, 0 if kind is Final.VOID else 4)
    assert codes(apply(sql, [final])) == [Code.DONE]
    assert codes(apply(sql, [final])) == [Code.ALREADY]
    for other in set(ENDS) - {kind, Final.SETTLE}:
        assert codes(apply(sql, [resolve_op(other, op.id)])) == [Code.DECIDED]


async def test_a_write_off_of_nothing_frees_the_hold(sql: psycopg.Connection) -> None:
    op = unresolved(sql)
    assert codes(apply(sql, [resolve_op(Final.WRITE_OFF, op.id)])) == [Code.DONE]
    assert balance(sql, WALLET) == (10, 0)
    assert losses(sql) == 0


async def test_a_write_off_below_nothing_is_none(sql: psycopg.Connection) -> None:
    op = unresolved(sql)
    with pytest.raises(psycopg.errors.CheckViolation):
        apply(sql, [resolve_op(Final.WRITE_OFF, op.id, -1)])


async def test_a_written_off_attempt_is_recorded_with_the_name_its_provider_gave_it(
    sql: psycopg.Connection,
) -> None:
    op = held(sql)
    apply(sql, [final_op(Final.UNRESOLVED, op.id, provider_ref="gen-7")])
    listed = sql.execute("SELECT provider_ref FROM hold WHERE state = 'U'").fetchall()
    assert listed == [("gen-7",)]
    apply(sql, [resolve_op(Final.WRITE_OFF, op.id, 10)])
    assert usage_of(sql, op) == ("U", False, None, "gen-7")


async def test_its_owner_names_a_hold_whose_lease_another_ended(sql: psycopg.Connection) -> None:
    op = hold_op(10, seconds=-1)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    apply(sql, [final_op(Final.LEASE_END, op.id)])
    for name in (None, "gen-7", "gen-8"):
        final = final_op(Final.UNRESOLVED, op.id, provider_ref=name)
        assert codes(apply(sql, [final])) == [Code.ALREADY]
    listed = sql.execute("SELECT provider_ref FROM hold WHERE state = 'U'").fetchall()
    assert listed == [("gen-7",)]


# --- late words ---------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [Final.VOID, Final.WRITE_OFF])
@pytest.mark.parametrize("decider", OTHERS)
async def test_its_owners_settle_is_posted_after_what_others_decided_once(
    decider: Decider, kind: Final, sql: psycopg.Connection
) -> None:
    op = unresolved(sql)
    loss = 10 if kind is Final.WRITE_OFF else 0
    apply(sql, [final_op(kind, op.id, loss, decider=decider)])
    late = final_op(Final.SETTLE, op.id, 6, provider_ref="gen-7")
    (outcome,) = apply(sql, [late])
    assert (outcome.code, outcome.amount, outcome.posted) == (Code.DONE, 6, 4)
    assert usage_of(sql, op) == ("A", False, 6, "gen-7")
    assert codes(apply(sql, [late])) == [Code.ALREADY]
    assert codes(apply(sql, [final_op(Final.SETTLE, op.id, 7)])) == [Code.DECIDED]
    assert balance(sql, WALLET) == (4, 0)
    assert losses(sql) == 0  # a write-off's is taken back
    assert sql.execute(
        "SELECT loss, reversed FROM posting WHERE id = %s ORDER BY n", [op.id]
    ).fetchall() == [(loss, None), (0, loss or None)]


async def test_a_late_settle_above_its_hold_leaves_the_loss_that_is_real(
    sql: psycopg.Connection,
) -> None:
    op = unresolved(sql)
    apply(sql, [resolve_op(Final.WRITE_OFF, op.id, 8)])
    (outcome,) = apply(sql, [final_op(Final.SETTLE, op.id, 12)])
    assert (outcome.code, outcome.amount) == (Code.DONE, 10)
    assert losses(sql) == 2
    assert balance(sql, 100) == (12, 0)  # revenue: all that the provider reported


@pytest.mark.parametrize("kind", [Final.VOID, Final.WRITE_OFF, Final.SETTLE])
async def test_a_late_word_counts_in_the_windows_of_its_hold(
    kind: Final, sql: psycopg.Connection
) -> None:
    """A window in the wallet's unit counts what was charged; one in its own, its own cost."""
    legs = (Leg(AccountId(BUDGETS[0]), 10, 10), Leg(AccountId(BUDGETS[1]), 500, 500))
    op = hold_op(10, legs=legs)
    apply(sql, [transfer_op(10)])
    apply(sql, [op])
    apply(sql, [final_op(Final.UNRESOLVED, op.id)])
    apply(
        sql, [final_op(kind, op.id, 4, decider=Decider.TIME, leg_costs=(4, 40), is_estimate=True)]
    )
    before = (-4, -40) if kind is Final.SETTLE else (0, 0)
    assert tuple(balance(sql, leg.account)[0] for leg in legs) == before
    (outcome,) = apply(sql, [final_op(Final.SETTLE, op.id, 12, leg_costs=(12, 700))])
    assert outcome.amount == (6 if kind is Final.SETTLE else 10)
    assert [balance(sql, leg.account) for leg in legs] == [(-10, 0), (-500, 0)]


@pytest.mark.parametrize("kind", [Final.VOID, Final.WRITE_OFF])
async def test_what_a_late_settle_finds_no_room_for_is_the_operators_loss(
    kind: Final, sql: psycopg.Connection
) -> None:
    op = unresolved(sql)
    apply(sql, [resolve_op(kind, op.id)])
    apply(sql, [hold_op(7)])
    (outcome,) = apply(sql, [final_op(Final.SETTLE, op.id, 12)])
    assert (outcome.code, outcome.amount) == (Code.DONE, 3)
    assert balance(sql, WALLET) == (7, 7)
    assert losses(sql) == 9


async def test_a_late_settle_reaches_no_other_wallet(sql: psycopg.Connection) -> None:
    op = unresolved(sql)
    apply(sql, [resolve_op(Final.VOID, op.id)])
    theirs = final_op(Final.SETTLE, op.id, 5, wallet=WALLETS[1])
    assert codes(apply(sql, [theirs])) == [Code.UNKNOWN]
    assert balance(sql, WALLET) == (10, 0)


# --- estimates ----------------------------------------------------------------------------------
def estimate(op: HoldOp, cost: int) -> FinalOp:
    return final_op(Final.SETTLE, op.id, cost, is_estimate=True)


def exact(op: HoldOp, cost: int) -> FinalOp:
    return final_op(Final.SETTLE, op.id, cost)


async def test_exact_usage_corrects_an_estimate_upwards_once(sql: psycopg.Connection) -> None:
    op = held(sql)
    apply(sql, [estimate(op, 3)])
    (outcome,) = apply(sql, [exact(op, 8)])
    assert (outcome.code, outcome.amount, outcome.posted) == (Code.DONE, 5, 2)
    assert usage_of(sql, op) == ("A", False, 8, None)
    assert codes(
        apply(
            sql,
            [
                exact(op, 8),
            ],
        )
    ) == [Code.ALREADY]
    assert codes(apply(sql, [exact(op, 9)])) == [Code.DECIDED]
    assert codes(apply(sql, [estimate(op, 3)])) == [Code.DECIDED]
    assert balance(sql, WALLET) == (2, 0)
    rows = sql.execute("SELECT n, amount, loss FROM posting WHERE id = %s ORDER BY n", [op.id])
    assert rows.fetchall() == [(0, 3, 0), (1, 5, 0)]


@pytest.mark.parametrize("cost", [0, 2, 3])
async def test_an_estimate_is_never_corrected_downwards(cost: int, sql: psycopg.Connection) -> None:
    op = held(sql)
    apply(sql, [estimate(op, 3)])
    code = Code.ALREADY if cost == 3 else Code.DECIDED
    assert codes(apply(sql, [exact(op, cost)])) == [code]
    assert usage_of(sql, op) == ("A", True, 3, None)
    assert balance(sql, WALLET) == (7, 0)


async def test_what_was_exact_is_never_corrected(sql: psycopg.Connection) -> None:
    op = held(sql)
    apply(sql, [exact(op, 3)])
    assert codes(apply(sql, [exact(op, 8)])) == [Code.DECIDED]
    assert balance(sql, WALLET) == (7, 0)


async def test_a_correction_goes_up_to_the_hold_and_the_rest_is_the_operators_loss(
    sql: psycopg.Connection,
) -> None:
    op = held(sql, granted=100)
    apply(sql, [estimate(op, 3)])
    assert apply(sql, [exact(op, 18)])[0].amount == 7
    assert balance(sql, WALLET) == (90, 0)
    assert (revenue(sql), losses(sql)) == (18, 8)


async def test_a_correction_takes_what_room_its_wallet_has_left(sql: psycopg.Connection) -> None:
    op = held(sql)
    apply(sql, [estimate(op, 3)])
    apply(sql, [hold_op(5)])
    assert apply(sql, [exact(op, 9)])[0].amount == 2
    assert balance(sql, WALLET) == (5, 5)
    assert losses(sql) == 4


async def test_an_estimate_above_its_hold_is_corrected_by_loss_alone(
    sql: psycopg.Connection,
) -> None:
    op = held(sql)
    apply(sql, [estimate(op, 13)])
    (outcome,) = apply(sql, [exact(op, 15)])
    assert (outcome.code, outcome.amount, outcome.posted) == (Code.DONE, 0, 0)
    assert losses(sql) == 5


async def test_late_words_and_corrections_of_one_batch_share_the_room(
    sql: psycopg.Connection,
) -> None:
    voided, estimated, written_off = (held(sql) for _ in range(3))
    apply(sql, [final_op(Final.UNRESOLVED, op.id) for op in (voided, written_off)])
    apply(
        sql,
        [
            resolve_op(Final.VOID, voided.id),
            resolve_op(Final.WRITE_OFF, written_off.id, 2),
            estimate(estimated, 1),
        ],
    )
    apply(sql, [hold_op(14)])
    found = apply(sql, [exact(op, 9) for op in (voided, estimated, written_off)])
    assert [outcome.amount for outcome in found] == [9, 6, 0]
    assert {(outcome.posted, outcome.pending) for outcome in found} == {(14, 14)}
    assert losses(sql) == 2 + 9  # and the 2 that were written off are taken back


# --- a lost hold that is brought back -----------------------------------------------------------
@pytest.mark.parametrize(("room", "granted"), [(0, 0), (4, 4), (50, 10)])
async def test_a_hold_that_asks_for_nothing_at_least_is_always_granted(
    room: int, granted: int, sql: psycopg.Connection
) -> None:
    if room:
        apply(sql, [transfer_op(room)])
    op = hold_op(10, least=0)
    (outcome,) = apply(sql, [op])
    assert (outcome.code, outcome.amount) == (Code.DONE, granted)
    (settle,) = apply(sql, [exact(op, 10)])
    assert (settle.code, settle.amount) == (Code.DONE, granted)
    assert losses(sql) == 10 - granted


async def test_a_hold_is_granted_nothing_on_a_budget_over_its_limit(
    sql: psycopg.Connection,
) -> None:
    full, other = AccountId(BUDGETS[0]), AccountId(BUDGETS[1])
    apply(sql, [transfer_op(100)])
    spent = hold_op(20, legs=[Leg(full, 20, 20)])
    apply(sql, [spent])
    apply(sql, [exact(spent, 20)])
    sql.execute("UPDATE account SET debit_limit = 5 WHERE id = %s", [full])
    legs = [Leg(other, 0, 7), Leg(full, 0, 0)]
    found = apply(
        sql,
        [hold_op(9, least=0, legs=[Leg(full, 0, 9)]), hold_op(9, least=0, legs=legs)],
    )
    assert [(outcome.code, outcome.amount) for outcome in found] == [(Code.DONE, 0), (Code.DONE, 9)]
    assert balance(sql, full) == (-20, 0)


async def test_a_hold_below_nothing_is_refused_also_where_room_is_short(
    sql: psycopg.Connection,
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        apply(sql, [hold_op(5), hold_op(-1)])
