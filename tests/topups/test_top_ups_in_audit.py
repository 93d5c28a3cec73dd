"""Who began a top-up stands in the audit log of its organisation, in the transaction of its row."""

import asyncio

import msgspec
import pytest
from psycopg.errors import CheckViolation
from test_stripe_cards import Shop as CardShop
from test_stripe_cards import make_shop as make_card_shop
from x402_rig import BUYER, TEN, Shop, facilitator, org, shop, topup_url

from omni_grpc.audit import AuditEntry, AuditFilter, AuditLog, AuditStore
from omni_grpc.cli.opening import Rooms
from omni_grpc.identity import Org
from omni_grpc.simulator.stripe import StripeSimulator
from omni_grpc.topups.top_ups import AUTOMATIC

__all__ = ("facilitator", "org", "shop", "topup_url")
pytestmark = pytest.mark.filterwarnings("ignore:Client is deprecated")


async def told(shop: Shop | CardShop) -> list[AuditEntry]:
    """The entries of the shop's organisation, newest first; their chain is whole."""
    log = AuditLog(AuditStore(shop.rooms.database))
    assert (await log.verify(shop.org.org_id)).first_broken is None
    return await log.entries(shop.org.org_id, AuditFilter(), before=None, limit=100)


async def test_a_top_up_is_told_once_however_often_it_is_asked_for(shop: Shop) -> None:
    top_up, *_ = await asyncio.gather(*(shop.begin() for _ in range(4)))
    (entry,) = await told(shop)
    name = f"accounts/{shop.org.slug}/topUps/{top_up.id}"
    assert (entry.action, entry.resource, entry.old_json) == ("CreateTopUp", name, None)
    assert (entry.actor, entry.peer, entry.call_id) == (BUYER.name, BUYER.peer, BUYER.call_id)
    assert msgspec.json.decode(entry.new_json or "") == {
        "name": name,
        "amount_nanousd": TEN,
        "method": "x402",
        "automatic": False,
        "save_card": False,
    }


async def test_a_quote_is_told_when_it_is_paid(shop: Shop) -> None:
    offer = await shop.desk.ask_for(shop.org.account_id, TEN)
    assert await told(shop) == []
    text = await shop.payer.sign(offer.v2)
    top_up = await shop.take(text)
    await shop.take(text)
    (entry,) = await told(shop)
    assert entry.resource.endswith(str(top_up.id))
    assert (entry.action, entry.actor) == ("CreateTopUp", BUYER.name)


async def test_an_account_that_buys_by_itself_is_told_of(rooms: Rooms, org: Org) -> None:
    async with StripeSimulator() as stripe:
        shop = make_card_shop(rooms, org, stripe)
        await shop.saved_card()
        await shop.automatic_at(10 * TEN)
        await shop.desk.buy_for_low()
        await shop.desk.close()
    automatic, by_hand = await told(shop)
    assert (automatic.action, automatic.actor) == ("CreateTopUp", AUTOMATIC.name)
    assert msgspec.json.decode(automatic.new_json or "")["automatic"] is True
    assert by_hand.actor != AUTOMATIC.name


async def test_no_top_up_is_begun_that_cannot_be_told(shop: Shop) -> None:
    database = shop.rooms.database
    rule = f"no_entry_of_{shop.org.org_id}"
    await database.execute(
        f"ALTER TABLE audit_entry ADD CONSTRAINT {rule} CHECK (org_id <> {shop.org.org_id})"
    )
    with pytest.raises(CheckViolation):
        await shop.begin()
    assert await shop.top_ups.of_account(shop.org.account_id, None, 2) == []
    await database.execute(f"ALTER TABLE audit_entry DROP CONSTRAINT {rule}")
    assert (await shop.begin()).amount == TEN
