"""Windows of budgets: which is current, by the database's clock alone, and what counts where."""

import asyncio
import itertools
import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from budget_rig import NOW, budget, change, limit, span, window, windows
from ledger_rig import WALLETS, final_op, hold_op, refund_op, transfer_op
from ledger_sql import apply, balance, codes

from omni_grpc.billing.operations import Code, Final, HoldOp, Leg
from omni_grpc.core.tenancy import BudgetUnit

pytestmark = pytest.mark.usefixtures("clean_books")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def grant(sql: psycopg.Connection, amount: int = 1_000) -> None:
    apply(sql, [transfer_op(amount)])


def budgeted(amount: int, *ids: int, least: int | None = None) -> HoldOp:
    low = amount if least is None else least
    return hold_op(amount, least=low, legs=[Leg(each, low, amount) for each in ids])


# --- which window -----------------------------------------------------------------------------
SPANS = (
    ("day", "UTC", "2024-02-29 23:59:59.999999", "2024-02-29 00:00", "2024-03-01 00:00"),
    ("day", "UTC", "2024-03-01 00:00", "2024-03-01 00:00", "2024-03-02 00:00"),
    ("day", "Europe/Berlin", "2024-03-31 12:00", "2024-03-30 23:00", "2024-03-31 22:00"),
    ("day", "Europe/Berlin", "2024-10-27 12:00", "2024-10-26 22:00", "2024-10-27 23:00"),
    ("day", "Asia/Kathmandu", "2024-05-05 18:15", "2024-05-05 18:15", "2024-05-06 18:15"),
    # At midnight the clock goes on to 1:00; it goes back to midnight, over the day's beginning.
    ("day", "America/Sao_Paulo", "2018-11-04 03:00", "2018-11-04 03:00", "2018-11-05 02:00"),
    ("day", "America/Havana", "2024-11-03 04:30", "2024-11-02 04:00", "2024-11-03 05:00"),
    ("day", "America/Havana", "2024-11-03 05:30", "2024-11-03 05:00", "2024-11-04 05:00"),
    ("week", "UTC", "2024-12-31 10:00", "2024-12-30 00:00", "2025-01-06 00:00"),
    ("week", "America/New_York", "2025-01-06 04:59", "2024-12-30 05:00", "2025-01-06 05:00"),
    ("month", "UTC", "2024-02-10 00:00", "2024-02-01 00:00", "2024-03-01 00:00"),
    ("month", "Pacific/Auckland", "2024-12-31 11:00", "2024-12-31 11:00", "2025-01-31 11:00"),
)  # fmt: skip
"""Period, zone, moment, and the begin and end of its window, all in UTC."""


def test_a_window_begins_and_ends_where_its_time_zone_says(sql: psycopg.Connection) -> None:
    for period, zone, now, start, end in SPANS:
        found = window(sql, budget(sql, period, zone=zone), utc(now))
        assert span(sql, found) == (utc(start), utc(end)), (period, zone, now)


def test_a_budget_without_end_has_one_window(sql: psycopg.Connection) -> None:
    total = budget(sql, "total")
    assert window(sql, total) == window(sql, total, NOW + timedelta(days=40_000))


def test_no_moment_is_in_two_windows_or_in_none(sql: psycopg.Connection) -> None:
    for zone in ("America/Havana", "Africa/Cairo", "Asia/Beirut", "Pacific/Apia"):
        daily = budget(sql, zone=zone)
        moment, seen = utc("2011-01-01 00:17"), []
        while moment < utc("2012-01-05 00:00"):
            seen.append((moment, *span(sql, window(sql, daily, moment))))
            moment += timedelta(minutes=1_117)
        assert all(start <= moment < end for moment, start, end in seen)
        spans = sorted({(start, end) for _, start, end in seen})
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def test_a_zone_whose_rules_change_makes_no_window_that_overlaps(sql: psycopg.Connection) -> None:
    daily = budget(sql)
    first = window(sql, daily)
    sql.execute("UPDATE budget SET time_zone = 'Asia/Tokyo' WHERE id = %s", [daily])
    second = window(sql, daily, span(sql, first)[1])
    assert span(sql, second) == (utc("2200-06-16 00:00"), utc("2200-06-16 15:00"))
    earlier = window(sql, daily, utc("2200-06-14 20:00"))
    assert span(sql, earlier) == (utc("2200-06-14 15:00"), utc("2200-06-15 00:00"))


