"""The doctor: silent about clean books, also under traffic, and exact about each corruption."""

import asyncio
import itertools
import random

import psycopg
import pytest
from ledger_rig import (
    BUDGETS,
    PRICE_BOOK,
    WALLETS,
    Rig,
    Worker,
    final_op,
    hold_op,
    load_prices,
    until,
)

from omni_grpc.billing import AttemptOutcome
from omni_grpc.billing.invariants import Invariant, check
from omni_grpc.billing.operations import Code, Final, Leg, Origin
from omni_grpc.core.chat import ShortCredits
from omni_grpc.core.errors import CreditsExhausted, CreditsHeld
from omni_grpc.core.ids import AccountId, KeyId, OrgId, uuid7
from omni_grpc.core.usage import Usage
from omni_grpc.storage import Database, EmbeddedPostgres


# --- traffic ------------------------------------------------------------------------------------
async def chat(worker: Worker, wallet: int, chance: random.Random) -> None:
    """One call: refused, answered, cancelled, lost, or dearer than its hold."""
    meter = worker.meter(wallet)
    try:
        attempt = await meter.hold(
            model="sim/one",
            credential="house",
            price=PRICE_BOOK[2],
            prompt_tokens_max=1_100,
            output_tokens_max=20,
            choice_count=1,
            short_credits=ShortCredits.SHORTEN,
            lease_lost=lambda: None,
        )
    except (CreditsExhausted, CreditsHeld):
        return
    fate = chance.random()
    if fate < 0.1:
        meter.close()
        return
    attempt.dispatched()
    if fate < 0.15:
        attempt.leave_unresolved()
    elif fate < 0.25:
        attempt.void(AttemptOutcome.REFUSED)
    else:
        usage = Usage(
            prompt=chance.randint(100, 1_100),
            cached_read=chance.choice((None, 0, 90)),
            completion=chance.randint(0, 20) + (2_000 if fate > 0.9 else 0),
            reasoning=chance.choice((None, 0)),
        )
        attempt.settle(usage, AttemptOutcome.ANSWERED)
    await attempt.balance()


async def team_hold(worker: Worker, wallet: int, chance: random.Random) -> None:
    """A team's own hold: left open, settled, released, or over."""
    name = str(uuid7())
    account, org = AccountId(wallet), OrgId(1)
    try:
        held = await worker.ledger.create_hold(
            account_id=account,
            org_id=org,
            key_id=KeyId(7),
            amount=1_000,
            seconds=chance.choice((600, -1)),
            request_id=f"hold {name}",
        )
    except (CreditsExhausted, CreditsHeld):
        return
    fate = chance.random()
    if fate < 0.4:
        outcome = await worker.lane.apply(
            final_op(Final.SETTLE, held.id, 400, origin=Origin.API, wallet=wallet)
        )
        assert outcome.code in (Code.DONE, Code.DECIDED)
    elif fate < 0.7:
        await worker.ledger.release_hold(
            account_id=account, org_id=org, hold_id=held.id, request_id=f"release {name}"
        )


async def budgeted(worker: Worker, wallet: int, chance: random.Random) -> None:
    """A hold on a budget as well; some are voided by the operator and settled late."""
    op = hold_op(50, wallet=wallet, legs=[Leg(AccountId(chance.choice(BUDGETS)), 50, 50)])
    if (await worker.lane.hold(op)).code is not Code.DONE:
        return
    if chance.random() < 0.3:
        await worker.lane.apply(final_op(Final.VOID, op.id, decider="p"))
    if chance.random() < 0.8:
        await worker.lane.apply(final_op(Final.SETTLE, op.id, chance.choice((0, 30, 60))))


async def some_traffic(worker: Worker, chance: random.Random, count: int) -> None:
    for _ in range(count):
        wallet = chance.choice(WALLETS[:3])
        kind = chance.random()
        if kind < 0.1:
            await worker.grant(chance.choice((1_000, 50_000_000)), wallet)
        elif kind < 0.5:
            await chat(worker, wallet, chance)
        elif kind < 0.75:
            await team_hold(worker, wallet, chance)
        else:
            await budgeted(worker, wallet, chance)


