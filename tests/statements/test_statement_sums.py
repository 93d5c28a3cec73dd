"""Statements of a real ledger: what they say adds up with every posting, in every month."""

import csv
import io
import itertools
import random
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from ledger_rig import WALLETS, refund_op, transfer_op
from usage_rig import Traffic, apply, give_credits, paid_call

from omni_grpc.billing.statements import Month, Statement, Statements, StatementStore, parse_month
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import AccountId
from omni_grpc.storage import Database

WALLET = AccountId(WALLETS[0])


def month_of(moment: datetime) -> Month:
    return parse_month(f"{moment:%Y-%m}", field="month")


NOW = month_of(datetime.now(UTC))


def before(month: Month) -> Month:
    return month_of(month.start - timedelta(days=1))


async def of(database: Database, month: Month = NOW, *, slice_entries: int = 7) -> Statement:
    store = StatementStore(database)
    return await Statements(store, slice_entries=slice_entries).of(WALLET, month)


def rows_of(statement: Statement) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(statement.csv, newline="")))


def check(statement: Statement) -> None:
    """Totals and rows both lead from the opening to the closing balance."""
    change = statement.granted + statement.refunded - statement.charged - statement.expired
    assert statement.opening + change == statement.closing
    rows = rows_of(statement)
    assert sum(int(row["amount_nanousd"]) for row in rows) == change
    charges = [row for row in rows if row["kind"] == "charge"]
    assert -sum(int(row["amount_nanousd"]) for row in charges) == statement.charged


def spread(sql: psycopg.Connection, start: datetime, step: timedelta) -> None:
    """Entries as if they had been booked so far apart, in their order."""
    sql.execute(
        "UPDATE posting SET create_time = %s::timestamptz + entry * %s::interval"
        " WHERE wallet = %s AND entry IS NOT NULL",
        (start, step, WALLET),
    )


@pytest.mark.parametrize("seed", range(3))
async def test_every_kind_of_traffic_adds_up_over_months(
    database: Database, sql: psycopg.Connection, seed: int
) -> None:
    give_credits(sql)
    traffic = Traffic(sql, seed)
    for _ in range(120):
        traffic.act()
    start = NOW.start - timedelta(days=75)
    spread(sql, start, timedelta(days=random.Random(seed).uniform(0.5, 1)))
    months = [before(before(before(NOW))), before(before(NOW)), before(NOW), NOW]
    found = [await of(database, month) for month in months]
    for earlier, later in itertools.pairwise(found):
        assert earlier.closing == later.opening
    for month, statement in zip(months, found, strict=True):
        check(statement)
        for kind, amount in (
            ("S", statement.charged),
            ("R", statement.refunded),
            ("G", statement.granted),
        ):
            held = sql.execute(
                "SELECT coalesce(sum(amount), 0) FROM posting WHERE wallet = %s AND kind = %s"
                " AND create_time >= %s AND create_time < %s",
                (WALLET, kind, month.start, month.end),
            ).fetchone()
            assert held == (amount,)
    balance = sql.execute(
        "SELECT credits_posted - debits_posted FROM account WHERE id = %s", (WALLET,)
    ).fetchone()
    assert found[0].opening == 0
    assert balance is not None
    later = sql.execute(
        "SELECT count(*) FROM posting WHERE wallet = %s AND create_time >= %s", (WALLET, NOW.end)
    ).fetchone()
    assert later != (0,) or balance == (found[-1].closing,)


async def test_charges_are_a_row_a_day_model_and_key_and_the_rest_a_row_an_entry(
    database: Database, sql: psycopg.Connection
) -> None:
    sql.execute(
        "INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE"
        " VALUES (9000, 'acme', '', 1)"
    )
    sql.execute(
        "INSERT INTO api_key (id, org_id, prefix, secret_hash, display_name, scopes, create_by)"
        " OVERRIDING SYSTEM VALUE"
        " VALUES (7, 9000, '0123456789ab', sha256(''), '', '{inference}', 'tests')"
    )
    apply(sql, transfer_op(1_000, wallet=WALLET))
    hold_id = paid_call(sql, 30)
    paid_call(sql, 12)
    apply(sql, refund_op(5, hold_id, wallet=WALLET))
    statement = await of(database)
    check(statement)
    grant, refund, charges = sorted(rows_of(statement), key=lambda row: row["kind"] == "charge")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert (grant["kind"], grant["amount_nanousd"], grant["entry"]) == ("grant", "1000", "1")
    assert (refund["kind"], refund["amount_nanousd"], refund["entry"]) == ("refund", "5", "4")
    assert (charges["date"], charges["count"]) == (today, "2")
    assert (charges["amount_nanousd"], charges["amount_usd"]) == ("-42", "-0.000000042")
    assert charges["key"] == "orgs/acme/apiKeys/0123456789ab"
    assert charges["model"]


async def test_an_account_without_entries_has_a_statement_of_nothing(database: Database) -> None:
    statement = await of(database)
    assert (statement.opening, statement.closing, statement.rows) == (0, 0, ())
    assert not statement.final
    assert (await of(database, before(NOW))).final


async def test_an_entry_at_midnight_is_of_the_day_that_begins(
    database: Database, sql: psycopg.Connection
) -> None:
    apply(sql, transfer_op(1, wallet=WALLET), transfer_op(2, wallet=WALLET))
    sql.execute(
        "UPDATE posting SET create_time = %s::timestamptz - (2 - entry) * interval '1 microsecond'"
        " WHERE wallet = %s",
        (NOW.start, WALLET),
    )
    assert (await of(database, before(NOW))).granted == 1
    this = await of(database)
    assert (this.opening, this.granted, this.closing) == (1, 2, 3)


async def test_entries_of_one_batch_out_of_order_at_midnight_are_each_in_one_month(
    database: Database, sql: psycopg.Connection
) -> None:
    apply(sql, *(transfer_op(10**n, wallet=WALLET) for n in range(6)))
    for position, after_us in ((1, -2), (2, -1), (3, 1), (4, -1), (5, 2), (6, 3)):
        sql.execute(
            "UPDATE posting SET create_time = %s::timestamptz + %s * interval '1 microsecond'"
            " WHERE wallet = %s AND entry = %s",
            (NOW.start, after_us, WALLET, position),
        )
    earlier, this = await of(database, before(NOW)), await of(database)
    assert (earlier.closing, this.opening) == (1_111, 1_111)
    assert this.closing == 111_111
    check(earlier)
    check(this)
    assert {row["date"] for row in rows_of(this)} == {f"{NOW.start:%Y-%m-%d}"}
    assert max(row["date"] for row in rows_of(earlier)) < f"{NOW.start:%Y-%m-%d}"


async def test_months_that_have_not_begun_have_no_statement(database: Database) -> None:
    with pytest.raises(FieldInvalid, match="has not begun"):
        await of(database, month_of(NOW.end))


async def test_other_accounts_are_not_in_it(database: Database, sql: psycopg.Connection) -> None:
    give_credits(sql, 1_000)
    paid_call(sql, 30, WALLETS[1])
    statement = await of(database)
    assert (statement.granted, statement.charged) == (1_000, 0)
