"""USDC: paid once and credited once, in either version, whatever the facilitator does."""

import asyncio
from datetime import timedelta

import pytest
from x402_rig import (
    TEN,
    TEN_UNITS,
    Shop,
    blind,
    facilitator,
    org,
    rewrapped,
    shop,
    topup_url,
    until,
)

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.simulator.facilitator import Accident
from omni_grpc.topups import State

__all__ = ("blind", "facilitator", "org", "shop", "topup_url")
pytestmark = pytest.mark.filterwarnings("ignore:Client is deprecated")

VERSIONS = pytest.mark.parametrize("version", [1, 2])


async def paid_once(shop: Shop, units: int = TEN_UNITS) -> None:
    assert shop.arrived() == units
    assert await shop.credited() == units * 1_000


# --- the way it should go -------------------------------------------------------------------------
@VERSIONS
async def test_a_payment_buys_what_arrived(shop: Shop, version: int) -> None:
    top_up = await shop.begin()
    assert top_up.state is State.OPEN
    done = await shop.confirm(top_up, await shop.signed(top_up, version))
    assert (done.state, done.credited, done.message) == (State.SUCCEEDED, TEN, "")
    assert done.network == "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
    assert done.payer == shop.payer.address
    assert shop.facilitator.chain.landed(done.payment_id) is not None
    await paid_once(shop)


async def test_the_facilitators_word_is_enough_where_no_node_is_set(blind: Shop) -> None:
    top_up = await blind.begin()
    done = await blind.confirm(top_up, await blind.signed(top_up))
    assert (done.state, done.credited) == (State.SUCCEEDED, TEN)
    await paid_once(blind)


@pytest.mark.parametrize("first", [1, 2])
async def test_one_payment_presented_in_both_versions_is_one_payment(
    shop: Shop, first: int
) -> None:
    top_up = await shop.begin()
    text = await shop.signed(top_up, first)
    done = await shop.confirm(top_up, text)
    again = await shop.confirm(top_up, rewrapped(text, shop.offer(top_up, 3 - first)))
    assert again == done
    assert shop.facilitator.settle_count == 1
    await paid_once(shop)


async def test_the_same_payment_sent_many_times_at_once_is_settled_and_credited_once(
    shop: Shop,
) -> None:
    top_up = await shop.begin()
    text = await shop.signed(top_up, 2)
    other = rewrapped(text, shop.offer(top_up, 1))
    await asyncio.gather(*(shop.confirm(top_up, one) for one in [text, other] * 4))
    assert (await shop.look(top_up)).state is State.SUCCEEDED
    await paid_once(shop)


async def test_a_second_payment_for_a_paid_top_up_is_not_sent(shop: Shop) -> None:
    top_up = await shop.begin()
    first, second = await shop.signed(top_up), await shop.signed(top_up, units=TEN_UNITS + 1)
    done = await shop.confirm(top_up, first)
    assert await shop.confirm(top_up, second) == done
    await paid_once(shop)


async def test_more_than_was_asked_is_credited_and_said(shop: Shop) -> None:
    top_up = await shop.begin()
    done = await shop.confirm(top_up, await shop.signed(top_up, units=2 * TEN_UNITS + 1))
    assert (done.state, done.credited) == (State.SUCCEEDED, 2 * TEN + 1_000)
    assert done.message == "20.000001 USD arrived instead of 10 USD, and were credited."
    await paid_once(shop, 2 * TEN_UNITS + 1)


async def test_less_than_was_asked_is_refused_and_nothing_is_taken(shop: Shop) -> None:
    top_up = await shop.begin()
    left = await shop.confirm(top_up, await shop.signed(top_up, units=TEN_UNITS - 1))
    assert left.state is State.OPEN
    assert "amount_insufficient" in left.message
    await paid_once(shop, 0)
    assert (await shop.confirm(top_up, await shop.signed(top_up))).state is State.SUCCEEDED


