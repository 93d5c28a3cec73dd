"""Traffic in which everything that can happen to the books happens, for the doctor to look at."""

import asyncio
import random
from uuid import UUID

import psycopg
from ledger_rig import (
    BUDGETS,
    PAST,
    PRICE_BOOK,
    WALLETS,
    Rig,
    Worker,
    chat_end,
    chat_key,
    expiry_op,
    final_op,
    hold_op,
    refund_op,
    resolve_op,
    transfer_op,
    until,
)
from patient_database import patient_database

from omni_grpc.billing import AttemptOutcome
from omni_grpc.billing.operations import ChatEnd, Code, Final, HoldOp, Leg, Origin
from omni_grpc.core.chat import ShortCredits
from omni_grpc.core.errors import CreditsExhausted, CreditsHeld
from omni_grpc.core.ids import AccountId, KeyId, OrgId, uuid7
from omni_grpc.core.payments import Payment
from omni_grpc.core.usage import Usage

HELD = (Code.DONE, Code.ALREADY)


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


async def named_chat(worker: Worker, wallet: int, chance: random.Random) -> None:
    """A call that its caller named, with an answer that is kept; or one that gave none."""
    key = chat_key(f"chat {chance.randrange(40)}")
    op = hold_op(50, wallet=wallet, request=key)
    if (await worker.lane.hold(op)).code is not Code.DONE:
        return
    if chance.random() < 0.2:
        ends = chat_end(key, op.id, ChatEnd.FREE)
        await worker.lane.apply(final_op(Final.VOID, op.id, ends=ends))
    else:
        ends = chat_end(key, op.id, ChatEnd.DONE, b"sealed")
        await worker.lane.apply(final_op(Final.SETTLE, op.id, chance.choice((0, 9)), ends=ends))


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
    """A hold on a budget as well: resolved by the operator and settled late; an estimate that is
    corrected; refunded in parts."""
    op = hold_op(50, wallet=wallet, legs=[Leg(AccountId(chance.choice(BUDGETS)), 50, 50)])
    if (await worker.lane.hold(op)).code not in HELD:
        return
    if chance.random() < 0.4:
        await worker.lane.apply(final_op(Final.UNRESOLVED, op.id))
        kind = chance.choice((Final.VOID, Final.WRITE_OFF))
        cost = 45 if kind is Final.WRITE_OFF else 0
        await worker.lane.apply(resolve_op(kind, op.id, cost))
    if chance.random() < 0.8:
        cost = chance.choice((0, 30, 60))
        await worker.lane.apply(
            final_op(Final.SETTLE, op.id, cost, is_estimate=chance.random() < 0.5)
        )
        await worker.lane.apply(final_op(Final.SETTLE, op.id, cost + chance.choice((0, 7, 70))))
    for _ in range(chance.randrange(3)):
        await worker.lane.apply(refund_op(chance.choice((1, 13)), op.id, wallet=wallet))


async def grants(worker: Worker, wallet: int, chance: random.Random) -> None:
    """A grant, or one whose time is over before it is spent."""
    if chance.random() < 0.5:
        await worker.grant(chance.choice((1_000, 50_000_000)), wallet)
        return
    grant = transfer_op(chance.choice((7, 1_000)), wallet=wallet, expire_time=PAST)
    await worker.lane.apply(grant)
    await worker.lane.apply(expiry_op(grant.id, wallet=wallet))


async def some_traffic(worker: Worker, chance: random.Random, count: int) -> None:
    kinds = (grants, chat, chat, chat, chat, team_hold, team_hold, budgeted, budgeted, named_chat)
    for _ in range(count):
        await chance.choice(kinds)(worker, chance.choice(WALLETS[:3]), chance)


