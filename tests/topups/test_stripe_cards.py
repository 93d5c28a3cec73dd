"""Cards: paid once and credited once, whatever becomes of Stripe's events."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from psycopg.rows import scalar_row

from omni_grpc.audit import Actor
from omni_grpc.cli.opening import Rooms
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.errors import (
    FieldInvalid,
    NotFound,
    OmniError,
    ProviderUnavailable,
    RateLimited,
    RequestIdReused,
)
from omni_grpc.identity import Org
from omni_grpc.simulator.stripe import StripeSimulator
from omni_grpc.topups import AutoStore, CardDesk, Method, State, TopUp, TopUps, TopUpStore
from omni_grpc.topups.stripe_cards import StripeCards

TEN = 10_000_000_000


@dataclass
class Shop:
    """A service that sells credits to `org`, and Stripe."""

    rooms: Rooms
    org: Org
    stripe: StripeSimulator
    top_ups: TopUps
    desk: CardDesk
    automatic: AutoStore

    async def begin(self, amount: int = TEN, request_id: str = "one", **more: Any) -> TopUp:
        return await self.top_ups.create(
            Actor(name="a test"),
            org_id=self.org.org_id,
            account_id=self.org.account_id,
            amount=amount,
            method=Method.CARD,
            request_id=request_id,
            return_url="https://example.com/done",
            **more,
        )

    async def now(self, top_up: TopUp) -> TopUp:
        found = await self.top_ups.find(top_up.id)
        assert found is not None
        return found

    async def balance(self) -> int:
        return (await self.rooms.ledger.balance(self.org.account_id)).posted

    async def tell(self, kind: str, times: int = 1) -> None:
        """Brings the newest event of a kind, as a webhook does."""
        event = next(e for e in reversed(self.stripe.books.events) if e["type"] == kind)
        payload = msgspec.json.encode(event)
        for _ in range(times):
            await self.desk.told(payload, self.stripe.signed(payload))

    async def saved_card(self, card: str = "4242") -> None:
        top_up = await self.begin(request_id=f"save {card}", save_card=True)
        self.stripe.pay(top_up.reference, card)
        await self.top_ups.look(top_up)

    async def automatic_at(self, threshold: int, **fields: Any) -> None:
        await self.rooms.database.execute(
            "UPDATE auto_top_up SET active = true, threshold = %s, amount = %s, month_max = %s",
            (threshold, fields.get("amount", TEN), fields.get("month_max")),
        )


@pytest.fixture
async def shop(rooms: Rooms, org: Org) -> AsyncIterator[Shop]:
    async with StripeSimulator() as stripe:
        shop = make_shop(rooms, org, stripe)
        yield shop
        await shop.desk.close()


def make_shop(rooms: Rooms, org: Org, stripe: StripeSimulator) -> Shop:
    automatic = AutoStore(rooms.database)
    cards = StripeCards(
        api_key=stripe.api_key,
        webhook_secret=stripe.webhook_secret,
        api_base=stripe.origin,
        public_url="",
        cards=automatic,
        clock=SystemClock(),
    )
    top_ups = TopUps(
        TopUpStore(rooms.database),
        rooms.ledger,
        SystemClock(),
        {Method.CARD: cards},
        amount_min=10**9,
        amount_max=10**13,
    )
    return Shop(rooms, org, stripe, top_ups, CardDesk(cards, top_ups, automatic), automatic)


async def test_a_paid_page_is_credited_once_however_often_its_events_come(shop: Shop) -> None:
    top_up = await shop.begin()
    assert top_up.checkout_url.startswith(shop.stripe.origin)
    shop.stripe.pay(top_up.reference)
    await asyncio.gather(
        shop.tell("checkout.session.completed", 3), shop.tell("payment_intent.succeeded", 3)
    )
    done = await shop.now(top_up)
    assert (done.state, done.credited, done.payer) == (State.SUCCEEDED, TEN, "visa 4242")
    assert await shop.balance() == TEN
    assert (done.network, done.payment_id[:3]) == ("stripe:test", "pi_")


async def test_webhooks_are_told_of_it_once_by_its_name(shop: Shop) -> None:
    database = shop.rooms.database
    await database.execute(
        "INSERT INTO webhook (org_id, slug, url, sealed_secret) VALUES (%s, 'w', 'x', '')",
        (shop.org.org_id,),
    )
    top_up = await shop.begin()
    shop.stripe.pay(top_up.reference)
    await shop.tell("checkout.session.completed", 3)
    bodies = await database.fetch_all("SELECT body FROM webhook_delivery", row=scalar_row)
    (told,) = (msgspec.json.decode(body) for body in bodies)
    assert told["type"] == "top_up.succeeded"
    assert told["data"]["top_up"] == f"accounts/{shop.org.slug}/topUps/{top_up.id}"
    assert told["data"]["credited_nanousd"] == TEN


async def test_an_event_that_never_comes_is_made_up_for_by_looking(shop: Shop) -> None:
    top_up = await shop.begin()
    assert (await shop.top_ups.get(shop.org.account_id, top_up.id)).state is State.OPEN
    shop.stripe.pay(top_up.reference)
    assert (await shop.top_ups.get(shop.org.account_id, top_up.id)).state is State.SUCCEEDED
    assert await shop.balance() == TEN


async def test_a_server_that_died_after_the_credit_is_made_up_for_without_another(
    shop: Shop,
) -> None:
    """Its grant is in the ledger, its top-up still open: as a kill between the two leaves it."""
    top_up = await shop.begin()
    shop.stripe.pay(top_up.reference)
    await shop.rooms.database.execute(
        """
        CREATE FUNCTION dies() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the connection is lost' USING ERRCODE = '57P01'; END $$;
        CREATE TRIGGER dies BEFORE UPDATE ON top_up FOR EACH ROW
          WHEN (NEW.state = 'S') EXECUTE FUNCTION dies();
        """
    )
    with pytest.raises(OmniError):
        await shop.top_ups.look(top_up)
    assert (await shop.now(top_up)).state is State.OPEN
    assert await shop.balance() == TEN
    await shop.rooms.database.execute("DROP TRIGGER dies ON top_up")
    assert (await shop.top_ups.look(top_up)).state is State.SUCCEEDED
    assert await shop.balance() == TEN


async def test_one_that_is_due_is_looked_at_by_the_background_task(shop: Shop) -> None:
    top_up = await shop.begin()
    shop.stripe.pay(top_up.reference)
    assert await shop.top_ups.look_at_due() == 0
    await shop.rooms.database.execute("UPDATE top_up SET check_time = clock_timestamp()")
    assert await shop.top_ups.look_at_due() == 1
    assert (await shop.now(top_up)).state is State.SUCCEEDED
    assert await shop.top_ups.look_at_due() == 0


async def test_an_event_with_another_signature_or_an_old_one_is_refused(shop: Shop) -> None:
    top_up = await shop.begin()
    shop.stripe.pay(top_up.reference)
    payload = msgspec.json.encode(shop.stripe.books.events[-1])
    for signature in (
        "",
        "t=1,v1=00",
        shop.stripe.signed(payload + b" "),
        shop.stripe.signed(payload, at=1_700_000_000),
    ):
        with pytest.raises(FieldInvalid):
            await shop.desk.told(payload, signature)
    assert await shop.balance() == 0


async def test_an_event_that_lies_changes_nothing(shop: Shop) -> None:
    """Whoever has the webhook's secret still cannot make credits: Stripe is asked."""
    top_up = await shop.begin()
    event = shop.stripe.books.happen(
        "checkout.session.completed",
        {
            "id": top_up.reference,
            "object": "checkout.session",
            "payment_status": "paid",
            "amount_total": 10**9,
            "metadata": {"top_up": str(top_up.id)},
        },
    )
    payload = msgspec.json.encode(event)
    await shop.desk.told(payload, shop.stripe.signed(payload))
    assert (await shop.now(top_up)).state is State.OPEN
    assert await shop.balance() == 0


