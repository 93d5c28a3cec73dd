"""Payments of which nobody tells: ended by an operator's word, credited once come what may."""

import asyncio
import json
from datetime import timedelta
from uuid import UUID

import msgspec
import psycopg
import pytest
from solders.pubkey import Pubkey
from solders.signature import Signature
from typer.testing import CliRunner
from x402_rig import (
    TEN,
    TEN_UNITS,
    Shop,
    blind,
    facilitator,
    org,
    topup_url,
    until,
)

from omni_grpc.audit import Actor, AuditFilter, AuditLog, AuditStore
from omni_grpc.cli.app import app
from omni_grpc.core.errors import AlreadyExists, FieldInvalid, NotFound
from omni_grpc.core.payments import Payment
from omni_grpc.simulator.facilitator import Accident
from omni_grpc.topups import Decisions, State, TopUp, TopUpStore
from omni_grpc.topups.model import Paid, Told

__all__ = ("blind", "facilitator", "org", "topup_url")
pytestmark = pytest.mark.filterwarnings("ignore:Client is deprecated")

OPERATOR = Actor(name="orgs/operator/apiKeys/0123456789ab")
CHAIN = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"


def decisions(shop: Shop) -> Decisions:
    return Decisions(shop.top_ups, TopUpStore(shop.rooms.database))


async def settle(shop: Shop, top_up: TopUp, payment_id: str, amount: int | None = None) -> TopUp:
    return await decisions(shop).settle(
        OPERATOR,
        shop.org.account_id,
        top_up.id,
        payment_id=payment_id,
        amount=amount,
        reason="seen on the chain",
    )


async def void(shop: Shop, top_up: TopUp) -> TopUp:
    return await decisions(shop).void(
        OPERATOR, shop.org.account_id, top_up.id, reason="not on the chain"
    )


async def silent(
    shop: Shop, accident: Accident = Accident.ERROR_BEFORE, times: int = 9, name: str = ""
) -> TopUp:
    """A top-up whose payment was presented, and of which the facilitator tells nothing."""
    top_up = await shop.begin(name or accident)
    text = await shop.signed(top_up)
    for _ in range(times):
        shop.facilitator.strike(accident)
    pending = await shop.confirm(top_up, text)
    assert pending.state is State.PENDING
    return pending


def transaction() -> str:
    return str(Signature.new_unique())


async def told(shop: Shop) -> list[tuple[str, str, str]]:
    """Who said what of the shop's top-ups, and why; newest first."""
    log = AuditLog(AuditStore(shop.rooms.database))
    found = await log.entries(shop.org.org_id, AuditFilter(), before=None, limit=100)
    return [
        (one.action, one.actor, msgspec.json.decode(one.new_json or "")["reason"])
        for one in found
        if one.action != "CreateTopUp"
    ]


async def test_what_is_pending_is_listed_of_an_account_and_of_all(blind: Shop) -> None:
    await blind.begin("open")
    top_up = await silent(blind)
    for account in (blind.org.account_id, None):
        found = await decisions(blind).pending(account, None, 1_000)
        assert top_up.id in [one.id for one in found]
        assert {one.state for one in found} == {State.PENDING}
    assert await decisions(blind).pending(blind.org.account_id, top_up.id, 2) == []


async def test_a_silent_payment_is_settled_by_its_transaction_once(blind: Shop) -> None:
    top_up, paid_by = await silent(blind), transaction()
    done = await asyncio.gather(*(settle(blind, top_up, paid_by) for _ in range(4)))
    assert {one.state for one in done} == {State.SUCCEEDED}
    assert (done[0].payment_id, done[0].network, done[0].credited) == (paid_by, CHAIN, TEN)
    assert await blind.credited() == TEN
    assert await told(blind) == [("SettleTopUp", OPERATOR.name, "seen on the chain")]
    with pytest.raises(AlreadyExists, match=paid_by):
        await settle(blind, top_up, transaction())
    assert await blind.credited() == TEN
    assert (await blind.begin("next")).state is State.OPEN