async def test_less_that_a_facilitator_took_all_the_same_is_credited_and_said(shop: Shop) -> None:
    shop.facilitator.any_amount = True
    top_up = await shop.begin()
    done = await shop.confirm(top_up, await shop.signed(top_up, units=TEN_UNITS // 2))
    assert (done.state, done.credited) == (State.SUCCEEDED, TEN // 2)
    assert done.message == "5 USD arrived instead of 10 USD, and were credited."
    await paid_once(shop, TEN_UNITS // 2)


async def test_an_empty_wallet_is_told_so_and_may_try_again(shop: Shop) -> None:
    top_up = await shop.begin(amount=200 * TEN)
    left = await shop.confirm(top_up, await shop.signed(top_up))
    assert left.state is State.OPEN
    assert "transaction_simulation_failed" in left.message
    shop.facilitator.chain.give(shop.payer.address, 200 * TEN_UNITS)
    done = await shop.confirm(top_up, await shop.signed(top_up))
    assert (done.state, done.credited) == (State.SUCCEEDED, 200 * TEN)


# --- a facilitator that fails ---------------------------------------------------------------------
SETTLED = [
    (Accident.LOST, 1),
    (Accident.TWICE, 2),
    (Accident.ERROR_AFTER, 1),
    (Accident.UNKNOWN, 2),
]
"""Accidents after which the money has moved and nobody says so, in one version each."""


@pytest.mark.parametrize(("accident", "version"), [*SETTLED, (Accident.WRONG_NETWORK, 2)])
async def test_what_settled_without_a_word_is_seen_on_the_chain_at_once(
    shop: Shop, accident: Accident, version: int
) -> None:
    shop.facilitator.strike(accident)
    top_up = await shop.begin()
    done = await shop.confirm(top_up, await shop.signed(top_up, version))
    assert (done.state, done.credited) == (State.SUCCEEDED, TEN)
    await paid_once(shop)


@pytest.mark.parametrize(("accident", "version"), SETTLED)
async def test_without_a_node_it_stays_unknown_and_no_other_payment_is_asked_for(
    blind: Shop, accident: Accident, version: int
) -> None:
    blind.facilitator.strike(accident)
    top_up = await blind.begin()
    text = await blind.signed(top_up, version)
    assert (await blind.confirm(top_up, text)).state is State.PENDING
    for _ in range(3):
        assert (await blind.look(top_up)).state is State.PENDING
        assert (await blind.confirm(top_up, text)).state is State.PENDING
        other = await blind.signed(top_up, units=TEN_UNITS + 1)
        assert (await blind.confirm(top_up, other)).state is State.PENDING
    assert blind.arrived() == TEN_UNITS
    assert await blind.credited() == 0


async def test_a_late_answer_comes_after_the_chain_has_told(shop: Shop) -> None:
    shop.facilitator.strike(Accident.LATE)
    top_up = await shop.begin()
    text = await shop.signed(top_up)
    waiting = asyncio.create_task(shop.confirm(top_up, text))
    await until(lambda: shop.arrived() == TEN_UNITS)
    assert (await shop.confirm(top_up, text)).state is State.SUCCEEDED
    await paid_once(shop)
    shop.facilitator.release()
    assert (await waiting).state is State.SUCCEEDED
    await paid_once(shop)


async def test_a_settle_that_never_answers_is_sent_again_and_lands_once(shop: Shop) -> None:
    shop.facilitator.strike(Accident.NEVER)
    top_up = await shop.begin()
    text = await shop.signed(top_up)
    assert (await shop.confirm(top_up, text)).state is State.PENDING
    assert (await shop.look(top_up)).state is State.SUCCEEDED
    await paid_once(shop)


@VERSIONS
async def test_a_payment_that_never_reached_the_chain_fails_once_it_cannot_any_more(
    shop: Shop, version: int
) -> None:
    for _ in range(2):
        shop.facilitator.strike(Accident.ERROR_BEFORE)
    top_up = await shop.begin()
    text = await shop.signed(top_up, version)
    assert (await shop.confirm(top_up, text)).state is State.PENDING
    shop.facilitator.expire()
    assert (await shop.look(top_up)).state is State.PENDING  # too early to be sure
    shop.clock.ahead += timedelta(seconds=200)
    left = await shop.look(top_up)
    assert left.state is State.OPEN
    assert left.message == "The payment expired before it reached the chain."
    await paid_once(shop, 0)
    done = await shop.confirm(top_up, await shop.signed(top_up, version))
    assert done.state is State.SUCCEEDED
    await paid_once(shop)


@VERSIONS
async def test_pending_is_not_final_and_ends_when_it_lands(shop: Shop, version: int) -> None:
    shop.facilitator.strike(Accident.PENDING)
    top_up = await shop.begin()
    text = await shop.signed(top_up, version)
    assert (await shop.confirm(top_up, text)).state is State.PENDING
    assert (await shop.confirm(top_up, text)).state is State.PENDING
    shop.facilitator.land()
    assert (await shop.look(top_up)).state is State.SUCCEEDED
    await paid_once(shop)


async def test_pending_ends_without_a_node_too_where_the_facilitator_remembers(
    blind: Shop,
) -> None:
    blind.facilitator.strike(Accident.PENDING)
    top_up = await blind.begin()
    assert (await blind.confirm(top_up, await blind.signed(top_up))).state is State.PENDING
    blind.facilitator.land()
    assert (await blind.look(top_up)).state is State.SUCCEEDED
    await paid_once(blind)


async def test_pending_that_the_chain_drops_fails_once_it_expired(shop: Shop) -> None:
    shop.facilitator.strike(Accident.PENDING)
    top_up = await shop.begin()
    assert (await shop.confirm(top_up, await shop.signed(top_up))).state is State.PENDING
    shop.facilitator.drop()
    shop.facilitator.expire()
    shop.clock.ahead += timedelta(seconds=200)
    assert (await shop.look(top_up)).state is State.OPEN
    await paid_once(shop, 0)


async def test_a_transaction_that_is_on_no_chain_buys_nothing(shop: Shop) -> None:
    shop.facilitator.strike(Accident.FORGED)
    top_up = await shop.begin()
    assert (await shop.confirm(top_up, await shop.signed(top_up))).state is State.PENDING
    assert await shop.credited() == 0
    assert (await shop.look(top_up)).state is State.SUCCEEDED  # it was sent again, truly
    await paid_once(shop)


# --- a service that dies --------------------------------------------------------------------------
@VERSIONS
async def test_a_payment_that_was_taken_and_not_sent_is_sent_by_the_next_look(
    shop: Shop, version: int
) -> None:
    top_up = await shop.begin()
    presented = shop.method.read(top_up, await shop.signed(top_up, version))
    assert await shop.top_ups._store.begin(top_up, presented, 5.0) is not None
    assert (await shop.look(top_up)).state is State.SUCCEEDED
    await paid_once(shop)


@VERSIONS
async def test_a_payment_that_settled_and_was_not_credited_is_credited_by_the_next_look(
    shop: Shop, version: int
) -> None:
    top_up = await shop.begin()
    presented = shop.method.read(top_up, await shop.signed(top_up, version))
    begun = await shop.top_ups._store.begin(top_up, presented, 5.0)
    assert begun is not None
    await shop.method.settle(begun)
    assert await shop.credited() == 0
    await asyncio.gather(*(shop.look(top_up) for _ in range(4)))  # of several servers
    assert (await shop.now(top_up)).state is State.SUCCEEDED
    assert shop.facilitator.settle_count == 1
    await paid_once(shop)


# --- what is no payment for it --------------------------------------------------------------------
async def test_a_payment_for_another_top_up_is_refused_before_it_is_sent(shop: Shop) -> None:
    one, other = await shop.begin("one"), await shop.begin("two")
    with pytest.raises(FieldInvalid, match="memo is not this top-up's id"):
        await shop.confirm(one, await shop.signed(other))
    assert shop.facilitator.settle_count == 0
    assert (await shop.now(one)).state is State.OPEN
