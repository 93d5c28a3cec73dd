"""The books that a ledger bench works on: wallets, a past of many postings, sizes, the doctor.

The past is written in bulk, and stands as if each call had gone through the ledger: entries in
commit order, balances that follow, usage records that give each charge. The doctor reads all of it
at the end.
"""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from ledger_lane import Watch, running_lane
from ledger_steps import STEPS_REVENUE
from ledger_work import KEY_ID, MODEL, costs, held, usages
from machine import ProcessTree

from omni_grpc.billing import Leases, Ledger, LedgerStore, NoJournal
from omni_grpc.billing.invariants import Violation, check
from omni_grpc.catalog import CatalogStore
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.ids import AccountId, OrgId
from omni_grpc.core.money import Price
from omni_grpc.storage import Database
from omni_grpc.storage.binaries import find_install

ORG_FIRST: Final = 1_000_000
"""Organisations of the bench's wallets: none of those that the service makes."""

GRANT_NANOUSD: Final = 10**15
"""A million USD: no hold of a bench is ever short."""

PAST_SECONDS: Final = 30 * 86_400
"""The past fills a month …"""

PAST_END_SECONDS: Final = 2 * 3_600
"""… which ended two hours ago."""

CHUNK_POSTINGS: Final = 50_000
REVENUE: Final = 100
"""The revenue account of the first lane."""

GRANTS_AT_ONCE: Final = 250
"""Each reads its entry through a pool, which takes no endless queue."""

TABLES: Final = ("posting", "usage_record", "hold", "request", "request_answer", "account")

_OFFER: Final = "SELECT price_version FROM offer WHERE id = %s"
_OPEN_WALLETS: Final = """
SELECT ledger_open_wallet(n) FROM generate_series(%s::bigint, %s::bigint) n ORDER BY n
"""
# Steps of all wallets, in the order of their time. One statement sees and moves the accounts, so
# entries and balances go on from where the chunk before it left them.
_CHUNK: Final = """
WITH answer AS MATERIALIZED (
  SELECT * FROM unnest(%(prompt)s::bigint[], %(cached_read)s::bigint[], %(completion)s::bigint[],
                       %(reasoning)s::bigint[], %(cost)s::bigint[])
    WITH ORDINALITY t(prompt, cached_read, completion, reasoning, cost, n)),
call AS MATERIALIZED (
  SELECT step, wallet, moment, noise, answer.*,
         (lpad(to_hex((1000 * extract(epoch FROM moment))::bigint), 12, '0') || '7'
          || left(noise, 3) || '8' || substr(noise, 4, 14) || '1')::uuid AS id
    FROM generate_series(%(from)s::bigint, %(to)s::bigint) step
    CROSS JOIN generate_series(0, %(wallets)s - 1) w
    CROSS JOIN LATERAL (SELECT
      %(first)s + w AS wallet,
      md5(step || ' ' || w) AS noise,
      %(begin)s::timestamptz
        + %(gap_s)s::double precision * (step * %(wallets)s + w) * interval '1 s' AS moment) x
    JOIN answer ON answer.n = 1 + (step * 31 + w * 17) %% %(answers)s),
entered AS MATERIALIZED (
  SELECT c.*, a.entry_count + row_number() OVER each AS entry,
         a.credits_posted - a.debits_posted - sum(c.cost) OVER each AS balance_after
    FROM call c JOIN account a ON a.id = c.wallet
  WINDOW each AS (PARTITION BY c.wallet ORDER BY c.step)),
posted AS (
  INSERT INTO posting (id, kind, origin, decider, wallet, amount, held, other_account, entry,
                       balance_after, create_time)
  SELECT id, 'S', 'r', 'o', wallet, cost, %(held)s, %(revenue)s, entry, balance_after, moment
    FROM entered ORDER BY id),
used AS (
  INSERT INTO usage_record (hold_id, wallet, key_id, model, price_version, markup_ppm, outcome,
                            estimated, prompt, cached_read, completion, reasoning, provider_ref,
                            create_time)
  SELECT id, wallet, %(key)s, %(model)s, %(price_version)s, 0, 'A', false, prompt, cached_read,
         completion, reasoning, 'chatcmpl-' || left(noise, 29), moment
    FROM entered ORDER BY id)
UPDATE account a SET debits_posted = a.debits_posted + d.debited,
       credits_posted = a.credits_posted + d.credited, entry_count = a.entry_count + d.entries
  FROM (SELECT wallet AS acct, sum(cost)::bigint AS debited, 0::bigint AS credited,
               count(*) AS entries FROM entered GROUP BY wallet
        UNION ALL SELECT %(revenue)s, 0, sum(cost)::bigint, 0 FROM entered) d
 WHERE a.id = d.acct
"""
_BOOK_STEPS: Final = """
UPDATE account SET credits_posted = (SELECT coalesce(sum(amount), 0) FROM posting
                                      WHERE other_account = %(revenue)s)
 WHERE id = %(revenue)s
"""