async def test_an_event_of_a_top_up_that_is_not_here_yet_is_sent_again(shop: Shop) -> None:
    event = shop.stripe.books.happen(
        "payment_intent.succeeded",
        {"id": "pi_x", "object": "payment_intent", "metadata": {"top_up": "0" * 32}},
    )
    payload = msgspec.json.encode(event)
    with pytest.raises(NotFound):
        await shop.desk.told(payload, shop.stripe.signed(payload))


async def test_what_is_no_top_up_of_ours_is_taken_and_left_alone(shop: Shop) -> None:
    event = shop.stripe.books.happen(
        "payment_intent.succeeded", {"id": "pi_x", "object": "payment_intent", "metadata": {}}
    )
    payload = msgspec.json.encode(event)
    await shop.desk.told(payload, shop.stripe.signed(payload))


async def test_a_refused_card_costs_nothing_and_another_may_follow(shop: Shop) -> None:
    top_up = await shop.begin()
    shop.stripe.pay(top_up.reference, "0002")
    await shop.tell("payment_intent.payment_failed")
    assert (await shop.now(top_up)).state is State.OPEN
    shop.stripe.pay(top_up.reference, "4242")
    assert (await shop.top_ups.look(top_up)).state is State.SUCCEEDED
    assert await shop.balance() == TEN


