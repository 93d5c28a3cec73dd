"""Usage is counted by the hour, each event once: late, corrected, refunded, and in any order."""

import contextlib
import threading

import psycopg
import pytest
from ledger_rig import WALLETS, final_op, hold_op, refund_op
from usage_rig import (
    Traffic,
    added_up,
    another,
    apply,
    by_day,
    give_credits,
    paid_call,
    read,
    roll,
    roll_twice,
    rolled,
    rolled_days,
    routed,
    step,
    truth,
    write_row,
)

from omni_grpc.billing.operations import Final
from omni_grpc.core.ids import hold_id_of, new_call_id

pytestmark = pytest.mark.usefixtures("clean_books")

MINE, THEIRS = WALLETS[:2]


@pytest.fixture(autouse=True)
def funded(sql: psycopg.Connection) -> None:
    give_credits(sql)
    roll_twice(sql)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_between_two_looks_is_counted_once(
    sql: psycopg.Connection, seed: int
) -> None:
    traffic = Traffic(sql, seed)
    for number in range(80):
        traffic.act()
        if traffic.random.random() < 0.3:
            step(sql, limit=traffic.random.choice((1, 2, 5_000)))
        if number % 20 == 0:
            assert read(sql) == truth(sql)
    traffic.finish()
    assert read(sql) == truth(sql)
    roll(sql)
    assert rolled(sql) == truth(sql) == read(sql)
    assert rolled_days(sql) == by_day(truth(sql))
    assert len(traffic.kinds) == 7


def test_a_rebuild_beside_traffic_gives_what_was_counted_step_by_step(
    sql: psycopg.Connection,
) -> None:
    traffic = Traffic(sql, 100)
    for _ in range(40):
        traffic.act()
        if traffic.random.random() < 0.2:
            step(sql)
    sql.execute("SELECT usage_restart()")
    for _ in range(40):
        traffic.act()
        step(sql, traffic.random.choice((1, 2)), limit=3)
        assert read(sql) == truth(sql)
    traffic.finish()
    roll_twice(sql)
    assert sql.execute("SELECT generation FROM usage_state").fetchall() == [(2,)]
    assert rolled(sql) == truth(sql) == read(sql)
    sql.execute("SELECT usage_sweep(100000)")
    assert sql.execute("SELECT DISTINCT generation FROM usage_sum").fetchall() == [(2,)]


def test_a_piece_of_an_hour_is_added_up_as_a_whole_one_is_counted(sql: psycopg.Connection) -> None:
    traffic = Traffic(sql, 3)
    while len(traffic.kinds) < 7:
        traffic.act()
        if traffic.random.random() < 0.3:
            step(sql)
    for _ in range(20):
        traffic.act()
    assert added_up(sql) == truth(sql)


def test_looking_for_what_to_drop_reads_no_table(sql: psycopg.Connection) -> None:
    """Every worker looks each second."""
    paid_call(sql)
    roll(sql)
    with sql.transaction():
        before = _whole_reads(sql)
        sql.execute("SELECT usage_sweep(10)")
        assert _whole_reads(sql) == before


def _whole_reads(sql: psycopg.Connection) -> list[tuple[object, ...]]:
    """By this session in this transaction: what others did may be told at any time."""
    return sql.execute(
        "SELECT relname, seq_scan FROM pg_stat_xact_user_tables"
        " WHERE relname IN ('usage_sum', 'usage_estimate') ORDER BY 1"
    ).fetchall()


def test_rows_of_before_the_migration_are_counted_too(sql: psycopg.Connection) -> None:
    hold_id = paid_call(sql)
    write_row(sql, routed(hold_id, MINE))
    sql.execute("UPDATE posting SET xact = NULL")
    sql.execute("UPDATE routed_call SET xact = NULL")
    sql.execute("SELECT usage_restart()")
    roll_twice(sql)
    apply(sql, refund_op(5, hold_id))
    assert read(sql) == truth(sql)
    roll(sql)
    assert rolled(sql) == truth(sql)


def test_a_transaction_that_commits_after_later_ones_were_counted_is_not_missed(
    sql: psycopg.Connection, url: str
) -> None:
    with another(url) as slow:
        paid_call(slow, 11, THEIRS, lane=1)
        for _ in range(3):
            paid_call(sql, 7, MINE)
            roll(sql)
        assert read(sql) == truth(sql)
        slow.commit()
    assert read(sql) == truth(sql)
    roll(sql)
    assert rolled(sql) == truth(sql)
    assert sum(sums["cost"] for sums in rolled(sql).values()) == 32


