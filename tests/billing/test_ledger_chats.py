"""Request ids of chats: one call at a time under each, never a second charge, and the answer."""

import asyncio

import psycopg
import pytest
from ledger_rig import (
    WALLETS,
    chat_end,
    chat_key,
    final_op,
    hold_op,
    refund_op,
    resolve_op,
    transfer_op,
    until,
)
from ledger_sql import OWNER, apply, balance, codes

from omni_grpc.billing.batch import outcomes, statement
from omni_grpc.billing.operations import ChatEnd, Code, Final, HoldOp, Outcome, RequestEndOp
from omni_grpc.core.ids import call_id_of, hold_id_of, new_call_id

WALLET = WALLETS[0]
KEY = chat_key("mine")


@pytest.fixture(autouse=True)
async def books_stay_clean(clean_books: None) -> None:
    """The doctor looks at each test's books."""


@pytest.fixture(autouse=True)
def credits_granted(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(100)])


def chat(*, seconds: int = 60, amount: int = 10) -> HoldOp:
    """The first attempt of a new call under one request id."""
    return hold_op(amount, seconds=seconds, request=KEY)


def next_attempt(op: HoldOp, amount: int = 10) -> HoldOp:
    second = hold_id_of(call_id_of(op.id), 2)
    return hold_op(amount, hold_id=second, request=KEY)


def started(sql: psycopg.Connection, *, seconds: int = 60) -> HoldOp:
    op = chat(seconds=seconds)
    assert codes(apply(sql, [op])) == [Code.DONE]
    return op


def repeat(sql: psycopg.Connection) -> Outcome:
    """What another call under the request id is told."""
    (outcome,) = apply(sql, [chat()])
    return outcome


def end_alone(op: HoldOp, end: ChatEnd, sealed: bytes | None = None) -> RequestEndOp:
    return RequestEndOp(call_id_of(op.id), chat_end(KEY, op.id, end, sealed))


def answer_of(sql: psycopg.Connection, op: HoldOp) -> tuple[bytes | None] | None:
    return sql.execute(
        "SELECT sealed FROM request_answer WHERE call_id = %s", [call_id_of(op.id)]
    ).fetchone()


def lease_ends(sql: psycopg.Connection) -> None:
    """The lease that the call had when it began."""
    sql.execute("UPDATE request SET until = now() - interval '1 s'")


# --- repeats ------------------------------------------------------------------------------------
async def test_a_repeat_of_a_running_chat_is_told_which_call_runs(sql: psycopg.Connection) -> None:
    op = started(sql)
    found = repeat(sql)
    assert (found.code, found.target) == (Code.REQUEST_RUNNING, call_id_of(op.id))
    assert found.until is not None
    assert balance(sql, WALLET) == (100, 10)


async def test_a_repeat_of_a_finished_chat_is_told_its_call_and_charged_nothing(
    sql: psycopg.Connection,
) -> None:
    op = started(sql)
    done = chat_end(KEY, op.id, ChatEnd.DONE, b"sealed")
    apply(sql, [final_op(Final.SETTLE, op.id, 7, ends=done)])
    for _ in range(2):
        found = repeat(sql)
        assert (found.code, found.target) == (Code.REQUEST_REPEATED, call_id_of(op.id))
    assert answer_of(sql, op) == (b"sealed",)
    assert balance(sql, WALLET) == (93, 0)


async def test_a_finished_chat_whose_answer_is_not_kept_is_known_to_be_done(
    sql: psycopg.Connection,
) -> None:
    op = started(sql)
    done = chat_end(KEY, op.id, ChatEnd.DONE)
    apply(sql, [final_op(Final.SETTLE, op.id, 0, ends=done)])
    assert answer_of(sql, op) == (None,)
    assert repeat(sql).code is Code.REQUEST_REPEATED


async def test_other_content_under_a_used_request_id_is_refused_also_after_its_end(
    sql: psycopg.Connection,
) -> None:
    op = started(sql, seconds=-1)
    other = hold_op(10, request=chat_key("mine", b"other"))
    assert codes(apply(sql, [other])) == [Code.REQUEST_REUSED]
    apply(sql, [final_op(Final.VOID, op.id)])
    assert codes(apply(sql, [other])) == [Code.REQUEST_REUSED]
    assert codes(apply(sql, [hold_op(10, request=chat_key("mine", principal=2))])) == [Code.DONE]