async def test_what_arrived_is_credited_if_the_operator_says_how_much(blind: Shop) -> None:
    top_up = await silent(blind)
    for wrong in (0, -1_000, 1_500):
        with pytest.raises(FieldInvalid, match="amount_nanousd"):
            await settle(blind, top_up, transaction(), wrong)
    with pytest.raises(FieldInvalid, match="payment_id"):
        await settle(blind, top_up, "0xabc")
    done = await settle(blind, top_up, transaction(), TEN // 2)
    assert (done.credited, await blind.credited()) == (TEN // 2, TEN // 2)
    assert "5 USD arrived" in done.message


async def test_nobody_asks_for_a_payment_that_is_settled_by_word(blind: Shop) -> None:
    top_up = await silent(blind)
    await settle(blind, top_up, transaction())
    asked = blind.facilitator.settle_count
    assert (await blind.look(top_up)).state is State.SUCCEEDED
    assert blind.facilitator.settle_count == asked


@pytest.mark.parametrize("ending", ["settled", "voided"])
async def test_a_facilitators_late_word_doubles_nothing(blind: Shop, ending: str) -> None:
    """It comes while its first try still waits for it, after the operator's word."""
    blind.facilitator.strike(Accident.LATE)
    top_up = await blind.begin()
    waiting = asyncio.create_task(blind.confirm(top_up, await blind.signed(top_up)))
    await until(lambda: blind.arrived() == TEN_UNITS)
    if ending == "settled":
        await settle(blind, top_up, transaction())
    else:
        blind.clock.ahead += timedelta(seconds=200)
        for _ in range(3):
            blind.facilitator.strike(Accident.ERROR_BEFORE)
        assert (await void(blind, top_up)).state is State.FAILED
    blind.facilitator.release()
    assert (await waiting).state is State.SUCCEEDED  # a payment that came is a payment
    assert await blind.credited() == TEN


async def test_a_server_that_dies_while_it_settles_leaves_what_is_settled_by_the_same_word(
    blind: Shop,
) -> None:
    top_up, paid_by = await silent(blind, times=1), transaction()
    store = TopUpStore(blind.rooms.database)
    assert await store.reserve(top_up, Payment.named(CHAIN, paid_by), "dies here")
    for _ in range(2):  # the facilitator would settle it now, and nobody asks
        assert (await blind.look(top_up)).state is State.PENDING
    assert blind.arrived() == 0
    with pytest.raises(AlreadyExists, match=paid_by):
        await settle(blind, top_up, transaction())
    with pytest.raises(FieldInvalid, match="pending"):
        await void(blind, top_up)
    assert (await settle(blind, top_up, paid_by)).state is State.SUCCEEDED
    assert await blind.credited() == TEN


async def credited_by_who_died(shop: Shop, top_up: TopUp, payment_id: str, amount: int) -> None:
    """A server was told of the payment, booked it, and wrote nothing more."""
    paid = Paid(payment=Payment.named(CHAIN, payment_id), amount=amount)
    await shop.top_ups.grant(top_up, paid)


async def test_what_a_server_credited_before_it_died_is_neither_voided_nor_credited_again(
    blind: Shop,
) -> None:
    for word in ("void", "its transaction", "another"):
        top_up, paid_by = await silent(blind, name=word), transaction()
        before = await blind.credited()
        await credited_by_who_died(blind, top_up, paid_by, TEN - 1_000)
        blind.clock.ahead += timedelta(seconds=200)
        match word:
            case "void":
                with pytest.raises(FieldInvalid, match="is succeeded"):
                    await void(blind, top_up)
            case "its transaction":
                await settle(blind, top_up, paid_by)
            case _:
                with pytest.raises(AlreadyExists, match=paid_by):
                    await settle(blind, top_up, transaction())
        done = await blind.now(top_up)
        assert (done.state, done.payment_id) == (State.SUCCEEDED, paid_by)
        assert (done.credited, await blind.credited() - before) == (TEN - 1_000, TEN - 1_000)


async def test_an_operator_who_says_another_amount_than_was_credited_is_told_it(
    blind: Shop,
) -> None:
    top_up, paid_by = await silent(blind), transaction()
    store = TopUpStore(blind.rooms.database)
    assert await store.reserve(top_up, Payment.named(CHAIN, paid_by), "dies here")
    await credited_by_who_died(blind, top_up, paid_by, TEN // 2)
    with pytest.raises(AlreadyExists, match=r"credited as 5 USD"):
        await settle(blind, top_up, paid_by)
    done = await settle(blind, top_up, paid_by, TEN // 2)
    assert (done.state, await blind.credited()) == (State.SUCCEEDED, TEN // 2)
    assert [one[0] for one in await told(blind)] == ["SettleTopUp"]


async def test_no_late_refusal_opens_what_an_operator_settles(blind: Shop) -> None:
    """Another payment would be taken for it, and could not be credited."""
    top_up, paid_by = await blind.begin(), transaction()
    presented = blind.method.read(top_up, await blind.signed(top_up))
    store = TopUpStore(blind.rooms.database)
    begun = await store.begin(top_up, presented, 5.0)
    assert begun
    assert await store.reserve(begun, Payment.named(CHAIN, paid_by), "under way")
    assert await store.reopened(begun, "refused") is None
    late = Told(amount_nanousd=TEN, credited_nanousd=0, payment_id="", message="")
    assert await store.failed(begun, State.FAILED, "refused", late) is None
    assert (await settle(blind, top_up, paid_by)).state is State.SUCCEEDED
    assert await blind.credited() == TEN


async def test_a_transaction_that_an_operator_gave_to_another_top_up_ends_its_own_as_failed(
    blind: Shop,
) -> None:
    """Of one account and amount: it would seem paid, and what paid the other be credited never."""
    blind.facilitator.strike(Accident.LATE)
    first = await blind.begin("first")
    waiting = asyncio.create_task(blind.confirm(first, await blind.signed(first)))
    await until(lambda: blind.arrived() == TEN_UNITS)
    chain = blind.facilitator.chain
    (landed,) = chain.touching(chain.account(blind.pay_to))
    second = await silent(blind)
    await settle(blind, second, landed.signature)
    blind.facilitator.release()
    told_late = await waiting
    assert (told_late.state, told_late.message) == (
        State.FAILED,
        "The payment had bought other credits before.",
    )
    assert (await settle(blind, first, transaction())).state is State.SUCCEEDED
    assert await blind.credited() == 2 * TEN


async def test_a_transaction_settles_one_top_up(blind: Shop) -> None:
    first, second = await silent(blind), await silent(blind, Accident.NEVER)
    paid_by = transaction()
    done = await asyncio.gather(
        settle(blind, first, paid_by), settle(blind, second, paid_by), return_exceptions=True
    )
    assert sum(isinstance(one, AlreadyExists) for one in done) == 1, done
    assert await blind.credited() == TEN
    left = [one for one in (await blind.now(first), await blind.now(second)) if not one.credited]
    assert [one.state for one in left] == [State.PENDING]
    await settle(blind, left[0], transaction())
    assert await blind.credited() == 2 * TEN


async def test_what_credits_were_granted_for_settles_no_top_up(blind: Shop) -> None:
    top_up, paid_by = await silent(blind), transaction()
    await blind.rooms.ledger.grant(
        account_id=blind.org.account_id,
        org_id=blind.org.org_id,
        amount=TEN,
        reason="by hand",
        request_id="by hand",
        payment=Payment.named(CHAIN, paid_by),
    )
    with pytest.raises(AlreadyExists, match="bought other credits"):
        await settle(blind, top_up, paid_by)
    assert (await blind.now(top_up)).state is State.PENDING
    assert await blind.credited() == TEN


async def test_a_silent_payment_is_voided_when_it_can_arrive_no_more(blind: Shop) -> None:
    top_up = await silent(blind)
    with pytest.raises(FieldInvalid, match="may still reach the chain"):
        await void(blind, top_up)
    blind.clock.ahead += timedelta(seconds=200)
    for _ in range(2):
        done = await void(blind, top_up)
        assert (done.state, done.credited) == (State.FAILED, 0)
        assert done.message == "An operator found no payment: not on the chain"
    assert await told(blind) == [("VoidTopUp", OPERATOR.name, "not on the chain")]
    assert await blind.top_ups.pending(blind.org.account_id) is None
    # One that is found later is settled all the same.
    assert (await settle(blind, top_up, transaction())).state is State.SUCCEEDED
    assert await blind.credited() == TEN
    with pytest.raises(FieldInvalid, match="is succeeded"):
        await void(blind, top_up)


async def test_a_payment_that_the_facilitator_tells_of_after_all_is_not_voided(
    blind: Shop,
) -> None:
    blind.facilitator.strike(Accident.ERROR_BEFORE)
    top_up = await blind.begin()
    assert (await blind.confirm(top_up, await blind.signed(top_up))).state is State.PENDING
    blind.clock.ahead += timedelta(seconds=200)
    with pytest.raises(FieldInvalid, match="is succeeded"):
        await void(blind, top_up)
    assert await blind.credited() == TEN


async def test_what_nobody_paid_for_and_what_is_not_there_is_not_settled(blind: Shop) -> None:
    top_up = await blind.begin()
    with pytest.raises(FieldInvalid, match="Nobody presented"):
        await settle(blind, top_up, transaction())
    with pytest.raises(FieldInvalid, match="is open"):
        await void(blind, top_up)
    gone = msgspec.structs.replace(top_up, id=UUID(int=1))
    with pytest.raises(NotFound):
        await settle(blind, gone, transaction())


def test_the_commands_list_settle_and_void(topup_url: str) -> None:
    environment = {
        "DATABASE_URL": topup_url,
        "OMNI_KEY_HASH_SECRET": "k" * 32,
        "OMNI_X402_FACILITATOR_URL": "http://127.0.0.1:9",
        "OMNI_X402_PAY_TO": str(Pubkey.new_unique()),
        "OMNI_X402_NETWORK": "solana-devnet",
        "COLUMNS": "300",
    }

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["topups", *words], env=environment)
        assert result.exit_code == code, result.output
        return result.output

    with psycopg.connect(topup_url) as sql:
        sql.execute(
            "WITH new AS MATERIALIZED (SELECT nextval(pg_get_serial_sequence('org', 'id')) AS id),"
            " o AS (INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE"
            "  SELECT id, 'by-hand', '', ledger_open_wallet(id) FROM new RETURNING id, account_id)"
            " INSERT INTO top_up (id, org_id, account_id, method, state, amount, request_id,"
            "  fingerprint, offer, expire_time)"
            " SELECT gen_random_uuid(), id, account_id, 'x', 'P', 10000000000, n::text, '', %s,"
            "  clock_timestamp() FROM o, generate_series(1, 2) n",
            (json.dumps({"v1": {"accepts": []}, "v2": {"accepts": [{"network": CHAIN}]}}),),
        )
    assert "Say whose" in run("list", code=1)
    pending = json.loads(run("list", "--state", "pending", "--org", "by-hand", "--json"))
    first, second = (one["name"] for one in pending)
    assert first in run("list", "--state", "pending")
    paid_by = transaction()
    settled = json.loads(
        run("settle", first, "--payment", paid_by, "--amount", "9.5", "--reason", "seen", "--json")
    )
    assert (settled["state"], settled["credited_nanousd"]) == ("succeeded", 9_500_000_000)
    assert "failed" in run("void", second, "--reason", "not there")
    assert "reason" in run("void", second, "--reason", " ", code=1)
    assert json.loads(run("list", "--state", "pending", "--org", "by-hand", "--json")) == []
    assert len(json.loads(run("list", "--org", "by-hand", "--json"))) == 2
