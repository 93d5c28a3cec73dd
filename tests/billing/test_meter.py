"""The meter: one hold before each attempt, one end for each hold, whatever becomes of the call."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from ledger_rig import PRICE_BOOK, UNIT_PRICE, WALLETS, Rig, Worker, until

from omni_grpc.billing import AttemptCharge, AttemptOutcome, Meter
from omni_grpc.core.chat import ShortCredits
from omni_grpc.core.errors import CreditsExhausted, CreditsHeld
from omni_grpc.core.ids import AccountId
from omni_grpc.core.money import Price, Rate, output_tokens_covered, worst_case
from omni_grpc.core.usage import Usage

Rows = list[tuple[object, ...]]


@pytest.fixture
async def worker(rig: Rig) -> Worker:
    worker = await rig.worker()
    await worker.grant(1_000)
    return worker


async def hold(
    meter: Meter,
    *,
    prompt: int = 100,
    output: int = 50,
    choices: int = 1,
    short: ShortCredits = ShortCredits.REFUSE,
    price: Price = UNIT_PRICE,
    hold_price: Price | None = None,
    lease_lost: Callable[[], None] = lambda: None,
) -> AttemptCharge:
    return await meter.hold(
        model="sim/one",
        credential="house",
        price=price,
        hold_price=hold_price,
        prompt_tokens_max=prompt,
        output_tokens_max=output,
        choice_count=choices,
        short_credits=short,
        lease_lost=lease_lost,
    )


async def balance(worker: Worker) -> tuple[int, int, int]:
    found = await worker.ledger.balance(AccountId(WALLETS[0]))
    return found.posted, found.held, found.unresolved


async def idle(worker: Worker) -> None:
    await until(lambda: worker.lane.depth == 0)


# --- one end for each hold ----------------------------------------------------------------------
async def test_a_settled_attempt_costs_its_usage_and_frees_the_rest(worker: Worker) -> None:
    meter = worker.meter()
    attempt = await hold(meter)
    assert await balance(worker) == (1_000, 200, 0)
    attempt.dispatched()
    charged = attempt.settle(Usage(prompt=80, completion=10), AttemptOutcome.ANSWERED)
    assert charged == meter.charged_nanousd == 100
    assert await attempt.balance() == 900
    meter.close()
    await idle(worker)
    assert await balance(worker) == (900, 0, 0)


async def test_an_end_is_stated_once(worker: Worker) -> None:
    attempt = await hold(worker.meter())
    attempt.dispatched()
    attempt.settle(Usage(prompt=1), AttemptOutcome.ANSWERED)
    for end in (
        lambda: attempt.settle(Usage(prompt=1), AttemptOutcome.ANSWERED),
        lambda: attempt.void(AttemptOutcome.FAILED),
        attempt.leave_unresolved,
    ):
        with pytest.raises(RuntimeError, match="final already"):
            end()
    await idle(worker)
    assert await balance(worker) == (999, 0, 0)


async def test_closing_voids_what_was_not_sent_and_leaves_what_was_unresolved(
    worker: Worker, sql: psycopg.Connection
) -> None:
    meter = worker.meter()
    sent, unsent, settled = await hold(meter), await hold(meter), await hold(meter)
    sent.dispatched()
    settled.dispatched()
    settled.settle(Usage(prompt=5), AttemptOutcome.ANSWERED)
    meter.close()
    await idle(worker)
    assert unsent.final
    assert await balance(worker) == (995, 0, 200)
    outcomes = sql.execute("SELECT outcome::text FROM usage_record ORDER BY hold_id").fetchall()
    assert outcomes == [("F",), ("A",)]


async def test_closing_leaves_an_attempt_to_the_task_that_took_it_over(worker: Worker) -> None:
    meter = worker.meter()
    attempt = await hold(meter)
    attempt.dispatched()
    attempt.hand_over()
    meter.close()
    await idle(worker)
    assert await balance(worker) == (1_000, 200, 0)
    attempt.settle(Usage(prompt=9), AttemptOutcome.CANCELLED)
    await idle(worker)
    assert await balance(worker) == (991, 0, 0)


async def test_a_charge_is_never_above_its_hold_and_the_rest_is_a_recorded_loss(
    worker: Worker, sql: psycopg.Connection
) -> None:
    attempt = await hold(worker.meter())
    attempt.dispatched()
    assert attempt.settle(Usage(prompt=100, completion=80), AttemptOutcome.ANSWERED) == 200
    await idle(worker)
    assert await balance(worker) == (800, 0, 0)
    assert sql.execute("SELECT amount, loss FROM posting WHERE kind = 'S'").fetchone() == (200, 60)


async def test_a_usage_record_keeps_what_the_provider_said_and_the_pinned_price(
    worker: Worker, rig: Rig
) -> None:
    meter = worker.meter()
    await worker.grant(10**9)
    attempt = await hold(meter, price=PRICE_BOOK[2], prompt=10, output=10)
    running = await rig.store.usage(meter.call_id)
    assert running is not None
    assert (running.attempts[0].outcome, running.attempts[0].cost) == ("running", None)
    attempt.dispatched()
    usage = Usage(prompt=9, cached_read=0, completion=7, reasoning=3)
    cost = attempt.settle(usage, AttemptOutcome.ANSWERED)
    await idle(worker)
    record = await rig.store.usage(meter.call_id)
    assert record is not None
    assert record.cost == cost
    (found,) = record.attempts
    assert (found.number, found.outcome, found.price_version) == (1, "answered", 2)
    assert found.usage == usage  # a zero stays a zero, what was not said stays None


@pytest.mark.parametrize(
    ("output", "held", "covered"),
    [(50, 400, 50), (500, 1_000, 200)],  # what the credits cover is a matter of the hold as well
)
async def test_a_hold_is_made_at_the_dearer_price_and_charged_at_the_pinned_one(
    worker: Worker, rig: Rig, output: int, held: int, covered: int
) -> None:
    meter = worker.meter()
    dearer = Price(
        9, tuple(Rate(one.unit, 0, 2 * one.nanousd_per_mtok) for one in UNIT_PRICE.rates)
    )
    attempt = await hold(meter, output=output, short=ShortCredits.SHORTEN, hold_price=dearer)
    assert (await balance(worker), attempt.output_tokens_max) == ((1_000, held, 0), covered)
    attempt.dispatched()
    assert attempt.settle(Usage(prompt=100, completion=50), AttemptOutcome.ANSWERED) == 200
    await idle(worker)
    record = await rig.store.usage(meter.call_id)
    assert record is not None
    assert record.attempts[0].price_version == UNIT_PRICE.version


async def test_a_free_model_holds_nothing_and_still_tells_the_balance(worker: Worker) -> None:
    attempt = await hold(worker.meter(), price=PRICE_BOOK[3])
    attempt.dispatched()
    assert attempt.settle(Usage(prompt=9, completion=9), AttemptOutcome.ANSWERED) == 0
    assert await attempt.balance() == 1_000


async def test_each_attempt_has_a_hold_of_its_own(worker: Worker, rig: Rig) -> None:
    meter = worker.meter()
    refused = await hold(meter)
    refused.dispatched()
    refused.void(AttemptOutcome.REFUSED)
    answered = await hold(meter)
    answered.dispatched()
    answered.settle(Usage(prompt=10), AttemptOutcome.ANSWERED)
    await idle(worker)
    record = await rig.store.usage(meter.call_id)
    assert record is not None
    assert [(a.number, a.outcome, a.cost) for a in record.attempts] == [
        (1, "refused", 0),
        (2, "answered", 10),
    ]


# --- callers who go away ------------------------------------------------------------------------
async def test_a_call_that_is_cancelled_while_it_waits_for_its_hold_leaves_nothing(
    worker: Worker,
) -> None:
    task = asyncio.create_task(hold(worker.meter()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await idle(worker)
    assert await balance(worker) == (1_000, 0, 0)


async def test_a_call_that_is_cancelled_as_its_hold_is_granted_leaves_nothing(
    worker: Worker,
) -> None:
    """The grant is there, but the caller wakes up to its cancellation instead."""
    task = asyncio.create_task(hold(worker.meter()))
    loop = asyncio.get_running_loop()
    worker.watch.on_batch = lambda: loop.call_soon(task.cancel) and None
    with pytest.raises(asyncio.CancelledError):
        await task
    worker.watch.on_batch = lambda: None
    await idle(worker)
    assert await balance(worker) == (1_000, 0, 0)


async def test_a_hold_after_one_that_was_given_up_has_an_id_of_its_own(worker: Worker) -> None:
    """Else the void of the one would free the other, whose provider is being called."""
    meter = worker.meter()
    given_up = asyncio.create_task(hold(meter))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    attempt = await hold(meter)
    attempt.dispatched()
    await idle(worker)
    assert await balance(worker) == (1_000, 200, 0)
    attempt.settle(Usage(prompt=7), AttemptOutcome.ANSWERED)
    await idle(worker)
    assert await balance(worker) == (993, 0, 0)


async def test_a_settle_outlives_its_caller(worker: Worker) -> None:
    async def call() -> None:
        attempt = await hold(worker.meter())
        attempt.dispatched()
        attempt.settle(Usage(prompt=7), AttemptOutcome.ANSWERED)
        await asyncio.sleep(3_600)

    task = asyncio.create_task(call())
    await until(lambda: len(worker.watch.batches) == 3)
    task.cancel()
    await idle(worker)
    assert await balance(worker) == (993, 0, 0)


# --- what there is too little of ----------------------------------------------------------------
async def test_without_enough_credits_the_refusal_says_what_is_needed_and_what_is_there(
    worker: Worker,
) -> None:
    with pytest.raises(CreditsExhausted) as caught:
        await hold(worker.meter(), prompt=1_001, output=10)
    assert caught.value.metadata == {
        "needed_nanousd": "1021",
        "posted_nanousd": "1000",
        "held_nanousd": "0",
        "available_nanousd": "1000",
    }
    assert caught.value.retry_after_s is None
    assert "0.000001021 USD" in caught.value.message


async def test_credits_that_are_held_come_back_so_the_refusal_says_wait(worker: Worker) -> None:
    first = await hold(worker.meter(), prompt=900, output=0)
    with pytest.raises(CreditsHeld) as caught:
        await hold(worker.meter())
    assert caught.value.metadata == {
        "needed_nanousd": "200",
        "posted_nanousd": "1000",
        "held_nanousd": "900",
        "available_nanousd": "100",
    }
    assert caught.value.retry_after_s is not None
    first.void(AttemptOutcome.FAILED)
    await hold(worker.meter())


async def test_a_refused_hold_is_no_attempt(worker: Worker, rig: Rig) -> None:
    meter = worker.meter()
    with pytest.raises(CreditsExhausted):
        await hold(meter, prompt=1_001)
    attempt = await hold(meter)
    attempt.dispatched()
    attempt.settle(Usage(prompt=1), AttemptOutcome.ANSWERED)
    await idle(worker)
    record = await rig.store.usage(meter.call_id)
    assert record is not None
    assert [a.number for a in record.attempts] == [1]


@pytest.mark.parametrize("choices", [1, 3])
async def test_a_shortened_hold_covers_the_limit_that_it_grants(choices: int, rig: Rig) -> None:
    price = PRICE_BOOK[2]
    worker = await rig.worker(markup_ppm=70_001)
    wanted, prompt = 40, 30
    one_token = worst_case(prompt, choices, price, 70_001)
    for funds in (one_token - 1, one_token, 2 * one_token + 17, 5 * one_token, 10**9):
        wallet = WALLETS[2]
        await worker.grant(funds - await worker.available(wallet), wallet)
        meter = worker.meter(wallet)
        shorten = ShortCredits.SHORTEN
        if funds < one_token:
            with pytest.raises(CreditsExhausted) as caught:
                await hold(meter, prompt=prompt, output=wanted, choices=choices, short=shorten,
                           price=price)  # fmt: skip
            assert caught.value.metadata["needed_nanousd"] == str(one_token)
            continue
        attempt = await hold(
            meter, prompt=prompt, output=wanted, choices=choices, short=shorten, price=price
        )
        limit = attempt.output_tokens_max
        fits = output_tokens_covered(funds, prompt, wanted * choices, price, 70_001)
        assert limit == min(wanted, fits // choices) >= 1
        attempt.dispatched()
        # Everything that this limit allows is paid from the hold, none of it by the operator.
        most = Usage(prompt=prompt, completion=limit * choices, reasoning=limit * choices)
        attempt.settle(most, AttemptOutcome.ANSWERED)
        await idle(worker)
    rows = await rig.database.execute("SELECT FROM posting WHERE loss > 0")
    assert rows == 0
