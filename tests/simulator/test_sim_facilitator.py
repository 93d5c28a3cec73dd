"""The facilitator and its chain against the SDKs' own clients: what is real is really checked."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from solana.rpc.async_api import AsyncClient
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from x402 import x402ClientSync
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.mechanisms.svm.exact.client import ExactSvmScheme
from x402.mechanisms.svm.exact.v1.client import ExactSvmSchemeV1
from x402.mechanisms.svm.signers import KeypairSigner
from x402.schemas import PaymentRequired, PaymentRequiredV1

from omni_grpc.simulator.facilitator import NETWORKS, Accident, Facilitator
from omni_grpc.simulator.facilitator.server import FORGED_SIGNATURE

pytestmark = pytest.mark.filterwarnings("ignore:Client is deprecated")

VERSIONS = pytest.mark.parametrize("version", [1, 2])
NETWORK = "solana-devnet"
CAIP, MINT = NETWORKS[NETWORK]
UNITS = 2_500_000


@pytest.fixture
async def facilitator() -> AsyncIterator[Facilitator]:
    async with Facilitator(NETWORK) as running:
        yield running


class Deal:
    """A wallet, a payee, and the SDK's client between them."""

    def __init__(self, facilitator: Facilitator) -> None:
        self.facilitator = facilitator
        self.keypair, self.payee = Keypair(), str(Keypair().pubkey())
        facilitator.chain.give(str(self.keypair.pubkey()), 4 * UNITS)
        self.fee_payer = ""

    def requirements(self, version: int, **changes: Any) -> dict[str, Any]:
        amount = {"maxAmountRequired" if version == 1 else "amount": str(UNITS)}
        resource = {"resource": "https://x.example/y"} if version == 1 else {}
        return {
            "scheme": "exact",
            "network": NETWORK if version == 1 else CAIP,
            "asset": MINT,
            "payTo": self.payee,
            "maxTimeoutSeconds": 60,
            "extra": {"feePayer": self.fee_payer, "memo": "order-1"},
            **amount,
            **resource,
            **changes,
        }

    async def signed(self, version: int, **changes: Any) -> Any:
        return await asyncio.to_thread(self._signed, version, changes)

    def _signed(self, version: int, changes: dict[str, Any]) -> Any:
        signer, url = KeypairSigner(self.keypair), self.facilitator.rpc_url
        schemes = (ExactSvmSchemeV1(signer, url), ExactSvmScheme(signer, url))
        client = x402ClientSync()
        client.set_spend_controls(controls=False)
        client.register_v1(NETWORK, schemes[0])
        client.register("solana:*", schemes[1])
        offer = {"x402Version": version, "accepts": [self.requirements(version, **changes)]}
        kind = PaymentRequiredV1 if version == 1 else PaymentRequired
        payment = client.create_payment_payload(kind.model_validate(offer))
        for scheme in schemes:
            for connection in scheme._clients.values():
                connection._provider.session.close()
        return payment.model_dump(by_alias=True, exclude_none=True)

    async def ask(self, what: str, version: int, payment: Any, **changes: Any) -> Any:
        body = {
            "x402Version": version,
            "paymentPayload": payment,
            "paymentRequirements": self.requirements(version, **changes),
        }
        async with httpx.AsyncClient(timeout=30) as http:
            return await http.post(f"{self.facilitator.url}/{what}", json=body)

    def arrived(self) -> int:
        return self.facilitator.chain.balance(self.payee)


@pytest.fixture
async def deal(facilitator: Facilitator) -> Deal:
    made = Deal(facilitator)
    config = FacilitatorConfig(url=facilitator.url)
    supported = await asyncio.to_thread(HTTPFacilitatorClient(config).get_supported)
    assert {(kind.x402_version, kind.network) for kind in supported.kinds} == {
        (1, NETWORK),
        (2, CAIP),
    }
    extra = supported.kinds[0].extra
    assert extra is not None
    made.fee_payer = extra["feePayer"]
    return made


