"""Cards on a whole gateway: bought over REST and gRPC, heard of by webhook, credited once."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from commands import command
from gateway import Gateway, HttpConnection, SimulatorThread, Tenant, bearer, eventually, running
from gateway_fixtures import check_books
from omni.billing.v1 import billing_service_pb2_grpc, top_ups_pb2
from stripe_thread import StripeThread

from omni_grpc.storage import EmbeddedPostgres

TEN = 10_000_000_000


class Shop:
    """A gateway that takes cards, and Stripe."""

    def __init__(self, gateway: Gateway, cards: StripeThread) -> None:
        self.gateway = gateway
        self.cards = cards

    def customer(self) -> "Customer":
        return Customer(self, self.gateway.tenant(0))


class Customer:
    """One who buys."""

    def __init__(self, shop: Shop, tenant: Tenant) -> None:
        self.shop = shop
        self.tenant = tenant

    def ask(self, verb: str, path: str, /, key: str = "", **body: Any) -> tuple[int, Any]:
        with HttpConnection(self.shop.gateway, key or self.tenant.api_key) as http:
            answer = http.ask(path, json.dumps(body).encode() if body else None, method=verb)
        return answer.status, answer.json

    def begin(self, **more: Any) -> Any:
        status, top_up = self.ask(
            "POST",
            "/v1/top_ups",
            amount_nanousd=TEN,
            method="card",
            request_id="one",
            return_url="https://example.com/done",
            **more,
        )
        assert status == 200, top_up
        return top_up

    def pay(self, top_up: Any) -> Any:
        session = top_up["checkout_url"].rpartition("/")[2]
        return self.shop.cards.settled(lambda stripe: stripe.pay(session))

    @property
    def balance(self) -> int:
        return int(self.ask("GET", "/v1/balance")[1]["posted_nanousd"])


@pytest.fixture(scope="module")
def shop(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    name, admin_key = template
    url = postgres.create_database("e2e_cards", template=name)
    folder = tmp_path_factory.mktemp("cards")
    cards = StripeThread()
    cards.start()
    made = Gateway(url, simulator.base_url, folder, admin_key, environment=cards.environment())
    with running(made):
        events = f"{made.rest}/v1/webhooks/stripe"
        cards.settled(lambda stripe: stripe.send_events_to(events))
        yield Shop(made, cards)
    assert cards.stripe.api_key not in made.log()
    assert cards.stripe.webhook_secret not in made.log()
    cards.stop()
    check_books(url, folder)


def test_a_card_buys_credits_over_rest_and_grpc_and_a_dispute_takes_them_back(shop: Shop) -> None:
    customer = shop.customer()
    shop.cards.stripe.accidents.events = 3
    shop.cards.stripe.accidents.reversed_order = True
    top_up = customer.begin()
    assert top_up["state"] == "open"
    assert customer.begin() == top_up
    intent = customer.pay(top_up)["payment_intent"]
    assert customer.balance == TEN
    with grpc.insecure_channel(shop.gateway.grpc) as channel:
        stub = billing_service_pb2_grpc.BillingServiceStub(channel)
        metadata = bearer(customer.tenant.api_key)
        request = top_ups_pb2.GetTopUpRequest(name=top_up["name"])
        found = stub.GetTopUp(request, metadata=metadata).top_up
        assert found.state == top_ups_pb2.TOP_UP_STATE_SUCCEEDED
        assert (found.credited_nanousd, found.payer) == (TEN, "visa 4242")
        listed = stub.ListTopUps(top_ups_pb2.ListTopUpsRequest(), metadata=metadata)
        assert [one.name for one in listed.top_ups] == [top_up["name"]]
    shop.cards.settled(lambda stripe: stripe.dispute(intent))
    assert customer.balance == 0
    _, entries = customer.ask("GET", "/v1/transactions")
    assert [one["kind"] for one in entries["data"]] == ["reversal", "grant"]


def test_a_top_up_of_another_organisation_does_not_exist(shop: Shop) -> None:
    customer, other = shop.customer(), shop.customer()
    top_up = customer.begin()
    missing = top_up["name"].replace(customer.tenant.org, other.tenant.org)
    for name in (top_up["name"], missing):
        status, body = other.ask("GET", f"/v1/{name}")
        assert (status, body["error"]["code"]) == (404, "not_found")
    assert other.ask("GET", "/v1/top_ups")[1]["data"] == []


def test_a_saved_card_tops_up_a_low_account_by_itself(shop: Shop) -> None:
    customer, admin = shop.customer(), shop.gateway.admin_key
    account = f"/v1/accounts/{customer.tenant.org}/autoTopUp"
    status, body = customer.ask("PATCH", account, key=admin, active=True)
    assert status == 400
    assert "No card is saved" in body["error"]["message"]
    customer.pay(customer.begin(save_card=True))
    wanted = {"active": True, "threshold_nanousd": 2 * TEN, "amount_nanousd": TEN}
    status, body = customer.ask("PATCH", account, **wanted)
    assert status == 403  # a key that may spend may not decide this
    status, body = customer.ask("PATCH", account, key=admin, **wanted)
    assert status == 200, body
    assert (body["active"], body["card"]) == (True, "visa 4242")
    assert eventually(lambda: customer.balance == 2 * TEN)
    ran = command(
        shop.gateway, "topups", "auto", "--org", customer.tenant.org, "--off", "--month-max", "0",
        "--below", "3.5", "--json", **shop.cards.environment(),
    )  # fmt: skip
    assert (ran.code, ran.json["active"], ran.json["threshold_nanousd"]) == (
        0,
        False,
        3_500_000_000,
    )
    assert customer.ask("GET", account)[1] == ran.json


def test_events_without_a_signature_and_garbage_are_refused(shop: Shop) -> None:
    signed = shop.cards.stripe.signed
    with HttpConnection(shop.gateway, None) as http:
        for body, headers in (
            (b"", {}),
            (b"{}", {"stripe_signature": "t=1,v1=00"}),
            (b"\xff" * 100, {"stripe_signature": signed(b"\xff" * 100)}),
            (b"[]", {"stripe_signature": signed(b"[]")}),
            (b"{}", {"stripe_signature": signed(b"{}")}),
        ):
            answer = http.ask("/v1/webhooks/stripe", body, method="POST", **headers)
            assert answer.status == 400, (body, answer.json)
        assert http.ask("/v1/webhooks/stripe").status == 405


@pytest.mark.parametrize(
    "url",
    ["http://localhost.evil.example/", "http://example.com", "javascript:x", "https://", "//x"],
)
def test_a_page_leads_to_no_place_that_is_not_safe(shop: Shop, url: str) -> None:
    status, body = shop.customer().ask(
        "POST", "/v1/top_ups", amount_nanousd=TEN, method="card", request_id="x", return_url=url
    )
    assert (status, body["error"]["param"]) == (400, "return_url")


def test_half_of_the_settings_is_told_at_the_start(own_gateway: Gateway) -> None:
    own_gateway.environment["OMNI_STRIPE_API_KEY"] = "sk_test_alone"
    with pytest.raises(AssertionError, match="OMNI_STRIPE_WEBHOOK_SECRET go together"):
        own_gateway.start()
    assert "sk_test_alone" not in own_gateway.log()