async def test_a_chat_that_broke_off_is_told_with_its_charge(sql: psycopg.Connection) -> None:
    op = started(sql)
    apply(sql, [final_op(Final.SETTLE, op.id, 7, is_estimate=True)])
    found = repeat(sql)
    assert (found.code, found.amount) == (Code.REQUEST_INTERRUPTED, 7)
    apply(sql, [final_op(Final.SETTLE, op.id, 9)])
    found = repeat(sql)
    assert (found.code, found.amount) == (Code.REQUEST_INTERRUPTED, 9)
    apply(sql, [refund_op(9, op.id)])
    assert repeat(sql).code is Code.REQUEST_INTERRUPTED


async def test_a_chat_that_nobody_resolved_is_interrupted_until_it_is_void(
    sql: psycopg.Connection,
) -> None:
    op = started(sql, seconds=-1)
    apply(sql, [final_op(Final.LEASE_END, op.id)])
    found = repeat(sql)
    assert (found.code, found.amount) == (Code.REQUEST_INTERRUPTED, None)
    apply(sql, [resolve_op(Final.VOID, op.id)])
    assert repeat(sql).code is Code.DONE


@pytest.mark.parametrize("kind", [Final.VOID, Final.WRITE_OFF])
async def test_a_late_settle_of_a_chat_that_was_taken_over_is_still_charged(
    kind: Final, sql: psycopg.Connection
) -> None:
    """The provider billed it; its answer is that of no request any more."""
    op = started(sql, seconds=-1)
    apply(sql, [final_op(Final.LEASE_END, op.id)])
    apply(sql, [resolve_op(kind, op.id)])
    assert repeat(sql).code is Code.DONE
    late = final_op(Final.SETTLE, op.id, 7, ends=chat_end(KEY, op.id, ChatEnd.DONE, b"sealed"))
    assert codes(apply(sql, [late])) == [Code.DONE]
    assert answer_of(sql, op) is None
    assert repeat(sql).code is Code.REQUEST_RUNNING
    assert balance(sql, WALLET) == (93, 10)


# --- free again ---------------------------------------------------------------------------------
async def test_a_request_id_is_free_after_an_end_without_a_charge(sql: psycopg.Connection) -> None:
    op = started(sql)
    free = chat_end(KEY, op.id, ChatEnd.FREE)
    apply(sql, [final_op(Final.VOID, op.id, ends=free)])
    assert repeat(sql).code is Code.DONE


async def test_a_request_id_of_a_refused_chat_is_free(sql: psycopg.Connection) -> None:
    assert codes(apply(sql, [chat(amount=101)])) == [Code.SHORT]
    assert repeat(sql).code is Code.DONE


async def test_what_was_charged_or_is_held_does_not_free_a_request_id(
    sql: psycopg.Connection,
) -> None:
    op = started(sql)
    apply(sql, [end_alone(op, ChatEnd.FREE)])
    assert repeat(sql).code is Code.REQUEST_RUNNING
    apply(sql, [final_op(Final.UNRESOLVED, op.id, ends=chat_end(KEY, op.id, ChatEnd.FREE))])
    lease_ends(sql)
    assert repeat(sql).code is Code.REQUEST_INTERRUPTED
    apply(sql, [final_op(Final.SETTLE, op.id, 1, ends=chat_end(KEY, op.id, ChatEnd.FREE))])
    assert repeat(sql).code is Code.REQUEST_INTERRUPTED


async def test_ends_alone_and_beside_finals_do_the_same(sql: psycopg.Connection) -> None:
    op = started(sql)
    apply(sql, [final_op(Final.VOID, op.id)])
    (outcome,) = apply(sql, [end_alone(op, ChatEnd.FREE)])
    assert (outcome.code, outcome.target) == (Code.DONE, call_id_of(op.id))
    second = started(sql)
    apply(sql, [final_op(Final.SETTLE, second.id, 3)])
    for sealed in (b"sealed", b"later"):
        assert codes(apply(sql, [end_alone(second, ChatEnd.DONE, sealed)])) == [Code.DONE]
    assert answer_of(sql, second) == (b"sealed",)
    assert repeat(sql).code is Code.REQUEST_REPEATED


