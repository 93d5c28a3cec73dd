"""What is offered for USDC, who may pay for what was offered, and what is no payment at all."""

import asyncio
import base64
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr, ValidationError
from solders.keypair import Keypair
from x402.extensions.payment_identifier import (
    PAYMENT_IDENTIFIER,
    declare_payment_identifier_extension,
)
from x402.schemas import PaymentRequired, PaymentRequiredV1
from x402_rig import (
    BUYER,
    TEN,
    TEN_UNITS,
    Shop,
    facilitator,
    make_shop,
    org,
    rewrapped,
    shop,
    topup_url,
)

from omni_grpc.cli.opening import Rooms
from omni_grpc.core.errors import (
    CreditsExhausted,
    CreditsHeld,
    FieldInvalid,
    NotFound,
    PaymentPending,
    PaymentRefused,
    PaymentsUnavailable,
)
from omni_grpc.core.ids import AccountId, OrgId, uuid7
from omni_grpc.identity import Org
from omni_grpc.settings import Settings, SettingsError
from omni_grpc.simulator.facilitator import Accident, Facilitator
from omni_grpc.topups import State, TopUp
from omni_grpc.topups.x402 import Terms
from omni_grpc.wiring.buying import check_payments

__all__ = ("facilitator", "org", "shop", "topup_url")
pytestmark = pytest.mark.filterwarnings("ignore:Client is deprecated")


# --- offers ---------------------------------------------------------------------------------------
async def test_an_offer_is_one_of_the_sdk_in_both_versions(shop: Shop) -> None:
    top_up = await shop.begin()
    v1 = PaymentRequiredV1.model_validate_json(shop.offer(top_up, 1)).accepts[0]
    v2 = PaymentRequired.model_validate_json(shop.offer(top_up, 2))
    assert (v1.network, v1.max_amount_required) == ("solana-devnet", str(TEN_UNITS))
    assert v2.accepts[0].network == "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
    assert v2.accepts[0].amount == str(TEN_UNITS)
    assert v2.resource is not None
    assert v2.resource.url == v1.resource == "https://gateway.example/v1/topup"
    assert v1.extra == v2.accepts[0].extra
    assert v1.extra is not None
    assert v1.extra["memo"] == str(top_up.id)
    assert v2.extensions is not None
    identifier = v2.extensions[PAYMENT_IDENTIFIER]
    assert identifier["info"] == {"required": False, "id": str(top_up.id)}
    assert identifier["schema"] == declare_payment_identifier_extension()["schema"]
    assert v1.asset == shop.facilitator.chain.mint


async def test_a_facilitator_that_is_away_is_told_and_asked_again(
    rooms: Rooms, org: Org, facilitator: Facilitator
) -> None:
    shop = make_shop(rooms, org, facilitator, url="http://127.0.0.1:1/facilitator")
    with pytest.raises(PaymentsUnavailable, match="cannot be reached"):
        await shop.begin()
    assert shop.method.quote(shop.org.account_id, TEN) is None
    shop.method._facilitator._url = facilitator.url
    top_up = await shop.begin()  # the same request id goes on where it stood
    assert top_up.offer
    await shop.method.close()


async def test_a_facilitator_of_another_chain_is_told(
    rooms: Rooms, org: Org, facilitator: Facilitator
) -> None:
    async with Facilitator("solana") as other:
        shop = make_shop(rooms, org, facilitator, url=other.url)
        with pytest.raises(PaymentsUnavailable, match="does not settle on solana:EtW"):
            await shop.begin()
        await shop.method.close()


@pytest.mark.parametrize("pay_to", ["", "0x12", "me@example.com", "1" * 200])
def test_a_payee_that_is_no_address_is_refused_at_the_start(pay_to: str) -> None:
    with pytest.raises(ValueError, match="OMNI_X402_PAY_TO"):
        Terms(network="solana", pay_to=pay_to, public_url="https://x.example")