@VERSIONS
async def test_what_the_sdk_signs_is_verified_settled_and_seen_by_a_node(
    deal: Deal, version: int
) -> None:
    payment = await deal.signed(version)
    assert (await deal.ask("verify", version, payment)).json()["isValid"] is True
    assert deal.arrived() == 0
    settled = (await deal.ask("settle", version, payment)).json()
    assert settled["success"] is True
    assert settled["payer"] == str(deal.keypair.pubkey())
    assert deal.arrived() == UNITS
    assert deal.facilitator.chain.balance(settled["payer"]) == 3 * UNITS
    signature = Signature.from_string(settled["transaction"])
    async with AsyncClient(deal.facilitator.rpc_url) as node:
        account = Pubkey.from_string(deal.facilitator.chain.account(deal.payee))
        (listed,) = (await node.get_signatures_for_address(account)).value
        assert (listed.signature, listed.memo) == (signature, "[7] order-1")
        found = (await node.get_transaction(signature, "base64", None, 0)).value
        assert found is not None
        meta = found.transaction.meta
        assert meta is not None
        after = {one.owner: one.ui_token_amount.amount for one in meta.post_token_balances or []}
        assert after == {
            Pubkey.from_string(deal.payee): str(UNITS),
            deal.keypair.pubkey(): str(3 * UNITS),
        }
        (status,) = (await node.get_signature_statuses([signature])).value
        assert status is not None
        assert status.err is None


@VERSIONS
async def test_a_transaction_lands_once(deal: Deal, version: int) -> None:
    payment = await deal.signed(version)
    assert (await deal.ask("settle", version, payment)).json()["success"] is True
    again = (await deal.ask("settle", version, payment)).json()
    assert again["errorReason"] == "transaction_simulation_failed"
    assert deal.arrived() == UNITS


@VERSIONS
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"asset": str(Keypair().pubkey())}, "mint_mismatch"),
        ({"payTo": str(Keypair().pubkey())}, "recipient_mismatch"),
        ({"amount": str(UNITS + 1), "maxAmountRequired": str(UNITS + 1)}, "amount_insufficient"),
        ({"extra": {}}, "missing_fee_payer"),
        ({"extra": {"feePayer": str(Keypair().pubkey())}}, "fee_payer_not_managed"),
        ({"scheme": "upto"}, "unsupported_scheme"),
    ],
)
async def test_what_is_not_as_required_is_refused_with_its_reason(
    deal: Deal, version: int, changes: dict[str, Any], reason: str
) -> None:
    payment = await deal.signed(version)
    answer = await deal.ask("verify", version, payment, **changes)
    found = answer.json()
    assert found["isValid"] is False
    assert reason in found["invalidReason"] or answer.status_code == 400
    assert deal.arrived() == 0


@VERSIONS
async def test_another_memo_than_the_required_one_is_refused(deal: Deal, version: int) -> None:
    payment = await deal.signed(
        version, extra={"feePayer": deal.fee_payer, "memo": "another order"}
    )
    found = (await deal.ask("verify", version, payment)).json()
    assert found["invalidReason"] == "invalid_exact_svm_payload_memo_mismatch"


async def test_an_empty_wallet_and_an_old_blockhash_fail_on_the_chain(deal: Deal) -> None:
    poor = await deal.signed(2, amount=str(5 * UNITS))
    found = (await deal.ask("verify", 2, poor, amount=str(5 * UNITS))).json()
    assert "Custom" in found["invalidMessage"]
    late = await deal.signed(2)
    deal.facilitator.expire()
    found = (await deal.ask("verify", 2, late)).json()
    assert "BlockhashNotFound" in found["invalidMessage"]


async def test_a_signature_that_is_not_the_wallets_is_refused(deal: Deal) -> None:
    payment = await deal.signed(2)
    wire = base64.b64decode(payment["payload"]["transaction"])
    transaction = VersionedTransaction.from_bytes(wire)
    message = transaction.message
    assert isinstance(message, MessageV0)
    forged = Keypair().sign_message(b"\x80" + bytes(message))
    wire = bytes(VersionedTransaction.populate(message, [transaction.signatures[0], forged]))
    payment["payload"]["transaction"] = base64.b64encode(wire).decode()
    found = (await deal.ask("verify", 2, payment)).json()
    assert "SignatureFailure" in found["invalidMessage"]


