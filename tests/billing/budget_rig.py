"""Budgets of organisation 1, made and looked at in SQL."""

import itertools
from datetime import UTC, datetime
from typing import Any

import psycopg

NOW = datetime(2200, 6, 15, 12, tzinfo=UTC)
"""A moment that no window of the database's own time is near."""

_slugs = itertools.count()


def budget(
    sql: psycopg.Connection, period: str = "day", *, amount: int = 100, zone: str = "UTC",
    unit: str = "nanousd",
) -> int:  # fmt: skip
    row = sql.execute(
        "INSERT INTO budget"
        " (org_id, subject_kind, subject_id, slug, unit, amount, period, time_zone)"
        " VALUES (1, 'o', 1, %s, %s, %s, %s, %s) RETURNING id",
        [f"budget-{next(_slugs)}", unit, amount, period, zone],
    ).fetchone()
    assert row
    return int(row[0])


def windows(
    sql: psycopg.Connection, *holds: list[int] | None, now: datetime = NOW
) -> list[list[int] | None]:
    """The accounts of the current windows of each hold's budgets."""
    asked = [None if ids is None else "{" + ",".join(map(str, ids)) + "}" for ids in holds]
    row = sql.execute("SELECT ledger_windows(%s::text[], %s)", [asked, now]).fetchone()
    assert row
    return [None if text is None else [int(x) for x in text[1:-1].split(",")] for text in row[0]]


def window(sql: psycopg.Connection, of: int, now: datetime = NOW) -> int:
    (found,) = windows(sql, [of], now=now)
    assert found
    return found[0]


def span(sql: psycopg.Connection, account: int) -> tuple[Any, Any]:
    row = sql.execute(
        "SELECT start_time, end_time FROM budget_window WHERE account_id = %s", [account]
    ).fetchone()
    assert row
    return row


def limit(sql: psycopg.Connection, account: int) -> int | None:
    row = sql.execute("SELECT debit_limit FROM account WHERE id = %s", [account]).fetchone()
    assert row
    found: int | None = row[0]
    return found


def change(sql: psycopg.Connection, of: int, amount: int) -> None:
    with sql.transaction():
        sql.execute("UPDATE budget SET amount = %s WHERE id = %s", [amount, of])
        sql.execute("SELECT budget_limit_changed(%s)", [of])


def used(sql: psycopg.Connection, of: int) -> tuple[int, int]:
    """What is spent of a budget in the window of the moment, and what is held of it."""
    row = sql.execute(
        "SELECT debits_posted - credits_posted, debits_pending FROM account"
        " WHERE id = (SELECT account_id FROM budget_window WHERE budget_id = %s"
        "             AND clock_timestamp() BETWEEN start_time AND end_time)",
        [of],
    ).fetchone()
    assert row
    return row


def organisation(sql: psycopg.Connection) -> None:
    """What names organisation 1, and a webhook that is told everything of it."""
    sql.execute(
        "INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE"
        " VALUES (1, 'acme', '', 1000)"
    )
    sql.execute(
        "INSERT INTO webhook (org_id, slug, url, sealed_secret)"
        " VALUES (1, 'hook', 'https://hooks.invalid', '')"
    )
