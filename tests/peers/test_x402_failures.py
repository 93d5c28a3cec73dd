"""Failures of x402 that its users reported; see docs/peers.md."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from facilitator_thread import FacilitatorThread, Wallet
from gateway import Gateway, Tenant, eventually, running
from gateway_fixtures import check_books

from omni_grpc.simulator.facilitator import Accident
from omni_grpc.storage import EmbeddedPostgres

pytestmark = pytest.mark.filterwarnings("ignore:Client is deprecated")

CHAT = {"model": "sim/demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
DOLLAR, DOLLAR_UNITS = 10**9, 10**6


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
    url = postgres.create_database("peers_x402", template=template[0])
    folder = tmp_path_factory.mktemp("peers_x402")
    made = Gateway(url, simulator.base_url, folder, template[1])
    with running(facilitator.selling(made)) as started:
        yield started
    check_books(url, folder)


class Buyer:
    """An account without credits, its wallet, and what both have in the end."""

    def __init__(self, seller: Gateway, facilitator: FacilitatorThread) -> None:
        self.tenant: Tenant = seller.tenant(nanousd=0)
        self.wallet = Wallet(facilitator)
        self._facilitator = facilitator
        self._before = facilitator.arrived()
        self.http = httpx.Client(
            base_url=seller.rest,
            headers={"authorization": f"Bearer {self.tenant.api_key}"},
            timeout=30,
        )

    def chat(self, payment: str = "", version: int = 2) -> httpx.Response:
        name = "payment-signature" if version != 1 else "x-payment"
        headers = {name: payment} if payment else {}
        return self.http.post("/v1/chat/completions", json=CHAT, headers=headers)

    def signed(self, refusal: httpx.Response, version: int = 2, units: int | None = None) -> str:
        """What a conforming client signs when it is answered so."""
        if version == 1:
            offer = {name: refusal.json()[name] for name in ("x402Version", "accepts")}
            return self.wallet.sign(json.dumps(offer))
        offer = json.loads(base64.b64decode(refusal.headers["payment-required"]))
        if units is None:
            return self.wallet.sign(json.dumps(offer))
        asked = offer["accepts"][0]["amount"]
        offer["accepts"][0]["amount"] = str(units)
        payment = json.loads(base64.b64decode(self.wallet.sign(json.dumps(offer))))
        payment["accepted"]["amount"] = asked
        return base64.b64encode(json.dumps(payment).encode()).decode()

    @property
    def paid_units(self) -> int:
        return self._facilitator.arrived() - self._before

    @property
    def credited(self) -> int:
        """All that was ever bought."""
        found = self.http.get("/v1/transactions").json()["data"]
        return sum(one["amount_nanousd"] for one in found if one["kind"] == "grant")


@pytest.fixture
def buyer(seller: Gateway, facilitator: FacilitatorThread) -> Iterator[Buyer]:
    made = Buyer(seller, facilitator)
    yield made
    made.http.close()
    made.wallet.close()


def asks_for_a_payment(answer: httpx.Response) -> bool:
    return "payment-required" in answer.headers or "accepts" in answer.text


@pytest.mark.parametrize("version", [1, 2])
def test_x402_1062_277_who_paid_is_not_answered_with_402(
    buyer: Buyer, facilitator: FacilitatorThread, version: int
) -> None:
    """x402-foundation/x402#1062 (and #277): the facilitator gave up before the chain confirmed, and
    who had paid was answered with a 402: the wallet was debited, and nothing came of it.

    Here the chain is asked. Until it answers the caller is told 409, and never to pay.
    """
    payment = buyer.signed(buyer.chat(), version)
    facilitator.strike(Accident.PENDING)
    early = buyer.chat(payment, version)
    assert early.status_code == 409
    assert not asks_for_a_payment(early)
    facilitator.there(lambda one: one.land())
    assert buyer.chat(payment, version).status_code == 200
    assert (buyer.paid_units, buyer.credited) == (DOLLAR_UNITS, DOLLAR)


def test_x402_831_2294_an_unknown_fate_is_kept_until_it_is_known(
    buyer: Buyer, facilitator: FacilitatorThread
) -> None:
    """x402-foundation/x402#831, #2294: after a timeout nobody knew whether a payment had settled,
    no state said so, and nothing recovered it once its caller had gone.

    Here a payment is written before it is sent. The caller never comes back, and it is credited.
    """
    payment = buyer.signed(buyer.chat())
    facilitator.strike(Accident.PENDING)
    assert buyer.chat(payment).status_code == 409
    memo = json.loads(base64.b64decode(payment))["accepted"]["extra"]["memo"]
    seen = buyer.http.get(f"/v1/{buyer.tenant.account}/topUps/{memo}").json()
    assert seen["state"] == "pending"
    facilitator.there(lambda one: one.land())
    assert eventually(lambda: buyer.credited == DOLLAR, 30)
    seen = buyer.http.get(f"/v1/{buyer.tenant.account}/topUps/{memo}").json()
    assert (seen["state"], seen["credited_nanousd"]) == ("succeeded", DOLLAR)
    assert buyer.paid_units == DOLLAR_UNITS


def test_x402_1378_more_than_was_asked_is_credited_and_said(buyer: Buyer) -> None:
    """x402-foundation/x402#1378: facilitators take more than the exact amount, and the rest was
    nobody's.

    Here what arrived is credited, all of it, and the top-up says that it was another amount.
    """
    payment = buyer.signed(buyer.chat(), units=3 * DOLLAR_UNITS)
    answer = buyer.http.post(
        "/v1/topup", json={"amount": "1"}, headers={"payment-signature": payment}
    )
    assert answer.json()["credited_usd"] == "3"
    assert answer.json()["message"] == "3 USD arrived instead of 1 USD, and were credited."
    assert (buyer.paid_units, buyer.credited) == (3 * DOLLAR_UNITS, 3 * DOLLAR)


@pytest.mark.parametrize("version", [1, 2])
def test_x402_3083_3214_a_settlement_that_is_pending_is_no_failure(
    buyer: Buyer, facilitator: FacilitatorThread, version: int
) -> None:
    """x402-foundation/x402 PR#3083, PR#3214: a transaction that was sent and not yet confirmed was
    told as failed; `settlement_pending` came for version 2, and version 1 still says
    `transaction_failed`.

    Here neither is an end. The same payment is looked for, and asked about again, until it landed.
    """
    payment = buyer.signed(buyer.chat(), version)
    facilitator.strike(Accident.PENDING)
    for _ in range(3):
        assert buyer.chat(payment, version).status_code == 409
    assert buyer.paid_units == 0
    facilitator.there(lambda one: one.land())
    assert buyer.chat(payment, version).status_code == 200
    assert (buyer.paid_units, buyer.credited) == (DOLLAR_UNITS, DOLLAR)


def test_x402_3268_cdp_sdk_795_a_facilitator_that_became_stricter_is_told_and_takes_nothing(
    buyer: Buyer, facilitator: FacilitatorThread
) -> None:
    """x402-foundation/x402#3268, coinbase/cdp-sdk#795: a hosted facilitator lowered the compute
    units that it lets a transaction have, without a word; what had settled was rejected.

    Here its reason reaches the caller as it is, nothing is taken, and another payment may come.
    """
    payment = buyer.signed(buyer.chat())
    facilitator.strike(Accident.STRICTER)
    refused = buyer.chat(payment)
    assert refused.status_code == 402
    assert refused.json()["error"]["code"] == "payment_refused"
    assert "compute_limit_instruction" in refused.json()["error"]["message"]
    assert (buyer.paid_units, buyer.credited) == (0, 0)
    assert buyer.chat(buyer.signed(refused)).status_code == 200
    assert (buyer.paid_units, buyer.credited) == (DOLLAR_UNITS, DOLLAR)


@pytest.mark.parametrize("accident", [Accident.LOST, Accident.ERROR_AFTER, Accident.PENDING])
def test_sample_agentcore_40_a_client_that_signs_at_each_402_pays_once(
    buyer: Buyer, facilitator: FacilitatorThread, accident: Accident
) -> None:
    """aws-samples/sample-agentcore-cloudfront-x402-payments#40: a settle that timed out was
    answered with a fresh 402, so a conforming client signed again, and paid twice.

    Here no 402 follows while a payment may have been taken: not for the same payment, and not for a
    client that begins again without one.
    """
    payment = buyer.signed(buyer.chat())
    facilitator.strike(accident)
    answer = buyer.chat(payment)
    for _ in range(4):  # as an agent that tries the whole call again, from its beginning
        assert answer.status_code in (200, 409)
        assert not asks_for_a_payment(answer)
        answer = buyer.chat()
    facilitator.there(lambda one: one.land())
    assert buyer.chat(payment).status_code == 200
    assert (buyer.paid_units, buyer.credited) == (DOLLAR_UNITS, DOLLAR)
