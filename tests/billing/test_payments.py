"""Payments from outside: each is booked once for ever, by whichever name and to whomever."""

import asyncio
import random
from collections.abc import AsyncIterator

import psycopg
import pytest
from cut_proxy import Break, CutProxy
from ledger_rig import WALLETS, Rig, Worker, transfer_op, until
from ledger_sql import apply, codes

from omni_grpc.billing.model import LedgerEntry
from omni_grpc.billing.operations import Code
from omni_grpc.core.errors import AlreadyExists, LedgerUnavailable, RequestIdReused
from omni_grpc.core.ids import AccountId, OrgId, uuid7
from omni_grpc.core.payments import Payment

HASH = f"0x{255:064x}"
V1, V2 = Payment.named("base", HASH.upper().replace("0X", "0x")), Payment.named("eip155:8453", HASH)


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[CutProxy]:
    async with CutProxy(url) as proxy:
        yield proxy


async def pay(
    worker: Worker,
    payment: Payment = V2,
    *,
    amount: int = 70,
    wallet: int = WALLETS[0],
    request_id: str | None = None,
) -> LedgerEntry:
    return await worker.ledger.grant(
        account_id=AccountId(wallet),
        org_id=OrgId(1),
        amount=amount,
        reason="paid",
        request_id=request_id or str(uuid7()),
        payment=payment,
    )


def grants(sql: psycopg.Connection) -> list[tuple[int, int]]:
    return sql.execute(
        "SELECT wallet, amount FROM posting WHERE kind = 'G' ORDER BY entry"
    ).fetchall()


async def test_a_payment_under_two_names_is_booked_once(rig: Rig) -> None:
    worker = await rig.worker()
    first, second = await pay(worker, V1), await pay(worker, V2)
    assert first == second
    assert await worker.available() == 70


async def test_another_account_or_amount_is_refused_and_books_nothing(
    rig: Rig, sql: psycopg.Connection
) -> None:
    worker = await rig.worker()
    await pay(worker)
    for amount, wallet in ((71, WALLETS[0]), (70, WALLETS[1])):
        with pytest.raises(AlreadyExists, match="payment"):
            await pay(worker, amount=amount, wallet=wallet)
    assert grants(sql) == [(WALLETS[0], 70)]


async def test_a_request_id_stands_for_its_payment_as_well(rig: Rig) -> None:
    worker = await rig.worker()
    first = await pay(worker, request_id="one")
    assert await pay(worker, request_id="one") == first
    other = Payment.named("base", f"0x{7:064x}")
    with pytest.raises(RequestIdReused):
        await pay(worker, other, request_id="one")
    assert (await pay(worker, other)).position == 2


async def test_two_of_one_payment_never_stand_in_one_batch(
    rig: Rig, sql: psycopg.Connection
) -> None:
    worker = await rig.worker()
    entries = await asyncio.gather(*[pay(worker) for _ in range(20)])
    assert len(set(entries)) == 1
    with pytest.raises(psycopg.DatabaseError, match="payment stands twice"):
        apply(sql, [transfer_op(70, payment=V2), transfer_op(70, payment=V1)])


async def test_replicas_that_book_one_payment_at_once_book_it_once(
    rig: Rig, sql: psycopg.Connection
) -> None:
    """Payments, request ids and accounts are locked in one order, so nobody waits in a circle."""
    workers = [await rig.worker() for _ in range(3)]
    payments = [Payment.named("base", f"0x{number:064x}") for number in range(12)]
    chance = random.Random(1)

    async def present(worker: Worker) -> None:
        mine = payments[:]
        chance.shuffle(mine)
        entries = await asyncio.gather(*[pay(worker, payment) for payment in mine])
        assert {entry.amount for entry in entries} == {70}

    await asyncio.gather(*[present(worker) for worker in workers for _ in range(4)])
    assert grants(sql) == [(WALLETS[0], 70)] * 12
    deadlocks = sql.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert deadlocks == (0,)


async def test_of_two_that_are_committed_at_once_the_second_sees_the_first(
    sql: psycopg.Connection, url: str
) -> None:
    with psycopg.connect(url) as other, psycopg.connect(url, autocommit=True) as looker:
        assert codes(apply(other, [transfer_op(70, payment=V1)])) == [Code.DONE]
        waiting = asyncio.create_task(asyncio.to_thread(apply, sql, [transfer_op(70, payment=V2)]))

        def is_waiting() -> bool:
            return looker.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            ).fetchone() == (1,)

        await until(is_waiting)
        other.commit()
        assert codes(await waiting) == [Code.REQUEST_REPEATED]
    assert grants(sql) == [(WALLETS[0], 70)]


async def test_one_that_was_rolled_back_is_free(sql: psycopg.Connection, url: str) -> None:
    with psycopg.connect(url) as other:
        apply(other, [transfer_op(70, payment=V1)])
        other.rollback()
    assert codes(apply(sql, [transfer_op(70, payment=V2)])) == [Code.DONE]


@pytest.mark.parametrize("broken", list(Break))
async def test_a_payment_is_booked_once_wherever_the_connection_breaks(
    broken: Break, rig: Rig, proxy: CutProxy, sql: psycopg.Connection
) -> None:
    far, near = await rig.worker(url=proxy.url, statement_s=0.4), await rig.worker()
    proxy.arm(broken)
    with pytest.raises(LedgerUnavailable):
        await pay(far, V1)
    entry = await pay(near, V2)
    await until(lambda: far.lane.connected)
    assert await pay(far, V1) == entry
    assert grants(sql) == [(WALLETS[0], 70)]