def test_a_transaction_that_is_undone_is_not_counted(sql: psycopg.Connection, url: str) -> None:
    with another(url) as slow:
        paid_call(slow, 11, THEIRS, lane=1)
        paid_call(sql, 7, MINE)
        roll(sql)
        slow.rollback()
    roll(sql)
    assert rolled(sql) == truth(sql)
    assert sum(sums["cost"] for sums in rolled(sql).values()) == 7


def test_a_step_that_is_killed_counts_nothing_and_the_next_one_counts_all(
    sql: psycopg.Connection, url: str
) -> None:
    for _ in range(5):
        paid_call(sql)
    with contextlib.suppress(psycopg.OperationalError), another(url) as killed:
        assert step(killed) == 0  # the last step: nothing is left
        assert step(sql) is None  # meanwhile nobody else counts
        assert rolled(sql) == {}
        sql.execute("SELECT pg_terminate_backend(%s)", [killed.info.backend_pid])
    while step(sql) is None:
        pass
    assert rolled(sql) == truth(sql)


def test_two_replicas_that_count_at_once_count_once(sql: psycopg.Connection, url: str) -> None:
    traffic = Traffic(sql, 7)
    stop = threading.Event()
    failures: list[Exception] = []

    def count() -> None:
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                while not stop.is_set():
                    step(connection, limit=2)
        except psycopg.Error as error:
            failures.append(error)

    counting = [threading.Thread(target=count) for _ in range(2)]
    for thread in counting:
        thread.start()
    try:
        for number in range(50):
            traffic.act()
            if number % 10 == 0:
                assert read(sql) == truth(sql)
    finally:
        stop.set()
        for thread in counting:
            thread.join(20)
    assert not failures
    roll(sql)
    assert rolled(sql) == truth(sql)


def test_a_call_row_that_comes_after_its_attempts_moves_them_to_its_task(
    sql: psycopg.Connection,
) -> None:
    hold_id = paid_call(sql)
    roll(sql)
    assert [key[4] for key in rolled(sql)] == [""]
    write_row(sql, routed(hold_id, MINE))
    assert [key[4] for key in read(sql)] == ["coding"]
    roll(sql)
    found = rolled(sql)
    assert [key[4] for key in found] == ["coding"]
    assert found == truth(sql)


def test_a_correction_between_a_look_and_its_count_is_counted_once(
    sql: psycopg.Connection, url: str
) -> None:
    hold_id = hold_id_of(new_call_id(), 1)
    apply(sql, hold_op(40, hold_id=hold_id))
    apply(sql, final_op(Final.SETTLE, hold_id, 10, is_estimate=True))
    with another(url) as slow:
        slow.execute("SELECT pg_current_xact_id()")  # an old transaction keeps the horizon back
        apply(sql, final_op(Final.SETTLE, hold_id, 25))
        roll(sql)  # the correction is seen in the usage record, but is not over
        assert read(sql) == truth(sql)
        slow.commit()
    roll(sql)
    assert rolled(sql) == truth(sql)


def test_a_database_that_was_restored_from_a_dump_is_counted_anew(sql: psycopg.Connection) -> None:
    """A restored server counts its transactions from 1: all that it has looks as if from later."""
    write_row(sql, routed(paid_call(sql), MINE))
    roll(sql)
    sql.execute("UPDATE posting SET xact = xact + 1000000")
    sql.execute("UPDATE routed_call SET xact = xact + 1000000")
    sql.execute("UPDATE usage_state SET watermark = watermark + 1000000")
    paid_call(sql, 9)
    assert step(sql) == -1
    sql.execute("SELECT usage_restart()")
    paid_call(sql, 8)
    assert step(sql) in (-1, 0)
    roll_twice(sql)
    assert rolled(sql) == truth(sql) == read(sql)
    paid_call(sql, 5)
    assert read(sql) == truth(sql)
    roll(sql)
    assert rolled(sql) == truth(sql)


def test_counts_at_the_edge_of_what_the_books_hold_stop_nothing(sql: psycopg.Connection) -> None:
    for _ in range(3):
        hold_id = paid_call(sql)
        sql.execute("UPDATE usage_record SET prompt = %s WHERE hold_id = %s", [2**63 - 1, hold_id])
    roll(sql)
    (sums,) = rolled(sql).values()
    assert sums["prompt"] == 3 * 10**12
    sql.execute("UPDATE usage_record SET prompt = 30")  # as their charges say