async def test_an_expired_page_fails_and_tells_so(shop: Shop) -> None:
    top_up = await shop.begin()
    shop.stripe.books.expire(top_up.reference)
    done = await shop.top_ups.look(top_up)
    assert (done.state, done.message) == (State.FAILED, "The checkout page expired.")


async def test_the_same_request_is_the_same_page_and_another_is_refused(shop: Shop) -> None:
    first = await shop.begin()
    assert (await shop.begin()).id == first.id
    with pytest.raises(RequestIdReused):
        await shop.begin(amount=2 * TEN)
    assert len(shop.stripe.books.sessions) == 1


async def test_a_processor_that_answers_500_after_its_work_makes_one_page(shop: Shop) -> None:
    shop.stripe.accidents.failures = 1
    top_up = await shop.begin()
    assert len(shop.stripe.books.sessions) == 1
    assert top_up.reference in shop.stripe.books.sessions


async def test_a_processor_that_is_away_is_said_to_be(rooms: Rooms, org: Org) -> None:
    stripe = StripeSimulator()
    await stripe.start()
    shop = make_shop(rooms, org, stripe)
    await stripe.stop()
    with pytest.raises(ProviderUnavailable) as refused:
        await shop.begin()
    assert stripe.api_key not in refused.value.message
    await shop.desk.close()


async def test_a_wrong_key_is_no_secret_told(shop: Shop) -> None:
    shop.stripe.api_key = "sk_test_other"
    with pytest.raises(ProviderUnavailable) as refused:
        await shop.begin()
    assert "sk_test" not in refused.value.message


@pytest.mark.parametrize("amount", [0, 10**9 - 10_000_000, 10**13 + 10_000_000, TEN + 1])
async def test_an_amount_out_of_bounds_or_steps_is_refused(shop: Shop, amount: int) -> None:
    with pytest.raises(FieldInvalid):
        await shop.begin(amount=amount)
    assert shop.stripe.requests == []


# --- what is taken back -------------------------------------------------------------------------
async def test_refunds_take_back_once_each_and_never_more_than_was_paid(shop: Shop) -> None:
    top_up = await shop.begin()
    intent = shop.stripe.pay(top_up.reference)["payment_intent"]
    await shop.top_ups.look(top_up)
    shop.stripe.refund(intent, 400)
    await shop.tell("refund.created", 3)
    await shop.tell("charge.refunded", 2)
    assert await shop.balance() == TEN - 4_000_000_000
    assert (await shop.now(top_up)).state is State.SUCCEEDED
    shop.stripe.refund(intent)
    await shop.tell("charge.refunded")
    done = await shop.now(top_up)
    assert (done.state, done.reversed, await shop.balance()) == (State.REVERSED, TEN, 0)


async def test_a_refund_that_is_told_before_the_payment_is_booked_after_it(shop: Shop) -> None:
    top_up = await shop.begin()
    intent = shop.stripe.pay(top_up.reference)["payment_intent"]
    shop.stripe.refund(intent)
    await shop.tell("refund.created")
    assert await shop.balance() == 0
    await shop.tell("checkout.session.completed")
    done = await shop.now(top_up)
    assert (done.state, done.credited, done.reversed) == (State.REVERSED, TEN, TEN)
    assert await shop.balance() == 0


async def test_a_dispute_of_spent_credits_leaves_a_debt_and_winning_it_gives_back(
    shop: Shop,
) -> None:
    top_up = await shop.begin()
    intent = shop.stripe.pay(top_up.reference)["payment_intent"]
    await shop.top_ups.look(top_up)
    hold = await shop.rooms.ledger.create_hold(
        account_id=shop.org.account_id,
        org_id=shop.org.org_id,
        key_id=1,
        amount=7_000_000_000,
        seconds=60,
        request_id="hold",
    )
    await shop.rooms.ledger.settle_hold(
        account_id=shop.org.account_id,
        org_id=shop.org.org_id,
        hold_id=hold.id,
        amount=7_000_000_000,
        request_id="settle",
    )
    dispute = shop.stripe.dispute(intent)
    await shop.tell("charge.dispute.funds_withdrawn", 2)
    assert await shop.balance() == -7_000_000_000
    shop.stripe.win(dispute["id"])
    await shop.tell("charge.dispute.funds_reinstated", 2)
    assert await shop.balance() == 3_000_000_000


async def test_what_no_webhook_brought_is_caught_up_with(shop: Shop) -> None:
    top_up = await shop.begin()
    intent = shop.stripe.pay(top_up.reference)["payment_intent"]
    shop.stripe.refund(intent, 100)
    await shop.desk.catch_up()
    await shop.desk.catch_up()
    assert await shop.balance() == TEN - 1_000_000_000


