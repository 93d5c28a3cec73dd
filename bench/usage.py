"""`python bench/usage.py`: how fast reports of usage are, beside how many rows.

Loads N settled calls of three months, 100 accounts, 4 keys an account, 8 models and 7 tasks into a
PostgreSQL of its own; the largest account has a fifth of them. Counts them all as a first start
after an upgrade does, then some more as a running worker does, and asks for the reports that people
ask for, of the largest account and of one in the middle, from the sums and from the raw log
of calls, which must agree. Prints a table, or JSON. With a folder that has such a database already
it asks that one again.
"""

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
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
from omni_grpc.storage import Database, EmbeddedPostgres, Timeouts, migrate

ROWS_DEFAULT: Final = 1_000_000
CHUNK_ROWS: Final = 250_000
ACCOUNTS: Final = 100
FIRST_ACCOUNT: Final = 1_000
LARGEST, MIDDLE = FIRST_ACCOUNT, FIRST_ACCOUNT + 30
DAYS: Final = 92
LATER_ROWS: Final = 20_000
LATER_BATCH: Final = 100
RUNS_DEFAULT: Final = 30
TIMEOUTS: Final = Timeouts(statement_s=60.0)
"""Longer than a server's, so that what would be refused there is told as a figure here."""

RAW_RUNS: Final = 2
"""Of each query of the raw log, the faster of which counts: the other one warms the caches."""

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

# The same report from the rows of calls, by the index of their account. It needs no more than these
# columns, and is spared a report's pages.
_RAW: Final = """
SELECT {bucket}, {dimensions} count(*), sum(u.prompt), sum(u.completion), sum(p.amount)::bigint,
       sum(r.premium_nanousd), sum(r.saved_nanousd)
  FROM usage_record u JOIN posting p ON p.id = u.hold_id
  LEFT JOIN routed_call r ON r.call_id = usage_call_of(u.hold_id)
 WHERE u.wallet = %(wallet)s AND u.hold_id >= %(low)s AND u.hold_id < %(high)s
 GROUP BY {groups}
"""
_RAW_BUCKETS: Final = {
    Bucket.WHOLE: "1",
    Bucket.HOUR: "usage_hour_of(u.hold_id)",
    Bucket.DAY: "date_trunc('day', usage_hour_of(u.hold_id), %(zone)s)",
    Bucket.MONTH: "date_trunc('month', usage_hour_of(u.hold_id), %(zone)s)",
}
_RAW_DIMENSIONS: Final = {
    Dimension.PROVIDER: "split_part(u.model, '/', 1)",
    Dimension.MODEL: "u.model",
    Dimension.TASK: "coalesce(r.task, '')",
    Dimension.KEY: "u.key_id",
}


class Loaded:
    """A database with a past of so many calls, up to now."""

    def __init__(self, url: str, rows: int) -> None:
        self.url = url
        self.rows = rows
        self.is_old = False
        self._next = rows
        end = datetime.now(UTC) - timedelta(hours=1)
        self._start_ms = int((end - timedelta(days=DAYS)).timestamp() * 1000)
        self._step_ms = DAYS * 86_400_000 / rows

    def load(self) -> float:
        """Writes the past, if it is not there; how many seconds that took.

        Its rows are as from before 0010.
        """
        began = time.monotonic()
        with psycopg.connect(self.url, autocommit=True) as sql:
            last = sql.execute("SELECT max(entry) FROM posting").fetchone()
            if last is not None and last[0] is not None:
                self.is_old, self._next = True, last[0] + 1
                return 0.0
            for low in range(0, self.rows, CHUNK_ROWS):
                self._write(sql, low, min(low + CHUNK_ROWS, self.rows) - 1, None)
            sql.execute("VACUUM ANALYZE")
        return time.monotonic() - began

    def load_later(self) -> None:
        """Some calls more, as batches of the ledger's lane write them."""
        with psycopg.connect(self.url, autocommit=True) as sql:
            for low in range(self._next, self._next + LATER_ROWS, LATER_BATCH):
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