async def test_an_answer_is_kept_only_of_what_was_settled(sql: psycopg.Connection) -> None:
    op = started(sql)
    apply(sql, [end_alone(op, ChatEnd.DONE, b"early")])
    apply(sql, [final_op(Final.VOID, op.id, ends=chat_end(KEY, op.id, ChatEnd.DONE, b"void"))])
    assert answer_of(sql, op) is None


async def test_the_end_of_an_unknown_request_is_nothing(sql: psycopg.Connection) -> None:
    op = chat()
    assert codes(apply(sql, [end_alone(op, ChatEnd.DONE, b"sealed")])) == [Code.DONE]
    assert answer_of(sql, op) is None


# --- attempts and fences ------------------------------------------------------------------------
async def test_the_next_attempt_of_a_call_goes_on_under_its_request_id(
    sql: psycopg.Connection,
) -> None:
    op = started(sql)
    apply(sql, [final_op(Final.VOID, op.id)])
    second = next_attempt(op)
    assert codes(apply(sql, [second])) == [Code.DONE]
    done = chat_end(KEY, second.id, ChatEnd.DONE, b"sealed")
    apply(sql, [final_op(Final.SETTLE, second.id, 4, ends=done)])
    assert repeat(sql).target == call_id_of(op.id)
    assert answer_of(sql, op) == (b"sealed",)


async def test_a_call_whose_request_was_taken_over_starts_no_second_attempt(
    sql: psycopg.Connection,
) -> None:
    op = started(sql)
    apply(sql, [final_op(Final.VOID, op.id)])
    lease_ends(sql)
    taken = chat()
    assert codes(apply(sql, [taken])) == [Code.DONE]
    (fenced,) = apply(sql, [next_attempt(op)])
    assert (fenced.code, fenced.target) == (Code.REQUEST_RUNNING, call_id_of(taken.id))
    assert balance(sql, WALLET) == (100, 10)
    apply(sql, [end_alone(op, ChatEnd.FREE)])
    assert repeat(sql).code is Code.REQUEST_RUNNING


async def test_a_second_attempt_that_finds_no_room_leaves_the_request_to_its_call(
    sql: psycopg.Connection,
) -> None:
    op = started(sql)
    apply(sql, [final_op(Final.VOID, op.id)])
    assert codes(apply(sql, [next_attempt(op, 101)])) == [Code.SHORT]
    assert repeat(sql).code is Code.REQUEST_RUNNING
    apply(sql, [end_alone(op, ChatEnd.FREE)])
    assert repeat(sql).code is Code.DONE


async def test_a_crashed_chat_is_taken_over_only_when_its_first_lease_is_over(
    sql: psycopg.Connection,
) -> None:
    """Its worker was killed between a void and the next attempt."""
    op = started(sql)
    apply(sql, [final_op(Final.VOID, op.id)])
    assert repeat(sql).code is Code.REQUEST_RUNNING
    lease_ends(sql)
    assert repeat(sql).code is Code.DONE
    assert repeat(sql).code is Code.REQUEST_RUNNING


async def test_a_take_over_that_finds_no_room_frees_the_request_id(sql: psycopg.Connection) -> None:
    op = started(sql)
    apply(sql, [final_op(Final.VOID, op.id)])
    lease_ends(sql)
    assert codes(apply(sql, [chat(amount=101)])) == [Code.SHORT]
    assert sql.execute("SELECT count(*) FROM request WHERE operation = 'C'").fetchone() == (0,)
    assert repeat(sql).code is Code.DONE


async def test_a_chats_hold_sent_again_is_its_own(sql: psycopg.Connection) -> None:
    op = started(sql)
    assert codes(apply(sql, [op])) == [Code.ALREADY]
    apply(sql, [final_op(Final.SETTLE, op.id, 3)])
    assert codes(apply(sql, [op])) == [Code.DECIDED]