def test_each_hold_keeps_its_budgets_in_their_order(sql: psycopg.Connection) -> None:
    a, b, c = budget(sql), budget(sql, "week"), budget(sql, "total")
    found = windows(sql, [c, a], None, [b], [a, b, c])
    x, y, z = (window(sql, each) for each in (a, b, c))
    assert found == [[z, x], None, [y], [x, y, z]]


def test_an_unknown_budget_is_an_error_and_no_budget_without_a_limit(
    sql: psycopg.Connection,
) -> None:
    with pytest.raises(psycopg.Error, match="unknown budget") as caught:
        windows(sql, [budget(sql), 9_999])
    assert caught.value.sqlstate == "OM002"


# --- made once, with the limit of the moment ----------------------------------------------------
async def test_a_window_that_many_need_at_once_is_made_once(
    sql: psycopg.Connection, url: str
) -> None:
    ids = [budget(sql) for _ in range(3)]
    gate = threading.Barrier(6)

    def look(order: list[int]) -> list[list[int] | None]:
        with psycopg.connect(url, autocommit=True) as connection:
            gate.wait()
            return windows(connection, order)

    orders = [list(order) for order in itertools.permutations(ids)]
    found = await asyncio.gather(*[asyncio.to_thread(look, order) for order in orders])
    (expected,) = windows(sql, ids)
    assert expected
    known = dict(zip(ids, expected, strict=True))
    assert found == [[[known[each] for each in order]] for order in orders]
    row = sql.execute("SELECT count(*) FROM budget_window WHERE budget_id = ANY (%s)", [ids])
    assert row.fetchone() == (3,)


async def _waits(sql: psycopg.Connection) -> None:
    """Until a session of this database waits for a lock."""
    async with asyncio.timeout(10):
        while not sql.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock'"
        ).fetchone():
            await asyncio.sleep(0.005)


async def test_a_limit_that_changes_while_its_window_is_made_is_the_windows_limit(
    sql: psycopg.Connection, url: str
) -> None:
    daily = budget(sql, amount=100)

    def change_it() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            change(connection, daily, 7)

    with psycopg.connect(url) as maker:
        found = window(maker, daily)
        changing = asyncio.create_task(asyncio.to_thread(change_it))
        await _waits(sql)
        maker.commit()
    await changing
    assert limit(sql, found) == 7


async def test_a_window_that_is_made_while_its_limit_changes_has_the_new_one(
    sql: psycopg.Connection, url: str
) -> None:
    daily = budget(sql, amount=100)

    def make_it() -> int:
        with psycopg.connect(url, autocommit=True) as connection:
            return window(connection, daily)

    with psycopg.connect(url) as changer:
        change(changer, daily, 7)
        changer.execute("UPDATE budget SET amount = 7 WHERE id = %s", [daily])
        making = asyncio.create_task(asyncio.to_thread(make_it))
        await _waits(sql)
        changer.commit()
    assert limit(sql, await making) == 7


def test_a_changed_limit_holds_at_once_also_below_what_is_spent(sql: psycopg.Connection) -> None:
    grant(sql)
    daily = budget(sql, amount=10)
    first = budgeted(8, daily)
    assert codes(apply(sql, [first, budgeted(8, daily)], now=NOW)) == [Code.DONE, Code.SHORT]
    apply(sql, [final_op(Final.SETTLE, first.id, 8)])
    change(sql, daily, 4)
    (short,) = apply(sql, [budgeted(1, daily)], now=NOW)
    assert (short.code, short.short_account, short.posted) == (Code.SHORT, window(sql, daily), -8)
    change(sql, daily, 9)
    assert codes(apply(sql, [budgeted(1, daily), budgeted(1, daily)], now=NOW)) == [
        Code.DONE,
        Code.SHORT,
    ]