async def fill(url: str) -> None:
    """Books in which everything that can happen has happened."""
    async with Database(url, application_name="fill") as database:
        rig = Rig(url, database)
        workers = [await rig.worker(markup_ppm=55_000) for _ in range(2)]
        for wallet in WALLETS[:3]:
            await workers[0].grant(100_000_000, wallet)
        await asyncio.gather(
            *[some_traffic(workers[n % 2], random.Random(n), 12) for n in range(20)]
        )
        # Each kind once more by hand, so that every corruption has a row to corrupt.
        worker, wallet = workers[0], WALLETS[0]
        held = await worker.ledger.create_hold(
            account_id=AccountId(wallet), org_id=OrgId(1), key_id=KeyId(7), amount=1_000,
            seconds=600, request_id="settled hold",
        )  # fmt: skip
        await worker.ledger.settle_hold(
            account_id=AccountId(wallet), org_id=OrgId(1), hold_id=held.id, amount=400,
            request_id="settle",
        )  # fmt: skip
        late = hold_op(50, wallet=wallet)
        await worker.lane.hold(late)
        await worker.lane.apply(final_op(Final.VOID, late.id, decider="p"))
        await worker.lane.apply(final_op(Final.SETTLE, late.id, 30))
        await worker.reaper.reap()
        await until(lambda: all(worker.lane.depth == 0 for worker in workers))
        await rig.close()


TABLES = ("account", "hold", "posting", "usage_record", "request")


@pytest.fixture(scope="module")
def used_books(ledger_server: EmbeddedPostgres) -> str:
    """Books with traffic, and beside them a copy of each table."""
    url = ledger_server.create_database("ledger_used", template="ledger_template")
    asyncio.run(fill(url))
    with psycopg.connect(url) as connection:
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
    tables = {"postings": "posting", "usage records": "usage_record", "requests": "request"}
    for part, table in tables.items():
        assert sql.execute(f"SELECT count(*) FROM {table}").fetchone() == (told[part],)
    assert told.keys() == {*tables, "accounts", "wallets", "entries"}


async def test_running_traffic_is_no_violation_and_hides_none(
    rig: Rig, database: Database, sql: psycopg.Connection
) -> None:
    workers = [await rig.worker(markup_ppm=55_000) for _ in range(2)]
    before = _postings(sql)

    async def run(seed: int) -> None:
        while not stopped:
            await some_traffic(workers[seed % 2], random.Random(seed), 5)
            await workers[seed % 2].reaper.reap()

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
A_CHARGE = (
    "SELECT id FROM posting WHERE kind = 'S' AND origin = 'r' AND n = 0 AND loss = 0"
    " AND amount > 100 ORDER BY id LIMIT 1"
)
A_LOSS = "SELECT id FROM posting WHERE loss > 0 AND n = 0 ORDER BY id LIMIT 1"
A_GRANT = "SELECT id FROM posting WHERE kind = 'G' ORDER BY id LIMIT 1"
AN_OPEN = "SELECT id FROM hold WHERE state = 'O' AND origin = 'a' ORDER BY id LIMIT 1"
A_BUDGET_HOLD = "SELECT id FROM hold WHERE legs IS NOT NULL ORDER BY id LIMIT 1"
A_LATE = "SELECT id FROM posting WHERE n = 1 AND amount > 0 ORDER BY id LIMIT 1"
WALLET = WALLETS[0]