class Books:
    """The bench's wallets on a migrated database, and what can be asked of its server."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.first_wallet = 0
        self.wallets = 0
        with psycopg.connect(url) as connection:
            found = connection.execute(_OFFER, [MODEL]).fetchone()
        if found is None:
            raise SystemExit(f"The catalog has no {MODEL}.")
        self.price = asyncio.run(self._price(int(found[0])))

    # --- writing --------------------------------------------------------------------------------
    def open_wallets(self, count: int) -> None:
        """Opens `count` wallets in a row and grants each its credits, through the ledger."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            rows = connection.execute(_OPEN_WALLETS, [ORG_FIRST, ORG_FIRST + count - 1]).fetchall()
        ids = [int(row[0]) for row in rows]
        if ids != list(range(ids[0], ids[0] + count)):
            raise SystemExit("The wallets do not stand in a row; is somebody else opening some?")
        self.first_wallet, self.wallets = ids[0], count
        asyncio.run(self._grant(ids))

    def load(self, postings: int, told: Callable[[int], None]) -> int:
        """Writes a past of about `postings` settled calls; returns how many it wrote."""
        steps = -(-postings // self.wallets)
        chunk = max(1, CHUNK_POSTINGS // self.wallets)
        facts = self._facts(steps)
        with psycopg.connect(self.url, autocommit=True) as connection:
            for begin in range(0, steps, chunk):
                end = min(steps, begin + chunk)
                connection.execute(_CHUNK, facts | {"from": begin, "to": end - 1})
                told(end * self.wallets)
            for table in TABLES:
                connection.execute(f"VACUUM (ANALYZE) {table}")  # type: ignore[arg-type]  # ours
            connection.execute("CHECKPOINT")
        return steps * self.wallets

    def book_steps(self) -> None:
        """Credits the revenue of what was not written by lanes."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(_BOOK_STEPS, {"revenue": STEPS_REVENUE})

    # --- reading --------------------------------------------------------------------------------
    def sizes(self) -> dict[str, int]:
        """Bytes of each table with its indexes."""
        query = "SELECT t, pg_total_relation_size(t::regclass) FROM unnest(%s::text[]) t"
        return {str(name): int(size) for name, size in self._all(query, [list(TABLES)])}

    def wal_bytes(self) -> int:
        """How much was ever written to the log."""
        return int(self._all("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])

    def deadlocks(self) -> int:
        """Deadlocks of this database that the server ever broke."""
        query = (
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            " AND pg_stat_force_next_flush() IS NOT NULL"
        )
        return int(self._all(query)[0][0])

    def debits_nanousd(self) -> int:
        """What the bench's wallets were ever charged."""
        query = (
            "SELECT coalesce(sum(debits_posted), 0)::bigint FROM account WHERE id >= %s AND id < %s"
        )
        return int(self._all(query, [self.first_wallet, self.first_wallet + self.wallets])[0][0])

    def entries(self) -> int:
        """How many entries the bench's wallets have: grants and settles."""
        query = (
            "SELECT coalesce(sum(entry_count), 0)::bigint FROM account WHERE id >= %s AND id < %s"
        )
        return int(self._all(query, [self.first_wallet, self.first_wallet + self.wallets])[0][0])

    def program(self, name: str) -> str:
        """The path of one of the server's programs."""
        return find_install(None, None).program(name)

    def pid(self) -> int:
        """The postmaster's process id."""
        return int((self.folder / "cluster" / "postmaster.pid").read_text().split()[0])

    def cpu_s(self) -> float:
        """Processor seconds of PostgreSQL, those of its processes that have ended included."""
        pid = self.pid()
        while True:
            ended_s, living_s = _ended_s(pid), ProcessTree(pid).cpu_s()
            if _ended_s(pid) == ended_s:  # else one that ended meanwhile is in neither
                return ended_s + living_s

    def doctor(self, told: Callable[[str, int], None]) -> list[Violation]:
        """What the product's own check finds wrong."""

        async def examine() -> list[Violation]:
            async with Database(self.url, application_name="bench doctor") as database:
                return await check(database, prices=CatalogStore(database).prices, progress=told)

        return asyncio.run(examine())

    # --- details --------------------------------------------------------------------------------
    def _facts(self, steps: int) -> dict[str, object]:
        answers = usages()
        return {
            "prompt": [usage.prompt for usage in answers],
            "cached_read": [usage.cached_read for usage in answers],
            "completion": [usage.completion for usage in answers],
            "reasoning": [usage.reasoning for usage in answers],
            "cost": costs(self.price),
            "answers": len(answers),
            "wallets": self.wallets,
            "first": self.first_wallet,
            "begin": datetime.now(UTC) - timedelta(seconds=PAST_SECONDS + PAST_END_SECONDS),
            "gap_s": PAST_SECONDS / max(1, steps * self.wallets),
            "held": held(self.price),
            "revenue": REVENUE,
            "key": KEY_ID,
            "model": MODEL,
            "price_version": self.price.version,
        }

    def _all(
        self, query: LiteralString, parameters: list[object] | None = None
    ) -> list[tuple[Any, ...]]:  # of several shapes
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()

    async def _price(self, version: int) -> Price:
        async with Database(self.url, application_name="bench") as database:
            return (await CatalogStore(database).prices([version]))[version]

    async def _grant(self, wallets: list[int]) -> None:
        clock = SystemClock()
        async with (
            Database(self.url, application_name="bench") as database,
            running_lane(self.url, Watch(), NoJournal()) as lane,
        ):
            ledger = Ledger(
                lane=lane,
                leases=Leases(lane, clock),
                journal=NoJournal(),
                store=LedgerStore(database),
                clock=clock,
                markup_ppm=0,
            )
            for begin in range(0, len(wallets), GRANTS_AT_ONCE):
                some = wallets[begin : begin + GRANTS_AT_ONCE]
                await asyncio.gather(*(self._grant_one(ledger, wallet) for wallet in some))

    async def _grant_one(self, ledger: Ledger, wallet: int) -> None:
        await ledger.grant(
            account_id=AccountId(wallet),
            org_id=OrgId(ORG_FIRST),
            amount=GRANT_NANOUSD,
            reason="bench",
            request_id=f"bench {wallet}",
        )


def _ended_s(pid: int) -> float:
    """Processor seconds of the processes that a process started and that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
