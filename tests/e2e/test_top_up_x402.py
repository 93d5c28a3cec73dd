"""Credits bought with USDC from a real gateway, by the SDK's own client, over REST and gRPC."""

import asyncio
import base64
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from commands import command
from facilitator_thread import FacilitatorThread, Wallet
from gateway import Gateway, Refusal, Tenant, bearer, eventually, running
from gateway_fixtures import check_books
from omni.billing.v1 import billing_service_pb2_grpc, top_ups_pb2
from omni.router.v1 import router_service_pb2, router_service_pb2_grpc
from x402.http.clients import wrapHttpxWithPayment
from x402.http.utils import decode_payment_response_header

from omni_grpc.simulator.facilitator import Accident
from omni_grpc.storage import EmbeddedPostgres

pytestmark = pytest.mark.filterwarnings("ignore:Client is deprecated")

CHAT = {"model": "sim/demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
DOLLAR = 1_000_000_000


@pytest.fixture(scope="module")
def facilitator() -> Iterator[FacilitatorThread]:
    thread = FacilitatorThread()
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture(scope="module")
def seller(
    facilitator: FacilitatorThread,
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway that takes USDC."""
    url = postgres.create_database("e2e_x402", template=template[0])
    folder = tmp_path_factory.mktemp("x402")
    made = Gateway(url, simulator.base_url, folder, template[1])
    with running(facilitator.selling(made)) as started:
        yield started
    check_books(url, folder)


@pytest.fixture
def poor(seller: Gateway) -> Tenant:
    return seller.tenant(nanousd=0)


@pytest.fixture
def wallet(facilitator: FacilitatorThread) -> Iterator[Wallet]:
    made = Wallet(facilitator)
    yield made
    made.close()


def client(gateway: Gateway, tenant: Tenant, **headers: str) -> httpx.Client:
    return httpx.Client(
        base_url=gateway.rest,
        headers={"authorization": f"Bearer {tenant.api_key}", **headers},
        timeout=30,
    )


def balance(gateway: Gateway, tenant: Tenant) -> int:
    with client(gateway, tenant) as http:
        found: int = http.get("/v1/balance").json()["posted_nanousd"]
        return found


def offered(gateway: Gateway, tenant: Tenant, amount: str = "10.00") -> tuple[str, str]:
    """The two offers of a top-up."""
    with client(gateway, tenant) as http:
        answer = http.post("/v1/topup", json={"amount": amount})
    assert answer.status_code == 402
    return answer.text, base64.b64decode(answer.headers["payment-required"]).decode()


async def test_the_sdks_client_is_refused_a_chat_pays_and_gets_its_answer(
    seller: Gateway, poor: Tenant, wallet: Wallet
) -> None:
    headers = {"authorization": f"Bearer {poor.api_key}"}
    async with wrapHttpxWithPayment(wallet.client, headers=headers, timeout=30) as paying:
        answer = await paying.post(f"{seller.rest}/v1/chat/completions", json=CHAT)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        receipt = decode_payment_response_header(answer.headers["payment-response"])
        assert (receipt.success, receipt.payer) == (True, wallet.address)
        cost = float(answer.headers["x-omni-cost-usd"])
        assert balance(seller, poor) == DOLLAR - round(cost * DOLLAR)
        second = await paying.post(f"{seller.rest}/v1/chat/completions", json=CHAT)
        assert second.status_code == 200
        assert "payment-response" not in second.headers  # there was credit left


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_a_refusal_for_want_of_credits_carries_the_offer(
    seller: Gateway, poor: Tenant, path: str
) -> None:
    body = {"/v1/responses": {"model": "sim/demo", "input": "Hello"}}.get(path, CHAT)
    with client(seller, poor) as http:
        answer = http.post(path, json=body)
    assert answer.status_code == 402
    v2 = json.loads(base64.b64decode(answer.headers["payment-required"]))
    assert v2["accepts"][0]["amount"] == "1000000"
    if path != "/v1/messages":
        v1 = answer.json()
        assert v1["error"]["code"] == "insufficient_quota"
        assert (v1["x402Version"], v1["accepts"][0]["maxAmountRequired"]) == (1, "1000000")


@pytest.mark.parametrize(("version", "header"), [(1, "x-payment"), (2, "payment-signature")])
def test_a_top_up_over_rest(
    seller: Gateway, poor: Tenant, wallet: Wallet, version: int, header: str
) -> None:
    text = wallet.sign(offered(seller, poor)[version - 1])
    with client(seller, poor) as http:
        answers = [
            http.post("/v1/topup", json={"amount": "10.00"}, headers={header: text})
            for _ in range(2)
        ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.json()["credited_usd"] == "10"
        name = "x-payment-response" if version == 1 else "payment-response"
        receipt = json.loads(base64.b64decode(answer.headers[name]))
        assert receipt["transaction"] == answer.json()["transaction"]
        assert receipt["network"].startswith("solana-devnet" if version == 1 else "solana:EtW")
    assert balance(seller, poor) == 10 * DOLLAR


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"amount": "10.00"}, {"x-payment": "no payment"}, 400),
        ({"amount": "10.00"}, {"payment-signature": "e30="}, 400),
        ({"amount": "ten"}, {}, 400),
        ({"amount": 10}, {}, 400),
        ({"amount": "0.01"}, {}, 400),
        ({"amount": "10.0000001"}, {}, 400),
        ({}, {}, 400),
        ({"amount": "10", "to": "me"}, {}, 400),
    ],
)
def test_what_is_malformed_is_400(
    seller: Gateway, poor: Tenant, body: Any, headers: dict[str, str], status: int
) -> None:
    with client(seller, poor) as http:
        answer = http.post("/v1/topup", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert "payment-required" not in answer.headers


def test_while_a_payments_fate_is_unknown_no_other_is_asked_for(
    seller: Gateway, poor: Tenant, wallet: Wallet, facilitator: FacilitatorThread
) -> None:
    text = wallet.sign(offered(seller, poor)[1])
    facilitator.strike(Accident.PENDING)
    with client(seller, poor, **{"payment-signature": text}) as http:
        for _ in range(2):
            answer = http.post("/v1/chat/completions", json=CHAT)
            assert answer.status_code == 409
            assert answer.json()["error"]["code"] == "payment_pending"
            assert "payment-required" not in answer.headers
            assert "accepts" not in answer.json()
        facilitator.there(lambda one: one.land())
        answer = http.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200, answer.text
    assert balance(seller, poor) > 9 * DOLLAR


def test_a_wallet_pays_over_grpc_what_a_refused_chat_offered(
    seller: Gateway, poor: Tenant, wallet: Wallet
) -> None:
    prompt = router_service_pb2.ChatPrompt(
        model="sim/demo",
        messages=[
            router_service_pb2.Message(
                role=router_service_pb2.ROLE_USER, parts=[router_service_pb2.Part(text="Hello")]
            )
        ],
    )
    asked = router_service_pb2.CompleteChatRequest(prompt=prompt)
    with grpc.insecure_channel(seller.grpc) as channel:
        router = router_service_pb2_grpc.RouterServiceStub(channel)
        billing = billing_service_pb2_grpc.BillingServiceStub(channel)
        with pytest.raises(grpc.RpcError) as failed:
            router.CompleteChat(asked, metadata=bearer(poor.api_key))
        refusal = Refusal.of(failed.value)
        assert refusal.reason == "CREDITS_EXHAUSTED"
        offer = refusal.metadata["x402"]
        memo = json.loads(offer)["accepts"][0]["extra"]["memo"]
        done = billing.ConfirmTopUp(
            top_ups_pb2.ConfirmTopUpRequest(
                name=f"{poor.account}/topUps/{memo}", x402_payment=wallet.sign(offer)
            ),
            metadata=bearer(poor.api_key),
        ).top_up
        assert done.state == top_ups_pb2.TOP_UP_STATE_SUCCEEDED
        assert (done.credited_nanousd, done.payer) == (DOLLAR, wallet.address)
        router.CompleteChat(asked, metadata=bearer(poor.api_key))


def test_a_top_up_over_grpc_is_quoted_paid_and_listed(
    seller: Gateway, poor: Tenant, wallet: Wallet
) -> None:
    who = bearer(poor.api_key)
    with grpc.insecure_channel(seller.grpc) as channel:
        billing = billing_service_pb2_grpc.BillingServiceStub(channel)
        asked = top_ups_pb2.CreateTopUpRequest(amount_nanousd=3 * DOLLAR, request_id="three")
        made = billing.CreateTopUp(asked, metadata=who).top_up
        assert billing.CreateTopUp(asked, metadata=who).top_up == made
        payment = wallet.sign(made.x402_required_json)
        confirm = top_ups_pb2.ConfirmTopUpRequest(name=made.name, x402_payment=payment)
        done = billing.ConfirmTopUp(confirm, metadata=who).top_up
        assert done.state == top_ups_pb2.TOP_UP_STATE_SUCCEEDED
        assert billing.ConfirmTopUp(confirm, metadata=who).top_up == done
        get = top_ups_pb2.GetTopUpRequest(name=made.name)
        assert billing.GetTopUp(get, metadata=who).top_up == done
        listed = billing.ListTopUps(top_ups_pb2.ListTopUpsRequest(), metadata=who)
        assert list(listed.top_ups) == [done]
    assert balance(seller, poor) == 3 * DOLLAR


def test_one_payment_at_two_servers_in_both_versions_at_once_is_credited_once(
    seller: Gateway, poor: Tenant, wallet: Wallet, tmp_path: Path, facilitator: FacilitatorThread
) -> None:
    v1, v2 = offered(seller, poor)
    text = wallet.sign(v2)
    wrapped = {"x402Version": 1, "payload": json.loads(base64.b64decode(text))["payload"]}
    wrapped |= {name: json.loads(v1)["accepts"][0][name] for name in ("scheme", "network")}
    headers = [
        {"payment-signature": text},
        {"x-payment": base64.b64encode(json.dumps(wrapped).encode()).decode()},
    ]
    other = Gateway(seller.database_url, seller.simulator_url, tmp_path, seller.admin_key)
    before = facilitator.arrived()

    async def present(rest: str, sent: dict[str, str]) -> int:
        async with httpx.AsyncClient(timeout=30) as http:
            bearer_key = {"authorization": f"Bearer {poor.api_key}"}
            body = {"amount": "10.00"}
            answer = await http.post(f"{rest}/v1/topup", json=body, headers=sent | bearer_key)
            return answer.status_code

    async def present_all(rests: list[str]) -> list[int]:
        calls = (present(rest, sent) for rest in rests for sent in headers for _ in range(4))
        return await asyncio.gather(*calls)

    with running(facilitator.selling(other)):
        statuses = asyncio.run(present_all([seller.rest, other.rest]))
        assert set(statuses) <= {200, 409}
        assert 200 in statuses
        assert set(asyncio.run(present_all([seller.rest, other.rest]))) == {200}
    assert facilitator.arrived() - before == 10_000_000
    assert balance(seller, poor) == 10 * DOLLAR


def test_a_gateway_that_is_killed_between_settling_and_crediting_credits_once_it_is_back(
    own_gateway: Gateway, facilitator: FacilitatorThread, wallet: Wallet
) -> None:
    gateway = facilitator.selling(own_gateway)
    gateway.start()
    tenant = gateway.tenant(nanousd=0)
    text = wallet.sign(offered(gateway, tenant)[1])
    before = facilitator.arrived()
    facilitator.strike(Accident.LATE)

    def present() -> None:
        with client(gateway, tenant) as http, pytest.raises(httpx.HTTPError):
            http.post("/v1/topup", json={"amount": "10"}, headers={"payment-signature": text})

    caller = threading.Thread(target=present)
    caller.start()
    assert eventually(lambda: facilitator.arrived() - before == 10_000_000)
    process = gateway.process
    assert process is not None
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.wait()
    caller.join(30)
    facilitator.there(lambda one: one.release())
    gateway.start()
    assert eventually(lambda: balance(gateway, tenant) == 10 * DOLLAR, 30)
    with client(gateway, tenant) as http:  # and the payer who asks again is told the first answer
        answer = http.post("/v1/topup", json={"amount": "10"}, headers={"payment-signature": text})
    assert answer.json()["credited_usd"] == "10"
    assert balance(gateway, tenant) == 10 * DOLLAR
    assert facilitator.arrived() - before == 10_000_000


def test_the_command_line_pays_with_a_fresh_wallet_and_shows_what_was_bought(
    seller: Gateway, poor: Tenant, facilitator: FacilitatorThread, tmp_path: Path
) -> None:
    facilitator.there(lambda one: setattr(one.chain, "first_units", 50_000_000))
    where = {"OMNI_API_KEY": poor.api_key, "OMNI_PUBLIC_URL": seller.rest}
    node = ("--rpc-url", facilitator.facilitator.rpc_url)
    offer = command(seller, "topups", "create", "--amount", "2", **where)
    assert offer.json["accepts"][0]["amount"] == "2000000"
    keys = tmp_path / "wallet.json"
    paid = command(
        seller, "topups", "create", "--amount", "2.50", "--pay-with", keys, *node, "--json", **where
    )
    assert paid.json["credited_usd"] == "2.5", paid
    assert "A new wallet" in paid.err
    assert keys.stat().st_mode & 0o077 == 0
    listed = command(seller, "topups", "list", "--org", poor.org, "--json")
    assert [one["name"] for one in listed.json] == [paid.json["name"]]
    shown = command(seller, "topups", "show", paid.json["name"])
    assert "succeeded" in shown.out
    assert balance(seller, poor) == 5 * DOLLAR // 2