CORRUPTIONS = {
    # what is done to the books: which invariants must be named, exactly
    "money made from nothing": (
        "UPDATE account SET credits_posted = credits_posted + 5 WHERE id = 109",
        "I1 I2",
    ),
    "a wallet made richer": (
        f"UPDATE account SET credits_posted = credits_posted + 5 WHERE id = {WALLET}",
        "I1 I2 I12",
    ),
    "both sides of a wallet raised": (
        (
            "UPDATE account SET credits_posted = credits_posted + 5,"
            f" debits_posted = debits_posted + 5 WHERE id = {WALLET}"
        ),
        "I2",
    ),
    "revenue moved to another lane": (
        f"UPDATE posting SET other_account = 109 WHERE id = ({A_CHARGE})",
        "I2",
    ),
    "funding shrunk and revenue with it": (
        (
            "UPDATE account SET credits_posted = credits_posted - 1 WHERE id = 100;"
            "UPDATE account SET debits_posted = debits_posted - 1 WHERE id = 1"
        ),
        "I2",
    ),
    "a budget spent more than was posted": (
        f"UPDATE account SET debits_posted = debits_posted + 1 WHERE id = {BUDGETS[0]}",
        "I2",
    ),
    "an entry too many counted": (
        f"UPDATE account SET entry_count = entry_count + 1 WHERE id = {WALLET}",
        "I2",
    ),
    "a posting for a wallet that does not exist": (
        (
            "INSERT INTO posting (id, kind, origin, decider, wallet, amount)"
            " VALUES (gen_random_uuid(), 'V', 'a', 'o', 77, 0)"
        ),
        "I2",
    ),
    "a last entry forged": (
        (
            "INSERT INTO posting (id, kind, origin, decider, wallet, amount, held, entry,"
            " balance_after, other_account) SELECT gen_random_uuid(), 'S', 'a', 'o', id, 1, 1,"
            " entry_count + 1, credits_posted - debits_posted - 1, 109"
            f" FROM account WHERE id = {WALLET}"
        ),
        "I2 I12",
    ),
    "a hold deleted": (f"DELETE FROM hold WHERE id = ({AN_OPEN})", "I3 I13"),
    "a hold's amount lowered on its budget": (
        f"UPDATE hold SET leg_amounts = ARRAY[leg_amounts[1] - 1] WHERE id = ({A_BUDGET_HOLD})",
        "I3",
    ),
    "money pending for nobody": (
        f"UPDATE account SET debits_pending = debits_pending + 1 WHERE id = {WALLET}",
        "I3",
    ),
    "a hold on a budget that does not exist": (
        (
            f"UPDATE hold SET legs = legs || 999999, leg_amounts = leg_amounts || 7::bigint"
            f" WHERE id = ({A_BUDGET_HOLD})"
        ),
        "I3",
    ),
    "a balance rewritten": (
        (
            f"UPDATE posting SET balance_after = balance_after + 1 WHERE wallet = {WALLET}"
            " AND entry = 3"
        ),
        "I4",
    ),
    "a balance below zero": (
        f"UPDATE posting SET balance_after = -3 WHERE wallet = {WALLET} AND entry = 2",
        "I4",
    ),
    "two entries swapped": (
        (
            f"UPDATE posting SET entry = 90000 + entry WHERE wallet = {WALLET} AND entry IN (2, 3);"
            f"UPDATE posting SET entry = 90005 - entry WHERE wallet = {WALLET} AND entry > 90000"
        ),
        "I4",
    ),
    "more held than is there": (
        (
            "INSERT INTO hold (id, origin, wallet, amount, key_id, owner, epoch, lease_until)"
            f" SELECT gen_random_uuid(), 'a', id, credits_posted, 7, 'x', 1, now() + interval '1 h'"
            f" FROM account WHERE id = {WALLET};"
            "UPDATE account SET debits_pending = debits_pending + credits_posted"
            f" WHERE id = {WALLET}"
        ),
        "I4",
    ),
    "a settled hold open again": (
        (
            "INSERT INTO hold (id, origin, wallet, amount, key_id, owner, epoch, lease_until)"
            f" SELECT id, 'a', wallet, 0, 7, 'x', 1, now() + interval '1 h' FROM posting"
            f" WHERE id = ({A_CHARGE})"
        ),
        "I5",
    ),
    "a settle after its owner's own void": (
        f"UPDATE posting SET decider = 'o' WHERE n = 0 AND id = ({A_LATE})",
        "I5",
    ),
    "a correction of nothing": (
        f"DELETE FROM posting WHERE n = 0 AND id = ({A_LATE})",
        "I5 I9",
    ),
    "a charge above its hold": (
        f"UPDATE posting SET held = amount - 1 WHERE id = ({A_CHARGE})",
        "I6",
    ),
    "a late charge above its hold": (
        f"UPDATE posting SET held = amount - 1 WHERE n = 1 AND id = ({A_LATE})",
        "I6",
    ),
    "a loss moved to another account": (
        (
            "UPDATE account SET debits_posted = debits_posted - 1 WHERE id = (SELECT min(id) FROM"
            " account WHERE kind = 5 AND debits_posted > 0);"
            "UPDATE account SET debits_posted = debits_posted + 1 WHERE id = 209"
        ),
        "I7",
    ),
    "a loss that nobody bears": (
        f"UPDATE posting SET loss_account = NULL WHERE id = ({A_LOSS})",
        "I7",
    ),
    "a loss beside room in the hold": (
        f"UPDATE posting SET held = held + 1 WHERE id = ({A_LOSS})",
        "I7",
    ),
    "a lease that nobody ended": (
        f"UPDATE hold SET lease_until = now() - interval '1 hour' WHERE id = ({AN_OPEN})",
        "I8",
    ),
    "a usage record lost": (
        f"DELETE FROM usage_record WHERE hold_id = ({A_CHARGE})",
        "I9",
    ),
    "a usage record of another wallet": (
        f"UPDATE usage_record SET wallet = 77 WHERE hold_id = ({A_CHARGE})",
        "I9",
    ),
    "a usage record of no attempt": (
        (
            "INSERT INTO usage_record SELECT gen_random_uuid(), wallet, key_id, model,"
            " price_version, markup_ppm, outcome, estimated"
            f" FROM usage_record WHERE hold_id = ({A_CHARGE})"
        ),
        "I9",
    ),
    "one more token used": (
        f"UPDATE usage_record SET prompt = prompt + 1 WHERE hold_id = ({A_CHARGE})",
        "I10",
    ),
    "another markup": (
        f"UPDATE usage_record SET markup_ppm = 0 WHERE hold_id = ({A_CHARGE})",
        "I10",
    ),
    "a price that does not exist": (
        f"UPDATE usage_record SET price_version = 99 WHERE hold_id = ({A_CHARGE})",
        "I10",
    ),
    "a grant of another amount": (
        f"UPDATE request SET amount = amount + 1 WHERE target = ({A_GRANT})",
        "I11",
    ),
    "a grant that nobody asked for": (
        f"DELETE FROM request WHERE target = ({A_GRANT})",
        "I11",
    ),
    "one grant for two requests": (
        (
            "INSERT INTO request SELECT principal, 'again', fingerprint, operation, target, amount"
            f" FROM request WHERE target = ({A_GRANT})"
        ),
        "I11",
    ),
    "a last balance rewritten": (
        (
            "UPDATE posting SET balance_after = balance_after + 1 WHERE (wallet, entry) ="
            f" (SELECT id, entry_count FROM account WHERE id = {WALLET})"
        ),
        "I4 I12",
    ),
    "a request without an outcome": (
        "UPDATE request SET target = gen_random_uuid() WHERE request_id = 'settle'",
        "I13",
    ),
    "a request with an outcome of another kind": (
        "UPDATE request SET operation = 'V' WHERE request_id = 'settle'",
        "I13",
    ),
    "a request of another amount": (
        "UPDATE request SET amount = amount + 1 WHERE request_id = 'settled hold'",
        "I13",
    ),
}


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