@pytest.mark.parametrize(
    ("accident", "arrives", "told"),
    [
        (Accident.ERROR_AFTER, True, 500),
        (Accident.ERROR_BEFORE, False, 500),
        (Accident.UNKNOWN, True, "unexpected_settle_error"),
        (Accident.TWICE, True, "transaction_simulation_failed"),
        (Accident.PENDING, False, "settlement_pending"),
        (Accident.WRONG_NETWORK, True, "eip155:8453"),
        (Accident.FORGED, False, FORGED_SIGNATURE),
        (Accident.STRICTER, False, "compute_limit_instruction"),
        (Accident.LOST, True, httpx.RemoteProtocolError),
        (Accident.NEVER, False, httpx.RemoteProtocolError),
    ],
)
async def test_an_accident_strikes_once(
    deal: Deal, accident: Accident, arrives: bool, told: Any
) -> None:
    deal.facilitator.strike(accident)
    payment = await deal.signed(2)
    if isinstance(told, type):
        with pytest.raises(told):
            await deal.ask("settle", 2, payment)
    elif isinstance(told, int):
        assert (await deal.ask("settle", 2, payment)).status_code == told
    else:
        assert told in (await deal.ask("settle", 2, payment)).text
    assert deal.arrived() == (UNITS if arrives else 0)
    deal.facilitator.land()
    if accident is Accident.PENDING:
        assert (await deal.ask("settle", 2, payment)).json()["success"] is True
    fresh = await deal.signed(2, amount=str(UNITS - 1))
    again = await deal.ask("settle", 2, fresh, amount=str(UNITS - 1))
    assert again.json()["success"] is True


async def test_a_late_answer_waits_to_be_released(deal: Deal) -> None:
    deal.facilitator.strike(Accident.LATE)
    payment = await deal.signed(2)
    asked = asyncio.create_task(deal.ask("settle", 2, payment))
    async with asyncio.timeout(10):
        while not deal.arrived():
            await asyncio.sleep(0.01)
    assert not asked.done()
    deal.facilitator.release()
    assert (await asked).json()["success"] is True


async def test_people_can_change_what_happens_over_http(deal: Deal) -> None:
    root = deal.facilitator.url.removesuffix("/facilitator")
    wallet = str(Keypair().pubkey())
    async with httpx.AsyncClient() as http:
        given = await http.post(f"{root}/sim/wallets/{wallet}", json={"units": 7})
        assert given.json() == {"address": wallet, "units": 7}
        assert (await http.post(f"{root}/sim/wallets/{wallet}", json={})).status_code == 400
        assert (await http.post(f"{root}/sim/accidents/error_before")).status_code == 204
        assert (await http.post(f"{root}/sim/accidents/no_such")).status_code == 404
        assert (await http.post(f"{root}/sim/chain/expire")).status_code == 204
    assert (await deal.ask("settle", 2, await deal.signed(2))).status_code == 500


async def test_fresh_wallets_can_have_something_to_try_with() -> None:
    async with Facilitator(first_units=UNITS) as facilitator:
        deal = Deal(facilitator)
        deal.keypair = Keypair()
        async with httpx.AsyncClient() as http:
            kinds = (await http.get(f"{facilitator.url}/supported")).json()["kinds"]
        deal.fee_payer = kinds[0]["extra"]["feePayer"]
        settled = await deal.ask("settle", 2, await deal.signed(2))
        assert settled.json()["success"] is True
        assert deal.arrived() == UNITS


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32602),
        (b"[]", -32602),
        (b'{"method":"getNothing"}', -32601),
        (b'{"method":"getTransaction","params":{}}', -32602),
        (b'{"method":"sendTransaction","params":["AA=="]}', -32602),
        (b'{"method":"sendTransaction","params":["AA==",{"encoding":"base64"}]}', -32002),
        (b'{"method":"getSignaturesForAddress","params":["x"]}', -32602),
    ],
)
async def test_a_node_says_what_is_wrong_with_a_question(
    facilitator: Facilitator, body: bytes, code: int
) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(facilitator.rpc_url, content=body)
    assert msgspec.json.decode(answer.content)["error"]["code"] == code


def test_the_page_for_users_names_every_accident() -> None:
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    assert [one for one in Accident if f"`{one}`" not in page] == []