async def test_amounts_are_whole_units_within_the_operators_bounds(shop: Shop) -> None:
    for amount in (TEN + 1, TEN // 10 - 1_000, 1_000 * TEN + 1_000, 0, -TEN):
        with pytest.raises(FieldInvalid, match="amount_nanousd"):
            await shop.begin(amount=amount)
        with pytest.raises(FieldInvalid, match="amount_nanousd"):
            await shop.desk.ask_for(shop.org.account_id, amount)


# --- quotes ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", [1, 2])
async def test_a_quote_leaves_no_row_until_it_is_paid(shop: Shop, version: int) -> None:
    offer = await shop.desk.ask_for(shop.org.account_id, TEN)
    assert await shop.top_ups.of_account(shop.org.account_id, None, 10) == []
    text = await shop.payer.sign(offer.v1 if version == 1 else offer.v2)
    done = await shop.take(text)
    assert (done.state, done.credited) == (State.SUCCEEDED, TEN)
    again = rewrapped(text, offer.v2 if version == 1 else offer.v1)
    assert await shop.take(again) == done
    assert await shop.top_ups.of_account(shop.org.account_id, None, 10) == [done]
    assert await shop.credited() == TEN


async def test_a_quote_of_another_account_is_worth_nothing(shop: Shop) -> None:
    offer = await shop.desk.ask_for(AccountId(shop.org.account_id + 1), TEN)
    with pytest.raises(NotFound, match="There is no top-up"):
        await shop.take(await shop.payer.sign(offer.v2))
    assert shop.facilitator.settle_count == 0


async def test_nobody_can_make_a_quote(shop: Shop) -> None:
    offer = msgspec.json.decode((await shop.desk.ask_for(shop.org.account_id, TEN)).v2)
    offer["accepts"][0]["extra"]["memo"] = str(uuid7())
    text = await shop.payer.sign(msgspec.json.encode(offer))
    with pytest.raises(NotFound, match="There is no top-up"):
        await shop.take(text)


async def test_a_quote_is_good_for_its_amount(shop: Shop) -> None:
    offer = msgspec.json.decode((await shop.desk.ask_for(shop.org.account_id, TEN)).v2)
    offer["accepts"][0]["amount"] = str(TEN_UNITS // 10)
    text = await shop.payer.sign(msgspec.json.encode(offer))
    with pytest.raises(NotFound, match="There is no top-up"):
        await shop.take(text)


async def test_a_quote_ends(shop: Shop) -> None:
    offer = await shop.desk.ask_for(shop.org.account_id, TEN)
    text = await shop.payer.sign(offer.v2)
    shop.clock.ahead += timedelta(hours=1, seconds=1)
    with pytest.raises(NotFound, match="There is no top-up"):
        await shop.take(text)


async def test_a_payment_that_is_refused_comes_with_a_new_offer(shop: Shop) -> None:
    offer = await shop.desk.ask_for(shop.org.account_id, 200 * TEN)
    text = await shop.payer.sign(offer.v2)
    with pytest.raises(PaymentRefused, match="transaction_simulation_failed") as refused:
        await shop.take(text)
    assert refused.value.offer is not None
    assert msgspec.json.decode(refused.value.offer.v2)["accepts"][0]["amount"] == "2000000000"


async def test_want_of_credits_is_answered_with_an_offer_of_what_is_missing(shop: Shop) -> None:
    await shop.desk.ask_for(shop.org.account_id, TEN)  # the facilitator is known from here on
    for needed, available, units in (
        (5, 0, "1000000"),
        (1_000_000_000, 0, "1000000"),
        (1_000_000_001, 0, "2000000"),
        (7_500_000_000, 2_000_000_000, "6000000"),
        (50_000 * TEN, -TEN, "10000000000"),
    ):
        facts = {"needed_nanousd": str(needed), "available_nanousd": str(available)}
        error = CreditsExhausted("Too little.", metadata=facts)
        assert await shop.desk.refusal(error, shop.org.account_id) is error
        assert error.offer is not None
        assert msgspec.json.decode(error.offer.v2)["accepts"][0]["amount"] == units
    held = CreditsHeld("Later.", metadata={})
    assert await shop.desk.refusal(held, shop.org.account_id) is held
    assert held.offer is None


# --- what is no payment ---------------------------------------------------------------------------
async def test_a_payment_to_somebody_else_is_refused(shop: Shop) -> None:
    offer = msgspec.json.decode((await shop.desk.ask_for(shop.org.account_id, TEN)).v2)
    offer["accepts"][0]["payTo"] = str(Keypair().pubkey())
    text = await shop.payer.sign(msgspec.json.encode(offer))
    with pytest.raises(FieldInvalid, match="does not pay USDC to the wallet"):
        await shop.take(text)


async def test_other_terms_than_those_of_the_offer_are_refused(shop: Shop) -> None:
    top_up = await shop.begin()
    found = msgspec.json.decode(base64.b64decode(await shop.signed(top_up)))
    found["accepted"]["amount"] = "1"
    with pytest.raises(FieldInvalid, match="accepted other terms"):
        await shop.confirm(top_up, base64.b64encode(msgspec.json.encode(found)).decode())


async def test_a_wallets_signature_is_checked_on_the_chain(shop: Shop) -> None:
    """A transaction of another wallet's money that this wallet did not sign."""
    top_up = await shop.begin()
    found = msgspec.json.decode(base64.b64decode(await shop.signed(top_up)))
    wire = bytearray(base64.b64decode(found["payload"]["transaction"]))
    wire[70] ^= 1  # within the second signature, the wallet's
    found["payload"]["transaction"] = base64.b64encode(wire).decode()
    left = await shop.confirm(top_up, base64.b64encode(msgspec.json.encode(found)).decode())
    assert left.state is State.OPEN
    assert "SignatureFailure" in left.message
    assert shop.arrived() == 0


def _b64(value: Any) -> str:
    return base64.b64encode(msgspec.json.encode(value)).decode()


NO_PAYMENTS = (
    "",
    "no base64!",
    base64.b64encode(b"no json").decode(),
    base64.b64encode(b"[" * 10_000).decode(),
    "A" * 20_000,
    _b64([]),
    _b64({}),
    _b64({"x402Version": 3}),
    _b64({"x402Version": "1"}),
    _b64({"x402Version": 1, "scheme": "exact", "network": "solana-devnet"}),
    _b64({"x402Version": 1, "payload": {"transaction": 7}}),
    _b64({"x402Version": 1, "payload": {"transaction": "AAAA"}}),
    _b64({"x402Version": 1, "payload": {"transaction": "AQ" + "A" * 200}}),
    _b64({"x402Version": 2, "payload": {"transaction": "AAAA"}}),
    _b64({"x402Version": 2, "accepted": [], "payload": {}}),
)


async def test_what_is_no_payment_is_said_to_be_none(shop: Shop) -> None:
    for text in NO_PAYMENTS:
        with pytest.raises(FieldInvalid) as refused:
            await shop.desk.take(BUYER, OrgId(1), shop.org.account_id, text)
        assert refused.value.field == "x402_payment"


async def test_a_settle_that_refuses_what_verify_let_pass_leaves_the_top_up_open(
    shop: Shop,
) -> None:
    """As a facilitator that has become stricter does, of which one half knows."""
    shop.facilitator.strike(Accident.STRICTER)
    top_up = await shop.begin()
    left = await shop.confirm(top_up, await shop.signed(top_up))
    assert left.state is State.OPEN
    assert "compute_limit_instruction" in left.message
    done = await shop.confirm(top_up, await shop.signed(top_up, 1))
    assert (done.state, await shop.credited()) == (State.SUCCEEDED, TEN)


async def test_a_quote_that_is_paid_many_times_at_once_is_one_top_up(shop: Shop) -> None:
    offer = await shop.desk.ask_for(shop.org.account_id, TEN)
    text = await shop.payer.sign(offer.v2)
    other = rewrapped(text, offer.v1)
    calls = (shop.take(one) for one in [text, other] * 8)
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, TopUp | PaymentPending) for one in found), found
    assert (await shop.take(text)).credited == TEN
    assert await shop.credited() == TEN
    assert shop.arrived() == TEN_UNITS


