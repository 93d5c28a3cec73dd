"""Counts that few attempts have: kept with those that have them, at no cost for the others."""

import dataclasses
from collections.abc import Mapping, Sequence

import psycopg
import pytest
from ledger_rig import Rig, Worker, final_op, hold_op, resolve_op, transfer_op, until
from ledger_sql import EPOCH, OWNER, apply, codes

from omni_grpc.billing import AttemptOutcome
from omni_grpc.billing.batch import statement
from omni_grpc.billing.invariants import check
from omni_grpc.billing.operations import Code, Final, FinalOp
from omni_grpc.core.errors import CreditsExhausted
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.storage import Database

TOKENS = Price(
    1,
    tuple(
        Rate(unit, 0, 1_000_000)
        for unit in (
            Unit.PROMPT, Unit.PROMPT_IMAGE, Unit.COMPLETION, Unit.COMPLETION_IMAGE,
            Unit.CACHED_WRITE, Unit.CACHED_WRITE_1H,
        )
    ),
)  # fmt: skip
OTHERS = Price(
    2,
    (
        Rate(Unit.IMAGE, 0, 10_000_000),
        Rate(Unit.SECOND, 0, 20_000_000),
        Rate(Unit.CHARACTER, 0, 30_000_000),
    ),
)


async def prices(versions: Sequence[int]) -> Mapping[int, Price]:
    return {price.version: price for price in (TOKENS, OTHERS) if price.version in versions}


@pytest.fixture
async def worker(rig: Rig) -> Worker:
    rig.books_are_clean = False  # its own check knows these prices
    worker = await rig.worker()
    await worker.grant(1_000)
    return worker


def used(op: FinalOp, usage: Usage) -> FinalOp:
    return dataclasses.replace(op, usage=usage)


# --- the meter ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("price", "most", "usage", "cost"),
    [
        (OTHERS, Usage(image=4), Usage(image=3), 30),
        (OTHERS, Usage(second=5), Usage(second=2, source=UsageSource.ESTIMATE), 40),
        (OTHERS, Usage(character=7), Usage(character=7), 210),
        (
            TOKENS,
            Usage(prompt=100, completion=200),
            Usage(prompt=90, prompt_image=80, completion=150, completion_image=140),
            240,
        ),
        (
            TOKENS,
            Usage(prompt=100, completion=0),
            Usage(prompt=90, cached_write=50, cached_write_1h=20, completion=0),
            90,
        ),
    ],
)
async def test_an_attempt_is_held_charged_and_recorded_in_its_own_units(
    price: Price, most: Usage, usage: Usage, cost: int, worker: Worker, rig: Rig,
    database: Database,
) -> None:  # fmt: skip
    meter = worker.meter()
    attempt = await meter.hold_for(
        most, model="sim/one", credential="house", price=price, lease_lost=lambda: None
    )
    attempt.dispatched()
    assert attempt.settle(usage, AttemptOutcome.ANSWERED) == cost
    await until(lambda: worker.lane.depth == 0)
    record = await rig.store.usage(meter.call_id)
    assert record is not None
    assert record.attempts[0].usage == usage
    assert record.cost == cost
    assert await check(database, prices=prices) == []


async def test_more_images_than_the_credits_cover_are_not_held(worker: Worker) -> None:
    meter = worker.meter()
    with pytest.raises(CreditsExhausted):
        await meter.hold_for(
            Usage(image=101),
            model="sim/one",
            credential="house",
            price=OTHERS,
            lease_lost=lambda: None,
        )


async def test_the_doctor_finds_a_count_that_was_changed(
    worker: Worker, database: Database, sql: psycopg.Connection
) -> None:
    attempt = await worker.meter().hold_for(
        Usage(image=4), model="sim/one", credential="house", price=OTHERS, lease_lost=lambda: None
    )
    attempt.dispatched()
    attempt.settle(Usage(image=3), AttemptOutcome.ANSWERED)
    await until(lambda: worker.lane.depth == 0)
    sql.execute("UPDATE usage_record SET rare_counts[4] = 4")
    assert {str(one.invariant) for one in await check(database, prices=prices)} == {"I10"}


# --- the database function ------------------------------------------------------------------------
def test_the_parameter_is_sent_only_where_an_attempt_has_such_counts() -> None:
    op = hold_op(10)
    plain = final_op(Final.SETTLE, op.id, 6)
    text, values = statement(OWNER, EPOCH, 0, [plain])
    assert "f_rare_counts" not in text
    rare, more = statement(OWNER, EPOCH, 0, [used(plain, Usage(image=1, second=2))])
    assert rare.count("f_rare_counts") == 1
    assert len(more) == len(values) + 1
    assert '{"{NULL,NULL,NULL,1,2,NULL}"}' in more


def test_attempts_with_and_without_them_settle_in_one_batch(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(100)])
    holds = [hold_op(10) for _ in range(3)]
    apply(sql, holds)
    finals = [final_op(Final.SETTLE, op.id, 6) for op in holds]
    finals[1] = used(finals[1], Usage(image=6))
    assert codes(apply(sql, finals)) == [Code.DONE] * 3
    found = dict(sql.execute("SELECT hold_id, rare_counts FROM usage_record").fetchall())
    assert [found[op.id] for op in holds] == [None, [None, None, None, 6, None, None], None]


def test_a_late_settle_brings_its_own_counts(sql: psycopg.Connection) -> None:
    apply(sql, [transfer_op(100)])
    op = hold_op(10)
    apply(sql, [op])
    apply(sql, [final_op(Final.UNRESOLVED, op.id)])
    apply(sql, [resolve_op(Final.VOID, op.id)])
    late = used(final_op(Final.SETTLE, op.id, 6), Usage(second=6))
    assert codes(apply(sql, [late])) == [Code.DONE]
    (counts,) = sql.execute("SELECT rare_counts FROM usage_record").fetchone() or (None,)
    assert counts == [None, None, None, None, 6, None]
