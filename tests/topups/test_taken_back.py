"""Payments that are taken back and given back again, and cards that can be charged no more."""

from typing import Any

import pytest
from test_stripe_cards import TEN, Shop, make_shop, shop

from omni_grpc.billing.invariants import check
from omni_grpc.catalog import CatalogStore
from omni_grpc.core.errors import ProviderUnavailable
from omni_grpc.topups import State, TopUp

__all__ = ("shop",)


async def paid(shop: Shop) -> tuple[TopUp, str]:
    """A top-up of ten dollars that was paid, and its intent."""
    top_up = await shop.begin()
    intent = shop.stripe.pay(top_up.reference)["payment_intent"]
    return await shop.top_ups.look(top_up), intent


async def state(shop: Shop, top_up: TopUp) -> tuple[State, int, int]:
    """How it stands, what it says was taken back, and the balance."""
    found = await shop.now(top_up)
    return found.state, found.reversed, await shop.balance()


def happen(shop: Shop, kind: str, thing: dict[str, Any], **fields: Any) -> None:
    thing |= fields
    shop.stripe.books.happen(kind, thing)


async def test_a_payment_is_refunded_after_its_dispute_was_won(shop: Shop) -> None:
    top_up, intent = await paid(shop)
    dispute = shop.stripe.dispute(intent)
    await shop.tell("charge.dispute.funds_withdrawn")
    shop.stripe.win(dispute["id"])
    await shop.tell("charge.dispute.funds_reinstated", 2)
    assert await state(shop, top_up) == (State.SUCCEEDED, 0, TEN)
    shop.stripe.refund(intent)
    await shop.tell("refund.created", 2)
    assert await state(shop, top_up) == (State.REVERSED, TEN, 0)
    await shop.desk.catch_up()
    assert await state(shop, top_up) == (State.REVERSED, TEN, 0)


async def test_a_refund_that_failed_later_gives_back(shop: Shop) -> None:
    top_up, intent = await paid(shop)
    refund = shop.stripe.refund(intent, 400)
    await shop.tell("refund.created")
    assert await state(shop, top_up) == (State.SUCCEEDED, 4_000_000_000, TEN - 4_000_000_000)
    happen(shop, "refund.failed", refund, status="failed")
    await shop.tell("refund.failed", 2)
    await shop.desk.catch_up()
    assert await state(shop, top_up) == (State.SUCCEEDED, 0, TEN)


async def test_a_refund_that_failed_before_it_was_booked_changes_nothing(
    shop: Shop,
) -> None:
    top_up, intent = await paid(shop)
    happen(shop, "refund.updated", shop.stripe.refund(intent), status="failed")
    await shop.desk.catch_up()
    assert await state(shop, top_up) == (State.SUCCEEDED, 0, TEN)


async def test_a_dispute_in_another_currency_takes_all_of_it(shop: Shop) -> None:
    top_up, intent = await paid(shop)
    dispute = shop.stripe.dispute(intent)
    happen(shop, "charge.dispute.funds_withdrawn", dispute, amount=920, currency="eur")
    await shop.tell("charge.dispute.funds_withdrawn")
    assert await state(shop, top_up) == (State.REVERSED, TEN, 0)


async def test_a_dispute_while_calls_hold_what_was_bought_is_no_fault_of_the_books(
    shop: Shop,
) -> None:
    _, intent = await paid(shop)
    of = {"account_id": shop.org.account_id, "org_id": shop.org.org_id}
    hold = await shop.rooms.ledger.create_hold(
        **of, key_id=1, amount=7_000_000_000, seconds=60, request_id="hold"
    )
    shop.stripe.dispute(intent)
    await shop.tell("charge.dispute.funds_withdrawn")
    database = shop.rooms.database
    assert await check(database, prices=CatalogStore(database).prices) == []
    await shop.rooms.ledger.settle_hold(
        **of, hold_id=hold.id, amount=7_000_000_000, request_id="settle"
    )
    assert await shop.balance() == -7_000_000_000


