"""`python bench/budgets.py`: what three budgets cost a call's hold and settle, beside none.

Meters, lane and journal as one worker has them, on a PostgreSQL with fsync on; no provider and no
transport. Calls without budgets and calls with a key's in dollars a day, a team's in tokens a month
and an organisation's in dollars for ever take turns in one run, so that what else the machine does
meets both alike. Prints a table, or JSON.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import psycopg
import structlog
from ledger_lane import Watch, running_lane
from machine import ProcessTree, describe
from rich.console import Console
from rich.table import Table

from omni_grpc.billing import AttemptOutcome, CallJournal, Leases, Ledger, LedgerStore
from omni_grpc.core.chat import ShortCredits
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.ids import AccountId, KeyId, OrgId, new_call_id, uuid7
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.core.tenancy import BudgetRef, BudgetUnit
from omni_grpc.core.usage import Usage
from omni_grpc.storage import Database, EmbeddedPostgres, migrate

ORGS: Final = 200
ORG_FIRST: Final = 1_000_000
AMOUNT: Final = 10**15
CALLERS: Final = (1, 64)
ROUNDS: Final = 5
SECONDS: Final = 0.7
PRICE: Final = Price(1, (Rate(Unit.PROMPT, 0, 150_000_000), Rate(Unit.COMPLETION, 0, 600_000_000)))
USED: Final = Usage(prompt=180, completion=60)

_BUDGETS: Final = """
INSERT INTO budget (org_id, subject_kind, subject_id, slug, unit, amount, period)
SELECT n, kind, n, 'bench', unit, %s, period
  FROM generate_series(%s::bigint, %s::bigint) n,
       (VALUES ('k'::"char", 'nanousd', 'day'), ('t', 'tokens', 'month'), ('o', 'nanousd', 'total'))
         b(kind, unit, period)
RETURNING org_id, id, unit
"""

Payer = tuple[AccountId, tuple[BudgetRef, ...]]


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        url = server.create_database("bench")
        migrate(url)
        machine = describe(Path(folder), "embedded")
        rows = asyncio.run(_measured(url, Path(folder)))
    if options.json:
        print(json.dumps({"machine": machine, "rows": rows}, indent=2))
        return
    table = Table("callers", "budgets", "calls/s", "worker µs/call", "PostgreSQL µs/call")
    for row in rows:
        table.add_row(*(f"{value:,.0f}" for value in row.values()))
    console = Console()
    console.print(table)
    console.print("Medians; what three cost more: " + _difference(rows))


def _difference(rows: list[dict[str, float]]) -> str:
    return ", ".join(
        f"{with_['worker_us'] - without['worker_us']:+.0f} µs of the worker and "
        f"{with_['postgres_us'] - without['postgres_us']:+.0f} µs of PostgreSQL a call at "
        f"{with_['callers']:.0f} callers"
        for without, with_ in itertools.pairwise(rows)
        if without["callers"] == with_["callers"]
    )


async def _measured(url: str, folder: Path) -> list[dict[str, float]]:
    async with _ledger(url, folder) as ledger:
        plain, budgeted = _payers(url)
        for account, _ in plain:
            await ledger.grant(
                account_id=account, org_id=OrgId(1), amount=AMOUNT, reason="bench",
                request_id=str(uuid7()),
            )  # fmt: skip
        server = ProcessTree(_postmaster(folder))
        rows = []
        for callers in CALLERS:
            kinds = {0: itertools.cycle(plain), 3: itertools.cycle(budgeted)}
            found: dict[int, list[tuple[float, float, float]]] = {0: [], 3: []}
            for payers in kinds.values():
                await _load(ledger, payers, callers, SECONDS / 2)
            for _ in range(ROUNDS):
                for count, payers in kinds.items():
                    began, own, theirs = time.monotonic(), _own_s(), server.cpu_s()
                    calls = await _load(ledger, payers, callers, SECONDS)
                    found[count].append(
                        (
                            calls / (time.monotonic() - began),
                            1e6 * (_own_s() - own) / calls,
                            1e6 * (server.cpu_s() - theirs) / calls,
                        )
                    )
            for count, rounds in found.items():
                rate, worker, postgres = (
                    statistics.median(column) for column in zip(*rounds, strict=True)
                )
                rows.append(
                    {
                        "callers": callers,
                        "budgets": count,
                        "calls_per_second": rate,
                        "worker_us": worker,
                        "postgres_us": postgres,
                    }
                )
        return rows


@contextlib.asynccontextmanager
async def _ledger(url: str, folder: Path) -> AsyncIterator[Ledger]:
    clock = SystemClock()
    journal = CallJournal(folder / "journal", clock)
    async with (
        Database(url, application_name="bench") as database,
        running_lane(url, Watch(), journal) as lane,
    ):
        yield Ledger(
            lane=lane,
            leases=Leases(lane, clock),
            journal=journal,
            store=LedgerStore(database),
            clock=clock,
            markup_ppm=0,
        )


def _payers(url: str) -> tuple[list[Payer], list[Payer]]:
    """The same wallets without budgets, and each with three of its own."""
    last = ORG_FIRST + ORGS - 1
    with psycopg.connect(url, autocommit=True) as sql:
        wallets = sql.execute(
            "SELECT n, ledger_open_wallet(n) FROM generate_series(%s::bigint, %s::bigint) n",
            [ORG_FIRST, last],
        ).fetchall()
        budgets: dict[int, list[BudgetRef]] = {}
        for org, number, unit in sql.execute(_BUDGETS, [AMOUNT, ORG_FIRST, last]):
            budgets.setdefault(org, []).append(BudgetRef(number, BudgetUnit(unit)))
    plain: list[Payer] = [(AccountId(wallet), ()) for _, wallet in wallets]
    return plain, [(AccountId(wallet), tuple(budgets[org])) for org, wallet in wallets]


async def _load(ledger: Ledger, payers: Iterator[Payer], callers: int, seconds: float) -> int:
    """So many callers, one call after the other; how many calls they made."""
    until, calls = time.monotonic() + seconds, 0

    async def call_on() -> None:
        nonlocal calls
        while time.monotonic() < until:
            await _call(ledger, *next(payers))
            calls += 1

    await asyncio.gather(*[call_on() for _ in range(callers)])
    return calls


async def _call(ledger: Ledger, account: AccountId, budgets: tuple[BudgetRef, ...]) -> None:
    meter = ledger.meter(new_call_id(), account, KeyId(1), budgets)
    charge = await meter.hold(
        model="bench/one",
        credential="house",
        price=PRICE,
        prompt_tokens_max=200,
        output_tokens_max=256,
        choice_count=1,
        short_credits=ShortCredits.REFUSE,
        lease_lost=lambda: None,
    )
    charge.dispatched()
    charge.settle(USED, AttemptOutcome.ANSWERED)
    await charge.balance()
    meter.close()


def _own_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _postmaster(folder: Path) -> int:
    (found,) = folder.rglob("postmaster.pid")
    return int(found.read_text().split("\n", 1)[0])


if __name__ == "__main__":
    main()
