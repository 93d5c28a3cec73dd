"""`python bench/usage.py`: how fast reports of usage are, beside how many rows.

Loads N settled calls of three months, 100 accounts, 4 keys an account, 8 models and 7 tasks into a
PostgreSQL of its own; the largest account has a fifth of them. Counts them all as a first start
after an upgrade does, then some more as a running worker does, and asks for the reports that people
ask for, of the largest account and of one in the middle. Prints a table, or JSON.
"""

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import structlog
from machine import describe
from rich.console import Console
from rich.table import Table

from omni_grpc.billing.usage import (
    Bucket,
    CallFilter,
    CallQuery,
    Dimension,
    UsageQuery,
    UsageReports,
    UsageRoller,
    UsageStore,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.ids import AccountId
from omni_grpc.storage import Database, EmbeddedPostgres, migrate

ROWS_DEFAULT: Final = 1_000_000
CHUNK_ROWS: Final = 250_000
ACCOUNTS: Final = 100
FIRST_ACCOUNT: Final = 1_000
LARGEST, MIDDLE = FIRST_ACCOUNT, FIRST_ACCOUNT + 30
DAYS: Final = 92
LATER_ROWS: Final = 20_000
LATER_BATCH: Final = 100
RUNS: Final = 30
PAGE_SIZE: Final = 100

# A call: its id is of its time, as the service makes it. `r` draws whose it is and of what.
_CHUNK: Final = """
WITH x AS MATERIALIZED (
  SELECT i, (lpad(to_hex((%(start)s + i * %(step)s)::bigint), 12, '0') || '70008' ||
             lpad(to_hex(i), 14, '0'))::text AS stem,
         (%(first)s + floor(%(accounts)s * power(random(), 3)))::bigint AS wallet,
         floor(random() * 4)::int AS key, floor(8 * power(random(), 2))::int AS model,
         floor(7 * power(random(), 2))::int AS task, floor(random() * 4000)::bigint AS prompt,
         floor(random() * 800)::bigint AS completion, random() < 0.03 AS failed
    FROM generate_series(%(low)s::bigint, %(high)s::bigint) i),
used AS (
  INSERT INTO usage_record (hold_id, wallet, key_id, model, price_version, markup_ppm, outcome,
                            estimated, prompt, cached_read, completion, provider_ref)
  SELECT (stem || '1')::uuid, wallet, wallet * 10 + key, 'provider' || model %% 3 || '/model-' ||
         model, 1, 50000, CASE WHEN failed THEN 'F'::"char" ELSE 'A' END, false,
         CASE WHEN NOT failed THEN prompt END, CASE WHEN NOT failed THEN prompt / 4 END,
         CASE WHEN NOT failed THEN completion END, 'chatcmpl-' || stem
    FROM x),
routed AS (
  INSERT INTO routed_call (call_id, wallet, key_id, asked, model, task, complexity, policy,
      experiment, arm, premium_model, premium_version, premium_nanousd, saved_nanousd,
      cost_nanousd, duration_ms, reason, attempt_count, end_user, xact)
  SELECT (stem || '0')::uuid, wallet, wallet * 10 + key, 'omni/auto', 'provider' || model %% 3 ||
         '/model-' || model, 'task-' || task, 'medium', '', '', '', 'provider0/model-0', 1,
         prompt * 3000, prompt * 2000, prompt * 1000, 900, 'OK', 1, '', %(xact)s
    FROM x WHERE NOT failed)
INSERT INTO posting (id, kind, origin, decider, wallet, amount, held, other_account, entry,
                     balance_after, xact)
SELECT (stem || '1')::uuid, CASE WHEN failed THEN 'V'::"char" ELSE 'S' END, 'r', 'o', wallet,
       CASE WHEN failed THEN 0 ELSE prompt * 1000 + 1 END, prompt * 2000 + 1,
       CASE WHEN NOT failed THEN 100 END, CASE WHEN NOT failed THEN i END,
       CASE WHEN NOT failed THEN 0 END, %(xact)s
  FROM x
"""


class Loaded:
    """A database with a past of so many calls, up to now."""

    def __init__(self, url: str, rows: int) -> None:
        self.url = url
        self.rows = rows
        end = datetime.now(UTC) - timedelta(hours=1)
        self._start_ms = int((end - timedelta(days=DAYS)).timestamp() * 1000)
        self._step_ms = DAYS * 86_400_000 / rows

    def load(self) -> float:
        """Writes the past; how many seconds that took. Its rows are as from before 0010."""
        began = time.monotonic()
        with psycopg.connect(self.url, autocommit=True) as sql:
            for low in range(0, self.rows, CHUNK_ROWS):
                self._write(sql, low, min(low + CHUNK_ROWS, self.rows) - 1, None)
            sql.execute("VACUUM ANALYZE")
        return time.monotonic() - began

    def load_later(self) -> None:
        """Some calls more, as batches of the ledger's lane write them."""
        with psycopg.connect(self.url, autocommit=True) as sql:
            for low in range(self.rows, self.rows + LATER_ROWS, LATER_BATCH):
                row = sql.execute("SELECT usage_xact() + 1").fetchone()
                assert row is not None
                self._write(sql, low, low + LATER_BATCH - 1, row[0])

    def _write(self, sql: psycopg.Connection, low: int, high: int, xact: int | None) -> None:
        given = {
            "start": self._start_ms,
            "step": self._step_ms,
            "first": FIRST_ACCOUNT,
            "accounts": ACCOUNTS,
            "low": low,
            "high": high,
            "xact": xact,
        }
        sql.execute(_CHUNK, given)

    def sizes(self) -> dict[str, int]:
        """Rows of the sums, and bytes a call of each table with its indexes."""
        found = {}
        with psycopg.connect(self.url) as sql:
            for table in ("posting", "usage_record", "routed_call", "usage_sum"):
                row = sql.execute("SELECT pg_total_relation_size(%s)", [table]).fetchone()
                assert row is not None
                found[f"{table}, bytes a call"] = row[0] // self.rows
            row = sql.execute("SELECT count(*) FROM usage_sum").fetchone()
            assert row is not None
            found["usage_sum, rows"] = row[0]
        return found


async def timed(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """The median and the 99th percentile of some runs, in milliseconds."""
    await work()
    took = []
    for _ in range(RUNS):
        began = time.perf_counter()
        await work()
        took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took), sorted(took)[min(RUNS - 1, int(RUNS * 0.99))]


async def measure(loaded: Loaded, tell: Callable[[str], None]) -> dict[str, Any]:
    """Counts, then asks."""
    figures: dict[str, Any] = {}
    async with Database(loaded.url, application_name="bench") as database:
        store = UsageStore(database)
        roller, reports = UsageRoller(store), UsageReports(store, SystemClock())
        tell("counting the past")
        await roller.roll()  # notes what runs
        began = time.monotonic()
        await roller.roll()
        figures["first count, calls/s"] = round(loaded.rows / (time.monotonic() - began))
        tell("counting on")
        await asyncio.to_thread(loaded.load_later)
        began = time.monotonic()
        count = await roller.roll()
        figures["counting on, calls/s"] = round(count / (time.monotonic() - began))
        with psycopg.connect(loaded.url, autocommit=True) as sql:
            sql.execute("VACUUM ANALYZE usage_sum")
        tell("asking")
        reads: dict[str, tuple[float, float]] = {}
        for account, size in ((LARGEST, "largest"), (MIDDLE, "middle")):
            for name, work in _questions(reports, AccountId(account)).items():
                reads[f"{name}, {size} account"] = await timed(work)
        figures["reads, ms (p50, p99)"] = reads
    figures |= loaded.sizes()
    return figures


def _questions(
    reports: UsageReports, account: AccountId
) -> dict[str, Callable[[], Awaitable[object]]]:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)

    def sums(
        days: int, bucket: Bucket, *by: Dimension, zone: str = "UTC"
    ) -> Callable[[], Awaitable[object]]:
        query = UsageQuery(
            account_id=account,
            start=end - timedelta(days=days),
            end=end,
            bucket=bucket,
            dimensions=frozenset(by),
            time_zone=zone,
        )
        return lambda: reports.summarize(query, None, PAGE_SIZE)

    def calls(**wanted: tuple[str, bool]) -> Callable[[], Awaitable[object]]:
        query = CallQuery(account_id=account, filter=CallFilter(**wanted))
        return lambda: reports.calls(query, None, 50)

    return {
        "by day, 3 months": sums(91, Bucket.DAY),
        "by day, 3 months, Berlin": sums(91, Bucket.DAY, zone="Europe/Berlin"),
        "by month and model, 3 months": sums(91, Bucket.MONTH, Dimension.MODEL),
        "by model, 3 months": sums(91, Bucket.WHOLE, Dimension.MODEL),
        "by key, 3 months": sums(91, Bucket.WHOLE, Dimension.KEY),
        "by hour, 1 day": sums(1, Bucket.HOUR),
        "calls, first page": calls(),
        "calls of a model, first page": calls(model=("provider1/model-7", True)),
        "failed calls, first page": calls(outcome=("failed", True)),
    }


def show(figures: dict[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table("", "", "p99")
    for name, value in figures.items():
        if isinstance(value, dict):
            for question, row in value.items():
                if isinstance(row, tuple):
                    table.add_row(question, f"{row[0]:,.1f} ms", f"{row[1]:,.1f} ms")
                else:
                    table.add_row(question, str(row), "")
        else:
            table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value), "")
    console.print(table)


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS_DEFAULT, help="calls of the past")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    told = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="bench-usage-") as folder:
        where = Path(folder) / "postgres"
        with EmbeddedPostgres(where, settings={"max_wal_size": "4GB"}) as server:
            url = server.create_database("bench")
            migrate(url)
            loaded = Loaded(url, options.rows)
            told.print(f"loading {options.rows:,} calls")
            figures: dict[str, Any] = {"calls": options.rows}
            figures["load, s"] = round(loaded.load())
            with psycopg.connect(url) as sql:
                version = str(sql.info.server_version // 10_000)
            figures |= asyncio.run(measure(loaded, told.print))
            figures["machine"] = describe(Path(folder), version)
    if options.json:
        json.dump(figures, sys.stdout, indent=2)
    else:
        show(figures, Console())


if __name__ == "__main__":
    main()
