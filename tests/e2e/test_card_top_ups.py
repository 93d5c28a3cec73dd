"""Cards on a whole gateway: bought over REST and gRPC, heard of by webhook, credited once."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from gateway import Gateway, SimulatorThread, Tenant, bearer, running
from gateway_fixtures import check_books
from omni.billing.v1 import billing_service_pb2_grpc, top_ups_pb2

from omni_grpc.simulator.stripe import StripeSimulator
from omni_grpc.storage import EmbeddedPostgres

TEN = 10_000_000_000


class Shop:
    """A gateway that takes cards, Stripe, and one customer."""

    def __init__(self, gateway: Gateway, stripe: StripeSimulator, tenant: Tenant) -> None:
        self.gateway = gateway
        self.stripe = stripe
        self.tenant = tenant

    async def ask(self, verb: str, path: str, /, key: str = "", **body: Any) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {key or self.tenant.api_key}"}
        async with aiohttp.request(
            verb,
            self.gateway.rest + path,
            headers=headers,
            data=json.dumps(body) if body else None,
        ) as answer:
            return answer.status, await answer.json()

    async def begin(self, request_id: str = "one", **more: Any) -> Any:
        status, top_up = await self.ask(
            "POST",
            "/v1/top_ups",
            amount_nanousd=TEN,
            method="card",
            request_id=request_id,
            return_url="https://example.com/done",
            **more,
        )
        assert status == 200, top_up
        return top_up

    async def balance(self) -> int:
        _, balance = await self.ask("GET", "/v1/balance")
        return int(balance["posted_nanousd"])

    async def balance_becomes(self, nanousd: int) -> None:
        for _ in range(300):
            if await self.balance() == nanousd:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{await self.balance()} is not {nanousd}")

    def pay(self, top_up: Any, card: str = "4242424242424242") -> Any:
        return self.stripe.pay(top_up["checkout_url"].rpartition("/")[2], card)


@pytest.fixture
async def shop(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path: Path,
) -> AsyncIterator[Shop]:
    name, admin_key = template
    database = f"e2e_cards_{uuid.uuid4().hex[:8]}"
    url = postgres.create_database(database, template=name)
    async with StripeSimulator() as stripe:
        environment = {
            "OMNI_STRIPE_API_KEY": stripe.api_key,
            "OMNI_STRIPE_WEBHOOK_SECRET": stripe.webhook_secret,
            "OMNI_STRIPE_API_BASE": stripe.origin,
        }
        gateway = Gateway(url, simulator.base_url, tmp_path, admin_key, environment=environment)
        with running(gateway):
            stripe.send_events_to(f"{gateway.rest}/v1/webhooks/stripe")
            yield Shop(gateway, stripe, gateway.tenant(0))
            assert stripe.api_key not in gateway.log()
            assert stripe.webhook_secret not in gateway.log()
    check_books(url, tmp_path)
    postgres.drop_database(database)


async def test_a_card_buys_credits_over_rest_and_grpc_and_a_dispute_takes_them_back(
    shop: Shop,
) -> None:
    shop.stripe.accidents.events = 3
    shop.stripe.accidents.reversed_order = True
    top_up = await shop.begin()
    assert top_up["state"] == "open"
    assert await shop.begin() == top_up
    intent = shop.pay(top_up)["payment_intent"]
    await shop.stripe.settled()
    assert await shop.balance() == TEN
    with grpc.insecure_channel(shop.gateway.grpc) as channel:
        stub = billing_service_pb2_grpc.BillingServiceStub(channel)
        found = stub.GetTopUp(
            top_ups_pb2.GetTopUpRequest(name=top_up["name"]),
            metadata=bearer(shop.tenant.api_key),
        ).top_up
        assert found.state == top_ups_pb2.TOP_UP_STATE_SUCCEEDED
        assert (found.credited_nanousd, found.payer) == (TEN, "visa 4242")
        listed = stub.ListTopUps(
            top_ups_pb2.ListTopUpsRequest(), metadata=bearer(shop.tenant.api_key)
        )
        assert [one.name for one in listed.top_ups] == [top_up["name"]]
    shop.stripe.dispute(intent)
    await shop.stripe.settled()
    assert await shop.balance() == 0
    _, entries = await shop.ask("GET", "/v1/transactions")
    assert [one["kind"] for one in entries["data"]] == ["reversal", "grant"]


async def test_a_top_up_of_another_organisation_does_not_exist(shop: Shop) -> None:
    top_up = await shop.begin()
    other = shop.gateway.tenant(0)
    missing = top_up["name"].replace(shop.tenant.org, other.org)
    for name in (top_up["name"], missing):
        status, body = await shop.ask("GET", f"/v1/{name}", key=other.api_key)
        assert (status, body["error"]["code"]) == (404, "not_found")
    _, theirs = await shop.ask("GET", "/v1/top_ups", key=other.api_key)
    assert theirs["data"] == []


async def test_a_saved_card_tops_up_a_low_account_by_itself(shop: Shop) -> None:
    account = f"/v1/accounts/{shop.tenant.org}/autoTopUp"
    admin = shop.gateway.admin_key
    status, body = await shop.ask("PATCH", account, key=admin, active=True)
    assert status == 400
    assert "No card is saved" in body["error"]["message"]
    top_up = await shop.begin(save_card=True)
    shop.pay(top_up)
    await shop.stripe.settled()
    wanted = {"active": True, "threshold_nanousd": 2 * TEN, "amount_nanousd": TEN}
    status, body = await shop.ask("PATCH", account, key=shop.tenant.api_key, **wanted)
    assert status == 403  # a key that may spend may not decide this
    status, body = await shop.ask("PATCH", account, key=admin, **wanted)
    assert status == 200, body
    assert (body["active"], body["card"]) == (True, "visa 4242")
    await shop.balance_becomes(2 * TEN)


async def test_events_without_a_signature_and_garbage_are_refused(shop: Shop) -> None:
    path = f"{shop.gateway.rest}/v1/webhooks/stripe"
    async with aiohttp.ClientSession() as session:
        for body, headers in (
            (b"", {}),
            (b"{}", {"stripe-signature": "t=1,v1=00"}),
            (b"\xff" * 100, {"stripe-signature": shop.stripe.signed(b"\xff" * 100)}),
            (b"[]", {"stripe-signature": shop.stripe.signed(b"[]")}),
            (b"{}", {"stripe-signature": shop.stripe.signed(b"{}")}),
        ):
            async with session.post(path, data=body, headers=headers) as answer:
                assert answer.status == 400, (body, await answer.text())
        async with session.get(path) as answer:
            assert answer.status == 405