async def timed(work: Callable[[], Awaitable[object]], runs: int) -> tuple[float, float]:
    """The median and the 99th percentile of some runs, in milliseconds."""
    await work()
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        await work()
        took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took), sorted(took)[min(runs - 1, int(runs * 0.99))]


class RawLog:
    """Answers a report's question from the rows of calls, as one would without sums."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._answers: dict[UsageQuery, tuple[float, tuple[int, ...]]] = {}

    def ask(self, query: UsageQuery) -> tuple[float, tuple[int, ...]]:
        """Milliseconds, and the totals: calls, prompt, completion, cost, premium, saved.

        What differs in nothing but its time zone is asked once: its totals are the same.
        """
        query = msgspec.structs.replace(query, time_zone="UTC")
        if query not in self._answers:
            self._answers[query] = self._ask(query)
        return self._answers[query]

    def _ask(self, query: UsageQuery) -> tuple[float, tuple[int, ...]]:
        parts = [_RAW_DIMENSIONS[one] for one in sorted(query.dimensions)]
        statement = _RAW.format(
            bucket=_RAW_BUCKETS[query.bucket],
            dimensions="".join(f"{part}, " for part in parts),
            groups=", ".join(str(place + 1) for place in range(1 + len(parts))),
        )
        given = {
            "wallet": query.account_id,
            "low": _id_at(query.start),
            "high": _id_at(query.end),
            "zone": query.time_zone,
        }
        took = []
        with psycopg.connect(self._url, autocommit=True) as sql:
            for _ in range(RAW_RUNS):
                began = time.perf_counter()
                rows = sql.execute(statement, given).fetchall()  # type: ignore[arg-type]  # ours
                took.append(1e3 * (time.perf_counter() - began))
        totals = zip(*(row[-6:] for row in rows), strict=True)
        return min(took), tuple(sum(int(one or 0) for one in column) for column in totals)


def _id_at(moment: datetime) -> UUID:
    """The lowest id that a call of that moment can have."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