async def test_one_worker_of_all_asks_for_the_news_of_the_last_days(shop: Shop) -> None:
    desks = [shop.desk, *(make_shop(shop.rooms, shop.org, shop.stripe).desk for _ in range(3))]

    async def turns() -> int:
        return sum(await asyncio.gather(*(desk.catch_up_in_turn() for desk in desks)))

    assert [await turns() for _ in range(3)] == [1, 0, 0]
    database = shop.rooms.database
    await database.execute("UPDATE card_catch_up SET due_time = clock_timestamp()")
    top_up = await shop.begin()
    intent = shop.stripe.pay(top_up.reference)["payment_intent"]
    shop.stripe.refund(intent, 100)
    assert await turns() == 1
    assert await shop.balance() == TEN - 1_000_000_000
    # One that died over it keeps the others from it for a time, and no longer.
    await database.execute("UPDATE card_catch_up SET due_time = clock_timestamp()")
    assert await shop.automatic.take_turn("dead", 60.0)
    assert await turns() == 0
    await database.execute("UPDATE card_catch_up SET lease_time = clock_timestamp()")
    assert await turns() == 1
    await shop.automatic.end_turn("dead", 0.0)  # it comes back too late
    assert await turns() == 0
    for desk in desks[1:]:
        await desk.close()


async def test_news_that_could_not_be_asked_for_are_asked_for_again_soon(shop: Shop) -> None:
    await shop.stripe.stop()
    with pytest.raises(ProviderUnavailable):
        await shop.desk.catch_up_in_turn()
    (left,) = await shop.rooms.database.fetch_all(
        "SELECT due_time < clock_timestamp() + interval '2 minutes' AND holder = ''"
        " AND due_time > clock_timestamp() FROM card_catch_up",
        row=scalar_row,
    )
    assert left is True


async def test_pages_that_nobody_pays_are_not_made_without_end(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_grpc.topups.top_ups.OPEN_MAX", 3)
    first = await shop.begin(request_id="first")
    for name in ("second", "third"):
        await shop.begin(request_id=name)
    with pytest.raises(RateLimited):
        await shop.begin(request_id="fourth")
    assert (await shop.begin(request_id="first")).id == first.id  # it is there already
    shop.stripe.pay(first.reference)
    await shop.top_ups.look(first)
    assert (await shop.begin(request_id="fourth")).state is State.OPEN


# --- automatic ----------------------------------------------------------------------------------
async def test_a_low_account_buys_once_however_many_servers_look(shop: Shop) -> None:
    await shop.saved_card()
    await shop.automatic_at(2 * TEN)
    others = [make_shop(shop.rooms, shop.org, shop.stripe) for _ in range(3)]
    await asyncio.gather(*(one.desk.buy_for_low() for one in (shop, *others)))
    for one in others:
        await one.desk.close()
    assert await shop.balance() == 2 * TEN
    assert await shop.desk.buy_for_low() == 0
    found = await shop.top_ups.of_account(shop.org.account_id, None, 10)
    assert [one.automatic for one in found] == [True, False]


async def test_a_refused_saved_card_stops_the_buying_and_says_why(shop: Shop) -> None:
    await shop.saved_card("3155")  # pays with its owner, and not without him
    await shop.automatic_at(2 * TEN)
    await shop.desk.buy_for_low()
    setting = await shop.automatic.get(shop.org.org_id)
    assert (setting.active, setting.fault) == (False, "This card's owner must confirm the payment.")
    await shop.desk.buy_for_low()
    assert await shop.balance() == TEN
    assert shop.stripe.requests.count("POST /v1/payment_intents") == 1


async def test_a_month_has_its_most(shop: Shop) -> None:
    await shop.saved_card()
    await shop.automatic_at(10 * TEN, month_max=2 * TEN)
    for _ in range(4):
        await shop.desk.buy_for_low()
    assert await shop.balance() == 3 * TEN  # the first was bought by hand


async def test_a_charge_whose_answer_was_lost_is_not_made_again(shop: Shop) -> None:
    """The server dies between the charge and its answer: the next look goes on with the same."""
    await shop.saved_card()
    await shop.automatic_at(2 * TEN)
    shop.stripe.accidents.failures = 3  # the SDK's own two retries fail too
    with pytest.raises(ProviderUnavailable):
        await shop.desk.buy_for_low()
    assert await shop.balance() == TEN
    await shop.rooms.database.execute("UPDATE top_up SET check_time = clock_timestamp()")
    await shop.top_ups.look_at_due()
    assert await shop.balance() == 2 * TEN
    charges = [one for one in shop.stripe.books.intents.values() if one["status"] == "succeeded"]
    assert len(charges) == 2  # the one by hand, and one