# --- books in which everything has happened -----------------------------------------------------
async def fill(url: str) -> None:
    async with patient_database(url, "fill") as database:
        rig = Rig(url, database)
        workers = [await rig.worker(markup_ppm=55_000) for _ in range(2)]
        for wallet in WALLETS[:3]:
            await workers[0].grant(100_000_000, wallet)
        for days_ago in (2, 1):
            await asyncio.gather(
                *[some_traffic(workers[n % 2], random.Random(n + days_ago), 8) for n in range(20)]
            )
            take_snapshots(url, days_ago)
        await each_once(workers[0])
        await workers[0].reaper.reap()
        await until(lambda: all(worker.lane.depth == 0 for worker in workers))
        await rig.close()


def take_snapshots(url: str, days_ago: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SELECT ledger_snapshot(9223372036854775807, 10000)")
        connection.execute(
            "UPDATE account_snapshot SET day = day - %s"
            " WHERE day = (clock_timestamp() AT TIME ZONE 'UTC')::date",
            [days_ago],
        )


PAYMENT = Payment("stripe:live", "pi_1")
REFUNDED, CHEAP, CORRECTED, LATE, WRITTEN_OFF = (UUID(int=(n << 4) | 1) for n in range(1, 6))
"""Attempts that every corruption of one wants to find: what happened to each is its name."""

WRITTEN_OFF_FOR_GOOD = UUID(int=(6 << 4) | 1)


async def each_once(worker: Worker) -> None:
    """Each kind by hand, so that every corruption has a row to corrupt."""
    lane, wallet = worker.lane, WALLETS[0]
    account, org = AccountId(wallet), OrgId(1)
    await worker.grant(100_000_000)
    held = await worker.ledger.create_hold(
        account_id=account, org_id=org, key_id=KeyId(7), amount=1_000, seconds=600,
        request_id="settled hold",
    )  # fmt: skip
    await worker.ledger.settle_hold(
        account_id=account, org_id=org, hold_id=held.id, amount=400, request_id="settle"
    )
    budget = Leg(AccountId(BUDGETS[0]), 50, 50)

    async def hold(hold_id: UUID, *legs: Leg) -> HoldOp:
        op = hold_op(50, hold_id=hold_id, legs=legs)
        assert (await lane.hold(op)).code is Code.DONE
        return op

    await hold(REFUNDED, budget)
    await lane.apply(final_op(Final.SETTLE, REFUNDED, 40))
    await lane.apply(refund_op(20, REFUNDED))
    await lane.apply(transfer_op(11, payment=PAYMENT))
    await hold(CHEAP)
    await lane.apply(final_op(Final.SETTLE, CHEAP, 5))
    await hold(CORRECTED)
    await lane.apply(final_op(Final.SETTLE, CORRECTED, 10, is_estimate=True))
    await lane.apply(final_op(Final.SETTLE, CORRECTED, 30))
    for attempt in (LATE, WRITTEN_OFF, WRITTEN_OFF_FOR_GOOD):
        await hold(attempt)
        await lane.apply(final_op(Final.UNRESOLVED, attempt))
    await lane.apply(resolve_op(Final.VOID, LATE))
    await lane.apply(resolve_op(Final.WRITE_OFF, WRITTEN_OFF, 35))
    await lane.apply(resolve_op(Final.WRITE_OFF, WRITTEN_OFF_FOR_GOOD, 45))
    for attempt in (LATE, WRITTEN_OFF):
        await lane.apply(final_op(Final.SETTLE, attempt, 30))
    expired, expiring = (transfer_op(70, wallet=wallet, expire_time=PAST) for wallet in WALLETS[:2])
    await lane.apply(expired)
    await lane.apply(expiring)
    await lane.apply(expiry_op(expired.id))
    key = chat_key("answered")
    chat_hold = hold_op(50, request=key)
    await lane.hold(chat_hold)
    done = chat_end(key, chat_hold.id, ChatEnd.DONE, b"sealed")
    await lane.apply(final_op(Final.SETTLE, chat_hold.id, 5, ends=done))