async def measure(loaded: Loaded, runs: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Counts, then asks."""
    figures: dict[str, Any] = {}
    async with Database(loaded.url, application_name="bench", timeouts=TIMEOUTS) as database:
        store = UsageStore(database)
        roller, reports = UsageRoller(store), UsageReports(store, SystemClock())
        if not loaded.is_old:
            tell("counting the past")
            await roller.roll()  # notes what runs
            began = time.monotonic()
            await roller.roll()
            figures["first count, calls/s"] = round(loaded.rows / (time.monotonic() - began))
            tell(f"counted {figures['first count, calls/s']:,} calls a second; counting on")
        await asyncio.to_thread(loaded.load_later)
        began = time.monotonic()
        count = await roller.roll()
        figures["counting on, calls/s"] = round(count / (time.monotonic() - began))
        with psycopg.connect(loaded.url, autocommit=True) as sql:
            sql.execute("VACUUM ANALYZE usage_sum")
        tell(f"counted on {figures['counting on, calls/s']:,} calls a second; asking")
        figures["from the sums and from the raw log, ms"] = reads = {}
        raw = RawLog(loaded.url)
        for account, size in ((LARGEST, "largest"), (MIDDLE, "middle")):
            for name, query in _reports(AccountId(account)).items():
                page, _ = await reports.summarize(query, None, PAGE_SIZE)
                p50, p99 = await timed(
                    lambda: reports.summarize(query, None, PAGE_SIZE),  # noqa: B023
                    runs,
                )
                raw_ms, totals = await asyncio.to_thread(raw.ask, query)
                sums = page.total
                told = (
                    sums.calls,
                    sums.prompt,
                    sums.completion,
                    sums.cost,
                    sums.premium,
                    sums.saved,
                )
                if told != totals:
                    raise SystemExit(f"{name}: the sums say {told}, the raw log says {totals}")
                row = reads[f"{name}, {size} account"] = [*_rounded(p50, p99, raw_ms), sums.calls]
                tell(f"{name}, {size} account: {row}")
        figures["lists, ms (p50, p99)"] = lists = {}
        for name, query in _lists(AccountId(LARGEST)).items():
            lists[name] = _rounded(
                *await timed(lambda: reports.calls(query, None, 50), runs)  # noqa: B023
            )
    figures |= loaded.sizes()
    return figures


def _rounded(*amounts: float) -> list[float]:
    return [round(amount, 1) for amount in amounts]


def _reports(account: AccountId) -> dict[str, UsageQuery]:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)

    def over(days: int, bucket: Bucket, *by: Dimension, zone: str = "UTC") -> UsageQuery:
        return UsageQuery(
            account_id=account,
            start=end - timedelta(days=days),
            end=end,
            bucket=bucket,
            dimensions=frozenset(by),
            time_zone=zone,
        )

    return {
        "by hour, 1 day": over(1, Bucket.HOUR),
        "by hour, 1 month": over(30, Bucket.HOUR),
        "by day, 3 months": over(91, Bucket.DAY),
        "by day, 3 months, Berlin": over(91, Bucket.DAY, zone="Europe/Berlin"),
        "by day, 3 months, Los Angeles": over(91, Bucket.DAY, zone="America/Los_Angeles"),
        "by day, 3 months, Auckland": over(91, Bucket.DAY, zone="Pacific/Auckland"),
        "by day, 3 months, India": over(91, Bucket.DAY, zone="Asia/Kolkata"),
        "by month, 3 months, Berlin": over(91, Bucket.MONTH, zone="Europe/Berlin"),
        "by month and model, 3 months": over(91, Bucket.MONTH, Dimension.MODEL),
        "by model, 3 months": over(91, Bucket.WHOLE, Dimension.MODEL),
        "by task, 3 months": over(91, Bucket.WHOLE, Dimension.TASK),
        "by key, 3 months": over(91, Bucket.WHOLE, Dimension.KEY),
    }


def _lists(account: AccountId) -> dict[str, CallQuery]:
    def calls(**wanted: tuple[str, bool]) -> CallQuery:
        return CallQuery(account_id=account, filter=CallFilter(**wanted))

    return {
        "calls, first page": calls(),
        "calls of a model, first page": calls(model=("provider1/model-7", True)),
        "failed calls, first page": calls(outcome=("failed", True)),
    }


def show(figures: dict[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table("", "p50, ms", "p99, ms", "raw log, ms", "raw / sums", "calls summed")
    for name, value in figures.items():
        if not isinstance(value, dict):
            table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
            continue
        for question, row in value.items():
            if not isinstance(row, list):
                table.add_row(question, str(row))
            elif len(row) == 2:
                table.add_row(question, *(f"{ms:,}" for ms in row))
            else:
                p50, p99, raw, calls = row
                table.add_row(
                    question, f"{p50:,}", f"{p99:,}", f"{raw:,}", f"{raw / p50:,.0f}", f"{calls:,}"
                )
    console.print(table)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """Where the database is: the folder that was named, or one that goes."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="bench-usage-") as folder:
        yield Path(folder) / "postgres"


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS_DEFAULT, help="calls of the past")
    parser.add_argument("--runs", type=int, default=RUNS_DEFAULT, help="of each question")
    parser.add_argument("--folder", type=Path, help="keep the database here, and ask it again")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    told = Console(stderr=True)
    with _folder(options.folder) as folder:
        is_old = folder.is_dir()
        with EmbeddedPostgres(folder, settings={"max_wal_size": "4GB"}) as server:
            url = server.url("bench") if is_old else server.create_database("bench")
            migrate(url)
            loaded = Loaded(url, options.rows)
            told.print(f"loading {options.rows:,} calls")
            figures: dict[str, Any] = {"calls": options.rows}
            figures["load, s"] = round(loaded.load())
            with psycopg.connect(url) as sql:
                version = str(sql.info.server_version // 10_000)
            figures |= asyncio.run(measure(loaded, options.runs, told.print))
            figures["machine"] = describe(folder, version)
    if options.json:
        json.dump(figures, sys.stdout, indent=2)
    else:
        show(figures, Console())


if __name__ == "__main__":
    main()
