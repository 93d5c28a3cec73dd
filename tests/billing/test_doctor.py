"""The doctor: silent about clean books, also under traffic, and exact about each corruption."""

import asyncio
import itertools
import random

import psycopg
import pytest
from doctor_corruptions import A_CHARGE, CORRUPTIONS, STATEMENTS
from doctor_traffic import fill, some_traffic
from ledger_rig import WALLETS, Rig, load_prices
from ledger_sql import TABLES

from omni_grpc.billing.invariants import Invariant, check
from omni_grpc.storage import Database, EmbeddedPostgres


@pytest.fixture(scope="module")
def used_books(ledger_server: EmbeddedPostgres) -> str:
    """Books with traffic, and beside them a copy of each table."""
    url = ledger_server.create_database("ledger_used", template="ledger_template")
    asyncio.run(fill(url))
    with psycopg.connect(url) as connection:
        # No lease of them ends while these tests run, however long that takes.
        connection.execute("UPDATE hold SET lease_until = lease_until + interval '1 day'")
        connection.execute("CREATE SCHEMA kept")
        for table in TABLES:
            connection.execute(f"CREATE TABLE kept.{table} AS TABLE {table}")
    return url


@pytest.fixture
def url(used_books: str) -> str:
    """The books as they were before any test corrupted them."""
    with psycopg.connect(used_books) as connection:
        connection.execute(f"TRUNCATE {', '.join(TABLES)}")
        for table in TABLES:
            connection.execute(f"INSERT INTO {table} TABLE kept.{table}")
    return used_books


async def found_in(database: Database, **settings: int) -> set[str]:
    return {str(found.invariant) for found in await check(database, prices=load_prices, **settings)}


# --- clean books --------------------------------------------------------------------------------
@pytest.mark.parametrize("slice_rows", [1, 7, 10_000])
async def test_clean_books_have_no_violation(slice_rows: int, database: Database) -> None:
    assert await check(database, prices=load_prices, slice_rows=slice_rows) == []


async def test_progress_tells_each_part_and_how_many_rows_were_read(
    database: Database, sql: psycopg.Connection
) -> None:
    told: dict[str, int] = {}
    await check(database, prices=load_prices, progress=told.__setitem__, slice_rows=50)
    tables = {
        "postings": "posting",
        "usage records": "usage_record",
        "requests": "request",
        "answers": "request_answer",
        "lots": "credit_lot",
        "snapshots": "account_snapshot",
        "payments": "payment",
    }
    for part, table in tables.items():
        assert sql.execute(f"SELECT count(*) FROM {table}").fetchone() == (told[part],)
    assert told.keys() == {*tables, "accounts", "wallets", "entries"}


async def test_running_traffic_is_no_violation_and_hides_none(
    rig: Rig, database: Database, sql: psycopg.Connection
) -> None:
    workers = [await rig.worker(markup_ppm=55_000) for _ in range(2)]
    before = _postings(sql)

    async def run(seed: int) -> None:
        chance = random.Random(seed)
        while not stopped:
            await some_traffic(workers[seed % 2], chance, 5)
            await workers[seed % 2].reaper.reap()
            sql.execute("SELECT ledger_snapshot(9223372036854775807, 10000)")

    stopped = False
    callers = [asyncio.create_task(run(seed)) for seed in range(6)]
    for slice_rows in itertools.cycle((20, 60, 10_000, 35)):
        assert await check(database, prices=load_prices, slice_rows=slice_rows) == []
        if slice_rows == 35 and _postings(sql) > before + 200:
            break
    sql.execute("UPDATE account SET entry_count = 1 WHERE kind = 3 AND id = 109")
    sql.execute(
        "UPDATE posting SET balance_after = balance_after + 1 WHERE wallet = %s AND entry = 2",
        [WALLETS[0]],
    )
    assert await found_in(database, slice_rows=30) == {"I2", "I4"}
    stopped = True
    await asyncio.gather(*callers)
    rig.books_are_clean = False


def _postings(sql: psycopg.Connection) -> int:
    row = sql.execute("SELECT count(*) FROM posting").fetchone()
    assert row
    return int(row[0])


# --- corrupted books ----------------------------------------------------------------------------
@pytest.mark.parametrize("name", STATEMENTS)
async def test_each_statement_finds_what_no_other_does(
    name: str, sql: psycopg.Connection, database: Database
) -> None:
    statements, expected = STATEMENTS[name]
    for statement in statements.split(";"):
        assert sql.execute(statement).rowcount >= 1
    found = await check(database, prices=load_prices, slice_rows=50)
    assert {f"{violation.invariant} {violation.what}" for violation in found} == expected


@pytest.mark.parametrize("name", CORRUPTIONS)
async def test_a_corruption_is_named_by_what_it_breaks(
    name: str, sql: psycopg.Connection, database: Database
) -> None:
    statements, expected = CORRUPTIONS[name]
    for statement in statements.split(";"):
        assert sql.execute(statement).rowcount >= 1
    found = await check(database, prices=load_prices, slice_rows=50)
    assert {str(violation.invariant) for violation in found} == set(expected.split())


def test_there_is_a_corruption_for_every_invariant() -> None:
    named = {name for _, expected in CORRUPTIONS.values() for name in expected.split()}
    assert named == {str(invariant) for invariant in Invariant}


async def test_a_violation_says_where_and_what(sql: psycopg.Connection, database: Database) -> None:
    sql.execute(f"UPDATE posting SET held = 7, amount = 8 WHERE id = ({A_CHARGE})")
    row = sql.execute(A_CHARGE.replace("amount > 100", "held = 7")).fetchone()
    assert row
    found = await check(database, prices=load_prices)
    above = [violation for violation in found if violation.invariant is Invariant.I6]
    assert [str(violation) for violation in above] == [
        f"I6 posting {row[0]}/0: more was charged than was held; expected at most 7, found 8"
    ]


async def test_a_thousand_faults_of_one_kind_do_not_hide_one_of_another(
    sql: psycopg.Connection, database: Database
) -> None:
    sql.execute("UPDATE usage_record SET markup_ppm = markup_ppm + 1000000")
    sql.execute(
        "INSERT INTO usage_record SELECT gen_random_uuid(), wallet, key_id, model, price_version,"
        " markup_ppm, outcome, estimated FROM usage_record, generate_series(1, 3)"
    )
    sql.execute("UPDATE request SET amount = amount + 1 WHERE request_id = 'settled hold'")
    found = await check(database, prices=load_prices)
    assert len([violation for violation in found if violation.invariant is Invariant.I9]) == 100
    assert len([violation for violation in found if violation.invariant is Invariant.I13]) == 1