async def test_a_top_up_that_was_written_without_its_offer_is_paid_all_the_same(shop: Shop) -> None:
    """As when a server dies between the two, or another is about to write it."""
    top_up = await shop.begin()
    text = await shop.signed(top_up)
    await shop.rooms.database.execute("UPDATE top_up SET offer = '' WHERE id = %s", (top_up.id,))
    assert (await shop.confirm(top_up, text)).state is State.SUCCEEDED


async def test_who_may_have_paid_already_is_asked_for_nothing(shop: Shop) -> None:
    shop.facilitator.strike(Accident.PENDING)
    offer = await shop.desk.ask_for(shop.org.account_id, TEN)
    text = await shop.payer.sign(offer.v2)
    with pytest.raises(PaymentPending):
        await shop.take(text)
    with pytest.raises(PaymentPending):
        await shop.desk.ask_for(shop.org.account_id, TEN)
    refused = CreditsExhausted("Too little.", metadata={})
    told = await shop.desk.refusal(refused, shop.org.account_id)
    assert isinstance(told, PaymentPending)
    assert told.offer is None
    shop.facilitator.land()
    assert (await shop.take(text)).credited == TEN
    assert await shop.desk.refusal(refused, shop.org.account_id) is refused


def test_an_operator_is_told_all_that_is_wrong_with_what_takes_payments() -> None:
    settings = Settings(
        x402_facilitator_url="https://f.example", stripe_api_key=SecretStr("sk_test_1")
    )
    with pytest.raises(SettingsError) as refused:
        check_payments(settings)
    assert len(refused.value.faults) == 2
    for url in ("http://f.example", "f.example", "file:///etc/passwd"):
        with pytest.raises(ValidationError, match="https URL"):
            Settings(x402_facilitator_url=url)


async def test_a_facilitator_that_changes_its_fee_payer_is_asked_for_the_new_one(
    shop: Shop,
) -> None:
    old = await shop.desk.ask_for(shop.org.account_id, TEN)
    shop.facilitator.change_fee_payer()
    with pytest.raises(PaymentRefused, match="fee_payer_not_managed") as refused:
        await shop.take(await shop.payer.sign(old.v2))
    offer = refused.value.offer
    assert offer is not None
    done = await shop.take(await shop.payer.sign(offer.v2))
    assert done.state is State.SUCCEEDED