# --- saved cards ----------------------------------------------------------------------------------
async def test_two_servers_keep_a_months_most_together(shop: Shop) -> None:
    await shop.saved_card()
    await shop.automatic_at(10 * TEN, month_max=TEN)
    (seen,) = await shop.automatic.due(20)  # by the one that comes second
    other = make_shop(shop.rooms, shop.org, shop.stripe)
    await other.desk.buy_for_low()
    await other.desk.close()
    made = await shop.top_ups.create_automatic(seen.org_id, seen.account_id, seen.amount)
    assert (made, await shop.balance()) == (None, 2 * TEN)


async def test_what_was_bought_and_disputed_counts_in_its_month(shop: Shop) -> None:
    await shop.saved_card()
    await shop.automatic_at(2 * TEN, month_max=TEN)
    await shop.desk.buy_for_low()
    (top_up, _) = await shop.top_ups.of_account(shop.org.account_id, None, 2)
    shop.stripe.dispute(top_up.payment_id)
    await shop.tell("charge.dispute.funds_withdrawn")
    assert await shop.balance() == TEN
    await shop.automatic_at(2 * TEN, month_max=TEN)
    assert await shop.desk.buy_for_low() == 0


@pytest.mark.parametrize("how", ["refund", "dispute"])
async def test_what_is_taken_back_is_not_charged_anew_by_itself(shop: Shop, how: str) -> None:
    await shop.saved_card()
    await shop.automatic_at(TEN)
    (top_up,) = await shop.top_ups.of_account(shop.org.account_id, None, 2)
    getattr(shop.stripe, how)(top_up.payment_id)
    await shop.desk.catch_up()
    assert (await shop.balance(), await shop.desk.buy_for_low()) == (0, 0)
    setting = await shop.automatic.get(shop.org.org_id)
    assert (setting.active, setting.fault) == (False, f"The payment was {how.rstrip('e')}ed.")


async def test_a_suspended_organisation_buys_nothing(shop: Shop) -> None:
    await shop.saved_card()
    await shop.automatic_at(2 * TEN)
    (seen,) = await shop.automatic.due(20)
    await shop.rooms.database.execute("UPDATE org SET suspend_time = clock_timestamp()")
    assert await shop.desk.buy_for_low() == 0
    assert await shop.top_ups.create_automatic(seen.org_id, seen.account_id, seen.amount) is None


async def test_a_saved_card_that_is_gone_stops_the_buying_and_says_why(
    shop: Shop,
) -> None:
    await shop.saved_card()
    await shop.automatic_at(2 * TEN)
    shop.stripe.books.saved.clear()
    await shop.desk.buy_for_low()
    setting = await shop.automatic.get(shop.org.org_id)
    assert not setting.active
    assert setting.fault == "The saved card can be charged no more; save one anew."
    assert await shop.desk.buy_for_low() == 0


async def test_a_charge_that_is_heard_of_after_a_day_is_credited_and_not_made_again(
    shop: Shop,
) -> None:
    await shop.saved_card()
    await shop.automatic_at(2 * TEN)
    shop.stripe.accidents.failures = 3
    with pytest.raises(ProviderUnavailable):
        await shop.desk.buy_for_low()
    await shop.rooms.database.execute(
        """
        UPDATE top_up SET check_time = clock_timestamp(),
               expire_time = clock_timestamp() - interval '1 second' WHERE automatic;
        UPDATE auto_top_up SET active = false
        """
    )
    shop.stripe._answers.clear()  # as Stripe forgets its idempotency keys
    await shop.top_ups.look_at_due()
    assert await shop.balance() == TEN
    await shop.tell("payment_intent.succeeded")
    charges = [one for one in shop.stripe.books.intents.values() if one["status"] == "succeeded"]
    assert (len(charges), await shop.balance()) == (2, 2 * TEN)
