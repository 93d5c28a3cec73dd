"""Budgets under calls: what is held and counted, who is refused and how, and who is told."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from budget_rig import budget, change, organisation, used, window
from ledger_rig import (
    UNIT_PRICE,
    WALLETS,
    HandClock,
    Rig,
    Worker,
    final_op,
    hold_op,
    resolve_op,
    until,
)
from ledger_sql import balance
from recovery_house import House

from omni_grpc.billing import AttemptCharge, AttemptOutcome, Resolution
from omni_grpc.billing.budgets import BudgetStore, BudgetWatch
from omni_grpc.billing.journal_content import Attempt
from omni_grpc.billing.journal_records import Dispatched, Ended, Progress, decode, encode
from omni_grpc.billing.operations import Code, Final, Leg
from omni_grpc.core.chat import ShortCredits
from omni_grpc.core.errors import (
    BudgetExhausted,
    BudgetHeld,
    CreditsExhausted,
    LedgerUnavailable,
)
from omni_grpc.core.ids import AccountId, HoldId, KeyId, OrgId, new_call_id, uuid7
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.core.tenancy import BudgetRef, BudgetUnit
from omni_grpc.core.usage import Usage

WALLET = WALLETS[0]
FREE = Price(3, (Rate(Unit.PROMPT, 0, 0), Rate(Unit.COMPLETION, 0, 0)))


def dollars(number: int) -> BudgetRef:
    return BudgetRef(number, BudgetUnit.NANOUSD)


def tokens(number: int) -> BudgetRef:
    return BudgetRef(number, BudgetUnit.TOKENS)


@pytest.fixture
async def worker(rig: Rig, sql: psycopg.Connection) -> Worker:
    organisation(sql)
    worker = await rig.worker()
    await worker.grant(100_000)
    return worker


async def hold(
    worker: Worker, *budgets: BudgetRef, prompt: int = 100, output: int = 50, choices: int = 1,
    short: ShortCredits = ShortCredits.REFUSE, price: Price = UNIT_PRICE,
) -> AttemptCharge:  # fmt: skip
    """One attempt; a prompt token costs 1 nano-dollar, a token of the answer 2."""
    meter = worker.ledger.meter(new_call_id(), AccountId(WALLET), KeyId(7), budgets)
    return await meter.hold(
        model="sim/one",
        credential="house",
        price=price,
        prompt_tokens_max=prompt,
        output_tokens_max=output,
        choice_count=choices,
        short_credits=short,
        lease_lost=lambda: None,
    )


async def idle(worker: Worker) -> None:
    await until(lambda: worker.lane.depth == 0)


# --- what is held and counted -------------------------------------------------------------------
async def test_a_call_is_held_and_counted_in_each_of_its_budgets_in_its_unit(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a, b = budget(sql, "month", amount=10_000), budget(sql, "week", unit="tokens", amount=10_000)
    c = budget(sql, "total", amount=10_000)
    charge = await hold(worker, dollars(a), tokens(b), dollars(c), choices=2)
    assert [used(sql, each) for each in (a, b, c)] == [(0, 300), (0, 200), (0, 300)]
    charge.dispatched()
    charge.settle(Usage(prompt=90, completion=40, reasoning=30), AttemptOutcome.ANSWERED)
    await idle(worker)
    assert [used(sql, each) for each in (a, b, c)] == [(170, 0), (130, 0), (170, 0)]


async def test_a_call_that_fails_gives_all_budgets_back(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a, b = budget(sql, amount=10_000), budget(sql, unit="tokens", amount=10_000)
    charge = await hold(worker, dollars(a), tokens(b))
    charge.dispatched()
    charge.void(AttemptOutcome.FAILED)
    await idle(worker)
    assert used(sql, a) == used(sql, b) == (0, 0)


async def test_more_tokens_than_were_held_are_counted_up_to_the_hold(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a = budget(sql, unit="tokens", amount=150)
    charge = await hold(worker, tokens(a))
    charge.dispatched()
    charge.settle(Usage(prompt=100, completion=400), AttemptOutcome.ANSWERED)
    await idle(worker)
    assert used(sql, a) == (150, 0)


async def test_a_call_without_a_token_holds_none(worker: Worker, sql: psycopg.Connection) -> None:
    a, b = budget(sql, amount=10_000), budget(sql, unit="tokens", amount=10)
    image = Price(4, (Rate(Unit.IMAGE, 0, 40_000_000),))
    meter = worker.ledger.meter(new_call_id(), AccountId(WALLET), KeyId(7), (dollars(a), tokens(b)))
    await meter.hold_for(
        Usage(image=1), model="sim/draw", credential="house", price=image,
        lease_lost=lambda: None,
    )  # fmt: skip
    assert (used(sql, a), used(sql, b)) == ((0, 40), (0, 0))
    meter.close()
    await idle(worker)


async def test_a_teams_own_hold_counts_in_dollars_alone(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a, b = budget(sql, amount=100), budget(sql, unit="tokens", amount=1)

    async def make(amount: int) -> HoldId:
        made = await worker.ledger.create_hold(
            account_id=AccountId(WALLET), org_id=OrgId(1), key_id=KeyId(7), amount=amount,
            seconds=60, request_id=str(uuid7()), budgets=(dollars(a), tokens(b)),
        )  # fmt: skip
        return HoldId(made.id)

    first = await make(60)
    with pytest.raises(BudgetHeld):
        await make(60)
    await worker.ledger.settle_hold(
        account_id=AccountId(WALLET), org_id=OrgId(1), hold_id=first, amount=50, request_id="one"
    )
    assert used(sql, a) == (50, 0)
    with pytest.raises(BudgetExhausted):
        await make(60)
    second = await make(50)
    await worker.ledger.release_hold(
        account_id=AccountId(WALLET), org_id=OrgId(1), hold_id=second, request_id="two"
    )
    assert used(sql, a) == (50, 0)


async def test_an_operators_word_counts_the_tokens_that_it_states(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a, b = budget(sql, unit="tokens", amount=10_000), budget(sql, amount=10_000)
    charge = await hold(worker, dollars(b), tokens(a))
    charge.dispatched()
    charge.leave_unresolved()
    await idle(worker)
    (attempt,) = await worker.ledger.unresolved(None, 10)
    await worker.ledger.resolve(attempt, Resolution.settle(Usage(prompt=60, completion=7), 74))
    assert (used(sql, a), used(sql, b)) == ((67, 0), (74, 0))


# --- refused exactly at the limit ---------------------------------------------------------------
async def test_exactly_those_pass_that_fit_whichever_replica_they_reach(
    rig: Rig, worker: Worker, sql: psycopg.Connection
) -> None:
    a, b = budget(sql, unit="tokens", amount=10 * 150 + 149), budget(sql, amount=100_000)
    workers = [worker, await rig.worker(), await rig.worker()]

    async def one(number: int) -> AttemptCharge | None:
        try:
            return await hold(workers[number % 3], tokens(a), dollars(b))
        except BudgetHeld:
            return None

    charges = [charge for charge in await asyncio.gather(*map(one, range(60))) if charge]
    assert len(charges) == 10
    assert used(sql, a) == (0, 1_500)
    for charge in charges:
        charge.dispatched()
        charge.settle(Usage(prompt=100, completion=50), AttemptOutcome.ANSWERED)
    for each in workers:
        await idle(each)
    with pytest.raises(BudgetExhausted):
        await hold(worker, tokens(a), dollars(b))
    assert used(sql, a) == (1_500, 0)


async def test_who_is_refused_is_told_which_budget_and_when_it_resets(
    worker: Worker, sql: psycopg.Connection
) -> None:
    roomy, full = budget(sql, "total", amount=10_000), budget(sql, "day", amount=250)
    first = await hold(worker, dollars(roomy), dollars(full))
    with pytest.raises(BudgetHeld) as held:
        await hold(worker, dollars(roomy), dollars(full))
    assert held.value.retry_after_s
    first.dispatched()
    first.settle(Usage(prompt=100, completion=25), AttemptOutcome.ANSWERED)
    await idle(worker)
    with pytest.raises(BudgetExhausted) as caught:
        await hold(worker, dollars(roomy), dollars(full))
    facts = caught.value.metadata
    slug = sql.execute("SELECT slug FROM budget WHERE id = %s", [full]).fetchone()
    assert slug
    assert facts["budget"] == f"orgs/acme/budgets/{slug[0]}"
    assert (facts["unit"], facts["limit"], facts["spent"]) == ("nanousd", "250", "150")
    assert (facts["held"], facts["needed"]) == ("0", "200")
    reset = datetime.fromisoformat(facts["reset_time"])
    assert reset - datetime.now(UTC) <= timedelta(days=1)
    assert reset.astimezone(UTC).time().isoformat() == "00:00:00"
    assert facts["budget"] in caught.value.message


async def test_a_wallet_without_credits_is_told_before_any_budget(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a = budget(sql, amount=1)
    with pytest.raises(CreditsExhausted):
        await hold(worker, dollars(a), prompt=100_000)


async def test_an_answer_is_shortened_to_what_a_budget_covers(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a, b = budget(sql, unit="tokens", amount=130), budget(sql, amount=10_000)
    charge = await hold(worker, tokens(a), dollars(b), short=ShortCredits.SHORTEN)
    assert 29 <= charge.output_tokens_max <= 30
    assert used(sql, a)[1] >= 100 + charge.output_tokens_max
    charge.dispatched()
    charge.settle(Usage(prompt=100, completion=charge.output_tokens_max), AttemptOutcome.ANSWERED)
    await idle(worker)
    assert used(sql, a) == (100 + charge.output_tokens_max, 0)
    cut = budget(sql, amount=160)
    charge = await hold(worker, dollars(cut), choices=2, short=ShortCredits.SHORTEN)
    assert charge.output_tokens_max == 15
    charge.void(AttemptOutcome.FAILED)
    await idle(worker)


async def test_a_free_model_is_limited_by_tokens_and_not_by_dollars(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a, b = budget(sql, amount=0), budget(sql, unit="tokens", amount=200)
    charge = await hold(worker, dollars(a), tokens(b), price=FREE)
    with pytest.raises(BudgetHeld):
        await hold(worker, dollars(a), tokens(b), price=FREE, short=ShortCredits.SHORTEN)
    charge.dispatched()
    charge.settle(Usage(prompt=100, completion=50), AttemptOutcome.ANSWERED)
    await idle(worker)
    assert (used(sql, a), used(sql, b)) == ((0, 0), (150, 0))


# --- what is lost and found again ---------------------------------------------------------------
async def test_the_journal_keeps_what_a_call_counts_in_its_budgets(worker: Worker) -> None:
    legs = (Leg(3, 0, 150, BudgetUnit.TOKENS), Leg(4, 200, 200))
    op = hold_op(200, legs=legs)
    begun = decode(encode(Dispatched(op, 200, UNIT_PRICE)))
    assert isinstance(begun, Dispatched)
    assert begun.hold == op
    end = Attempt(begun, Progress(op.id, Usage(prompt=100, completion=9))).end(op.id)
    assert (end.cost, end.leg_costs, end.hold) == (118, (109,), op)
    written = decode(encode(Ended(end)))
    assert isinstance(written, Ended)
    assert written.op == end


async def test_a_hold_that_the_database_lost_is_counted_again_where_there_is_room(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a, b = budget(sql, unit="tokens", amount=10_000), budget(sql, amount=10_000)
    for number in (0, 1):
        charge = await hold(worker, tokens(a), dollars(b))
        charge.dispatched()
        sql.execute("DELETE FROM hold")
        sql.execute("UPDATE account SET debits_pending = 0")
        if number:  # now there is none: the account is charged all the same
            change(sql, a, 1)
        charge.settle(Usage(prompt=100, completion=9), AttemptOutcome.ANSWERED)
        await idle(worker)
        assert balance(sql, WALLET) == (100_000 - 118 * (number + 1), 0)
        assert (used(sql, a), used(sql, b)) == ((109, 0), (118, 0))


async def test_a_lost_hold_of_a_budget_that_is_lost_too_is_charged_all_the_same(
    worker: Worker, sql: psycopg.Connection
) -> None:
    a = budget(sql, amount=10_000)
    charge = await hold(worker, dollars(a))
    charge.dispatched()
    for table in ("hold", "budget", "budget_window", "account WHERE kind = 2"):
        sql.execute(f"DELETE FROM {table}")
    sql.execute("UPDATE account SET debits_pending = 0")
    charge.settle(Usage(prompt=100, completion=9), AttemptOutcome.ANSWERED)
    await idle(worker)
    assert balance(sql, WALLET) == (100_000 - 118, 0)


async def test_what_a_dead_worker_knew_counts_in_its_budgets(
    house: House, sql: psycopg.Connection
) -> None:
    a, b = budget(sql, unit="tokens", amount=150), budget(sql, "week", amount=200)
    legs = (Leg(a, 100, 100, BudgetUnit.TOKENS), Leg(b, 150, 150))
    victim = await house.victim()
    seen, unseen = await victim.dispatch(150, legs=legs), await victim.hold(50)
    victim.journal.progress(seen.id, Usage(prompt=60, completion=9))
    await victim.die()
    assert (used(sql, a), used(sql, b)) == ((0, 100), (0, 150))
    await house.recover()
    assert house.state(seen.id) == ("S", 78)
    assert house.state(unseen.id) == ("V", 0)
    assert (used(sql, a), used(sql, b)) == ((69, 0), (78, 0))


async def test_servers_whose_clocks_differ_spend_no_day_twice(
    rig: Rig, worker: Worker, sql: psycopg.Connection
) -> None:
    a = budget(sql, "day", amount=500)
    behind = await rig.worker(clock=HandClock())  # by half a century
    for each in (worker, behind):
        await hold(each, dollars(a))
    for each in (worker, behind):
        with pytest.raises(BudgetHeld):
            await hold(each, dollars(a))
    row = sql.execute("SELECT count(*) FROM budget_window WHERE budget_id = %s", [a]).fetchone()
    assert row == (1,)


async def test_a_worker_that_looks_finds_a_locked_window_and_parks_it_alone(
    worker: Worker, sql: psycopg.Connection, url: str
) -> None:
    a, b = budget(sql, amount=10_000), budget(sql, amount=10_000)
    running = await hold(worker, dollars(a))
    locked = sql.execute(
        "SELECT account_id FROM budget_window WHERE budget_id = %s", [a]
    ).fetchone()
    async with await psycopg.AsyncConnection.connect(url) as forgotten:
        await forgotten.execute("SELECT FROM account WHERE id = %s FOR UPDATE", locked)
        with pytest.raises(LedgerUnavailable):
            await hold(worker, dollars(a))
        other = await hold(worker, dollars(b))
        running.void(AttemptOutcome.FAILED)
        async with asyncio.timeout(0.9):
            other.dispatched()
            other.settle(Usage(prompt=1, completion=0), AttemptOutcome.ANSWERED)
            assert await other.balance() is not None
        await forgotten.rollback()
    await idle(worker)
    assert (used(sql, a), used(sql, b)) == ((0, 0), (1, 0))


async def test_a_hold_whose_end_names_no_budget_is_parked_with_its_windows(
    worker: Worker, sql: psycopg.Connection, url: str
) -> None:
    a = budget(sql, amount=10_000)
    op = hold_op(10, legs=[Leg(a, 10, 10)])
    assert (await worker.lane.hold(op)).code is Code.DONE
    await worker.lane.apply(final_op(Final.UNRESOLVED, op.id))
    async with await psycopg.AsyncConnection.connect(url) as forgotten:
        await forgotten.execute(
            "SELECT FROM account a JOIN budget_window w ON w.account_id = a.id"
            " WHERE w.budget_id = %s FOR UPDATE",
            [a],
        )
        resolved = worker.lane.apply(resolve_op(Final.SETTLE, op.id, 4))
        await until(lambda: worker.watch.parked[-1:] == [1])
        assert (await worker.lane.hold(hold_op(1))).code is Code.DONE
        await forgotten.rollback()
    assert (await resolved).code is Code.DONE
    assert used(sql, a) == (4, 0)


# --- who is told --------------------------------------------------------------------------------
def told(sql: psycopg.Connection) -> list[tuple[str, int]]:
    """What the webhook was told: events, and what was spent."""
    rows = sql.execute("SELECT body FROM webhook_delivery ORDER BY id").fetchall()
    bodies = [msgspec.json.decode(body) for (body,) in rows]
    return [(body["type"], body["data"]["spent"]) for body in bodies]


async def spend(worker: Worker, amount: int, *budgets: BudgetRef) -> None:
    charge = await hold(worker, *budgets, prompt=amount, output=0)
    charge.dispatched()
    charge.settle(Usage(prompt=amount, completion=0), AttemptOutcome.ANSWERED)
    await idle(worker)


async def test_each_threshold_is_told_once_however_many_look(
    rig: Rig, worker: Worker, sql: psycopg.Connection
) -> None:
    a = budget(sql, amount=100)
    store = BudgetStore(rig.database)
    watches = [BudgetWatch(store, worker.lane) for _ in range(3)]
    other = BudgetWatch(store, dataclasses.make_dataclass("Nothing", ["charged_budgets"])(set()))

    async def look() -> list[tuple[str, int]]:
        noted = set(worker.lane.charged_budgets)
        for watch in watches:
            worker.lane.charged_budgets = set(noted)
            await asyncio.gather(watch.look(), other.sweep())
        return told(sql)

    await spend(worker, 79, dollars(a))
    assert await look() == []
    await spend(worker, 1, dollars(a))
    assert await look() == [("budget.warning", 80)]
    await spend(worker, 19, dollars(a))
    assert len(await look()) == 1
    await spend(worker, 1, dollars(a))
    expected = [("budget.warning", 80), ("budget.exhausted", 100)]
    assert await look() == expected
    assert worker.lane.charged_budgets == set()
    # A raised limit begins anew; a lowered one is told of at once.
    change(sql, a, 110)
    change(sql, a, 200)
    assert await look() == expected
    await spend(worker, 60, dollars(a))
    expected.append(("budget.warning", 160))
    worker.lane.charged_budgets.clear()
    assert await other.sweep() == 1
    assert told(sql) == expected


async def test_a_sweep_looks_at_open_windows_of_all_kinds_in_steps(
    rig: Rig, worker: Worker, sql: psycopg.Connection
) -> None:
    kinds = [budget(sql, period, amount=10) for period in ("day", "week", "month", "total") * 3]
    for each in kinds:
        await spend(worker, 9, dollars(each))
    old = window(sql, kinds[0], datetime(2020, 1, 1, tzinfo=UTC))
    store = BudgetStore(rig.database)
    seen, after = [], ("-infinity", 0)
    while found := await store.open_windows(after, 5):
        assert len(found) <= 5
        seen += [number for _, number in found]
        after = found[-1]
    assert sorted(number for number in seen if number in kinds) == sorted(kinds)
    assert await store.tell(seen) == 12
    assert balance(sql, old) == (0, 0)