async def test_two_calls_under_one_request_id_at_once_are_one(
    url: str, sql: psycopg.Connection
) -> None:
    """The second waits for the first to commit, and finds it running."""
    first, second = chat(), chat()
    async with (
        await psycopg.AsyncConnection.connect(url) as holder,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as other,
    ):
        await holder.execute(*statement(OWNER, 1, 0, [first]), binary=True)
        waiting = asyncio.create_task(
            other.execute(*statement("other", 2, 1, [second]), binary=True)
        )
        await until(lambda: is_waiting(sql, other.info.backend_pid))
        await holder.commit()
        (found,) = outcomes([second], await (await waiting).fetchall())
    assert (found.code, found.target) == (Code.REQUEST_RUNNING, call_id_of(first.id))
    assert balance(sql, WALLET) == (100, 10)


@pytest.mark.parametrize("how", ["freed", "forgotten"])
async def test_a_repeat_that_meets_the_end_of_its_request_id_has_one_of_its_own(
    how: str, url: str, sql: psycopg.Connection
) -> None:
    """Else its call would run under none, and could be repeated and charged again."""
    op, second = started(sql), chat()
    apply(sql, [final_op(Final.VOID, op.id)])
    sql.execute("UPDATE request SET create_time = now() - interval '25 h' WHERE operation = 'C'")
    async with (
        await psycopg.AsyncConnection.connect(url) as holder,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as other,
    ):
        await holder.execute("SELECT FROM request WHERE operation = 'C' FOR UPDATE")
        waiting = asyncio.create_task(
            other.execute(*statement("other", 2, 1, [second]), binary=True)
        )
        await until(lambda: is_waiting(sql, other.info.backend_pid))
        if how == "freed":
            free = end_alone(op, ChatEnd.FREE)
            await holder.execute(*statement(OWNER, 1, 0, [free]), binary=True)
        else:
            await holder.execute("SELECT ledger_forget_requests(24, 10)")
        await holder.commit()
        with pytest.raises(psycopg.Error) as caught:
            await waiting
        assert caught.value.sqlstate == "OM001"
    assert codes(apply(sql, [second])) == [Code.DONE]
    assert repeat(sql).target == call_id_of(second.id)


def is_waiting(sql: psycopg.Connection, pid: int) -> bool:
    query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    return sql.execute(query, [pid]).fetchone() is not None


# --- forgetting ---------------------------------------------------------------------------------
def forget(sql: psycopg.Connection, limit: int = 1_000) -> int:
    row = sql.execute("SELECT ledger_forget_requests(24, %s)", [limit]).fetchone()
    assert row
    return int(row[0])


async def test_old_request_ids_of_chats_are_forgotten_with_their_answers(
    sql: psycopg.Connection,
) -> None:
    op = started(sql)
    done = chat_end(KEY, op.id, ChatEnd.DONE, b"sealed")
    apply(sql, [final_op(Final.SETTLE, op.id, 3, ends=done)])
    assert forget(sql) == 0
    sql.execute("UPDATE request SET create_time = now() - interval '25 h'")
    assert forget(sql) == 1
    assert answer_of(sql, op) is None
    assert sql.execute("SELECT count(*) FROM request").fetchone() == (1,)  # the grant's stays
    assert repeat(sql).code is Code.DONE


async def test_request_ids_are_forgotten_oldest_first_in_bounded_steps(
    sql: psycopg.Connection,
) -> None:
    calls = [new_call_id() for _ in range(5)]
    apply(
        sql,
        [
            hold_op(1, hold_id=hold_id_of(call, 1), request=chat_key(f"chat {n}"))
            for n, call in enumerate(calls)
        ],
    )
    sql.execute(
        "UPDATE request SET create_time = now() - interval '100 h'"
        " + right(request_id, 1)::integer * interval '1 h' WHERE operation = 'C'"
    )
    assert [forget(sql, 2) for _ in range(2)] == [2, 2]
    rows = sql.execute("SELECT request_id FROM request WHERE operation = 'C'").fetchall()
    assert rows == [("chat 4",)]