def test_a_deleted_budget_limits_nothing_in_old_windows_and_new_ones(
    sql: psycopg.Connection,
) -> None:
    grant(sql)
    daily = budget(sql, amount=1)
    assert codes(apply(sql, [budgeted(8, daily)], now=NOW)) == [Code.SHORT]
    with sql.transaction():
        sql.execute("UPDATE budget SET delete_time = now() WHERE id = %s", [daily])
        sql.execute("SELECT budget_limit_changed(%s)", [daily])
    for now in (NOW, NOW + timedelta(days=1)):
        assert codes(apply(sql, [budgeted(8, daily)], now=now)) == [Code.DONE]


# --- what counts where --------------------------------------------------------------------------
def test_each_window_has_room_for_its_limit_and_a_hold_stays_in_its_own(
    sql: psycopg.Connection,
) -> None:
    grant(sql)
    daily = budget(sql, amount=20)
    first, last = NOW.replace(hour=23, minute=59), NOW + timedelta(days=1)
    held = [budgeted(10, daily) for _ in range(3)]
    assert codes(apply(sql, held, now=first)) == [Code.DONE, Code.DONE, Code.SHORT]
    new = [budgeted(10, daily) for _ in range(3)]
    assert codes(apply(sql, new, now=last)) == [Code.DONE, Code.DONE, Code.SHORT]
    # Yesterday's calls end today; what they leave is no room of today's.
    ends = [final_op(Final.SETTLE, held[0].id, 4), final_op(Final.VOID, held[1].id)]
    apply(sql, ends, now=last)
    assert codes(apply(sql, [budgeted(1, daily)], now=last)) == [Code.SHORT]
    assert balance(sql, window(sql, daily, first)) == (-4, 0)
    assert balance(sql, window(sql, daily, last)) == (0, 20)
    apply(sql, [refund_op(4, held[0].id)], now=last)
    assert balance(sql, window(sql, daily, first)) == (0, 0)
    assert balance(sql, WALLETS[0]) == (1_000, 20)


def test_a_hold_that_is_sent_again_after_midnight_is_the_same_hold(
    sql: psycopg.Connection,
) -> None:
    grant(sql)
    daily = budget(sql, amount=10)
    op = budgeted(10, daily)
    assert codes(apply(sql, [op], now=NOW)) == [Code.DONE]
    tomorrow = NOW + timedelta(days=1)
    assert codes(apply(sql, [op], now=tomorrow)) == [Code.ALREADY]
    assert balance(sql, window(sql, daily, tomorrow)) == (0, 0)


def test_dollars_and_tokens_stand_in_one_hold_each_in_its_unit(sql: psycopg.Connection) -> None:
    grant(sql)
    tokens, dollars = budget(sql, unit="tokens", amount=70), budget(sql, "week", amount=500)
    legs = [Leg(tokens, 30, 60, BudgetUnit.TOKENS), Leg(dollars, 200, 400)]
    first, second = hold_op(400, least=200, legs=legs), hold_op(400, least=200, legs=legs)
    found = apply(sql, [first, second], now=NOW)
    assert [(one.code, one.amount) for one in found] == [(Code.DONE, 400), (Code.SHORT, None)]
    assert found[1].short_account == window(sql, tokens)
    apply(sql, [final_op(Final.SETTLE, first.id, 100, leg_costs=[25])])
    assert balance(sql, window(sql, tokens)) == (-25, 0)
    assert balance(sql, window(sql, dollars)) == (-100, 0)
    # 45 tokens are left: of the range from 30 to 60 a half, and so of the dollars.
    (cut,) = apply(sql, [second], now=NOW)
    assert (cut.code, cut.amount) == (Code.DONE, 300)
    assert balance(sql, window(sql, tokens)) == (-25, 45)
    assert balance(sql, window(sql, dollars)) == (-100, 300)
