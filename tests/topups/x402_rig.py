"""A service that sells credits for USDC, a wallet that buys some, and the chain between them."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from solders.keypair import Keypair
from x402 import x402ClientSync
from x402.http.utils import encode_payment_signature_header
from x402.mechanisms.svm.exact.client import ExactSvmScheme
from x402.mechanisms.svm.exact.v1.client import ExactSvmSchemeV1
from x402.mechanisms.svm.signers import KeypairSigner
from x402.schemas import PaymentRequired, PaymentRequiredV1

from omni_grpc.audit import Actor
from omni_grpc.cli.opening import Rooms
from omni_grpc.core.clock import SystemClock
from omni_grpc.identity import Org
from omni_grpc.simulator.facilitator import Facilitator
from omni_grpc.storage import EmbeddedPostgres
from omni_grpc.topups import Method, TopUp, TopUps, TopUpStore, WalletDesk
from omni_grpc.topups.x402 import (
    FacilitatorClient,
    JsonService,
    Quotes,
    SolanaNode,
    Terms,
    X402Method,
)

BUYER = Actor(name="orgs/acme/apiKeys/0123456789ab", peer="192.0.2.1", call_id="c1")
"""Who asks."""

TEN = 10_000_000_000
"""Ten dollars, in nano-USD."""

TEN_UNITS = 10_000_000
"""The same in USDC."""


class MovedClock(SystemClock):
    """The wall clock, ahead by as much as a test says."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class Payer:
    """A wallet with the SDK's own client, of both versions."""

    def __init__(self, rpc_url: str, network: str = "solana-devnet") -> None:
        self.keypair = Keypair()
        signer = KeypairSigner(self.keypair)
        self._schemes = (ExactSvmScheme(signer, rpc_url), ExactSvmSchemeV1(signer, rpc_url))
        self.client = x402ClientSync()
        self.client.set_spend_controls(controls=False)  # it refuses more than a dollar by default
        self.client.register("solana:*", self._schemes[0])
        self.client.register_v1(network, self._schemes[1])

    @property
    def address(self) -> str:
        return str(self.keypair.pubkey())

    def close(self) -> None:
        """Closes the connections that the SDK leaves open."""
        for scheme in self._schemes:
            while scheme._clients:
                scheme._clients.popitem()[1]._provider.session.close()

    async def sign(self, offer: bytes | str, *, units: int | None = None) -> str:
        """The header for an offer of either version; `units` are signed instead of those asked."""
        return await asyncio.to_thread(self._sign, msgspec.json.decode(offer), units)

    def _sign(self, offer: dict[str, Any], units: int | None) -> str:
        asked = offer["accepts"][0]
        field = "maxAmountRequired" if offer["x402Version"] == 1 else "amount"
        wanted = asked[field]
        if units is not None:
            asked[field] = str(units)
        kind = PaymentRequiredV1 if offer["x402Version"] == 1 else PaymentRequired
        payment = self.client.create_payment_payload(kind.model_validate(offer))
        self.close()
        if units is not None and offer["x402Version"] != 1:
            payment.accepted.amount = wanted
        return encode_payment_signature_header(payment)


def rewrapped(text: str, offer: bytes | str) -> str:
    """The same signed transaction in the other version, which `offer` is of."""
    found = msgspec.json.decode(base64.b64decode(text))
    asked = msgspec.json.decode(offer)
    wrapped = {"x402Version": asked["x402Version"], "payload": found["payload"]}
    if asked["x402Version"] == 1:
        wrapped |= {name: asked["accepts"][0][name] for name in ("scheme", "network")}
    else:
        wrapped["accepted"] = asked["accepts"][0]
    return base64.b64encode(msgspec.json.encode(wrapped)).decode()


@dataclass
class Shop:
    """Sells credits to `org`; `payer` has a hundred dollars."""

    rooms: Rooms
    org: Org
    facilitator: Facilitator
    payer: Payer
    pay_to: str
    clock: MovedClock
    method: X402Method
    top_ups: TopUps
    desk: WalletDesk

    async def begin(self, request_id: str = "one", amount: int = TEN) -> TopUp:
        return await self.top_ups.create(
            BUYER,
            org_id=self.org.org_id,
            account_id=self.org.account_id,
            amount=amount,
            method=Method.X402,
            request_id=request_id,
        )

    def offer(self, top_up: TopUp, version: int = 2) -> bytes:
        found = msgspec.json.decode(top_up.offer)
        return msgspec.json.encode(found[f"v{version}"])

    async def signed(self, top_up: TopUp, version: int = 2, units: int | None = None) -> str:
        return await self.payer.sign(self.offer(top_up, version), units=units)

    async def confirm(self, top_up: TopUp, text: str) -> TopUp:
        org = self.org
        return await self.top_ups.confirm(BUYER, org.org_id, org.account_id, top_up.id, text)

    async def take(self, text: str) -> TopUp:
        return await self.desk.take(BUYER, self.org.org_id, self.org.account_id, text)

    async def now(self, top_up: TopUp) -> TopUp:
        found = await self.top_ups.find(top_up.id)
        assert found is not None
        return found

    async def look(self, top_up: TopUp) -> TopUp:
        return await self.top_ups.look(await self.now(top_up))

    async def credited(self) -> int:
        return (await self.rooms.ledger.balance(self.org.account_id)).posted

    def arrived(self) -> int:
        """What the payee has on the chain, in units."""
        return self.facilitator.chain.balance(self.pay_to)


def make_shop(
    rooms: Rooms, org: Org, facilitator: Facilitator, *, with_node: bool = True, url: str = ""
) -> Shop:
    pay_to = str(Keypair().pubkey())
    clock = MovedClock()
    terms = Terms(network=facilitator.network, pay_to=pay_to, public_url="https://gateway.example")
    service = JsonService()
    method = X402Method(
        terms,
        FacilitatorClient(service, url or facilitator.url),
        clock,
        Quotes(b"s" * 32),
        node=SolanaNode(service, facilitator.rpc_url, terms) if with_node else None,
        seen_seconds=0.2,
    )
    bounds = {"amount_min": TEN // 10, "amount_max": 1_000 * TEN}
    top_ups = TopUps(TopUpStore(rooms.database), rooms.ledger, clock, {}, signed=method, **bounds)
    payer = Payer(facilitator.rpc_url, facilitator.network)
    facilitator.chain.give(payer.address, 10 * TEN_UNITS)
    return Shop(
        rooms=rooms,
        org=org,
        facilitator=facilitator,
        payer=payer,
        pay_to=pay_to,
        clock=clock,
        method=method,
        top_ups=top_ups,
        desk=WalletDesk(top_ups, method, **bounds),
    )


async def until(check: Callable[[], bool], seconds: float = 40.0) -> None:
    """Waits, for a bounded time, until something is so."""
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.01)


# --- fixtures, for the files that import them -----------------------------------------------------
_numbers = itertools.count()


@pytest.fixture(scope="module")
def topup_url(topup_server: EmbeddedPostgres) -> Iterator[str]:
    """One database for a file: each test has an organisation of its own."""
    name = f"x402_{next(_numbers)}"
    yield topup_server.create_database(name, template="topups_template")
    topup_server.drop_database(name)


@pytest.fixture
async def org(rooms: Rooms) -> Org:
    slug = f"acme-{next(_numbers)}"
    await rooms.database.execute(
        """
        WITH new AS MATERIALIZED (SELECT nextval(pg_get_serial_sequence('org', 'id')) AS id)
        INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE
        SELECT id, %s, 'Acme', ledger_open_wallet(id) FROM new
        """,
        (slug,),
    )
    return await rooms.identity.get_org(slug)


@pytest.fixture
async def facilitator() -> AsyncIterator[Facilitator]:
    async with Facilitator() as running:
        yield running


@pytest.fixture
async def shop(rooms: Rooms, org: Org, facilitator: Facilitator) -> AsyncIterator[Shop]:
    shop = make_shop(rooms, org, facilitator)
    yield shop
    await shop.method.close()


@pytest.fixture
async def blind(rooms: Rooms, org: Org, facilitator: Facilitator) -> AsyncIterator[Shop]:
    """A service that has no node to ask."""
    shop = make_shop(rooms, org, facilitator, with_node=False)
    yield shop
    await shop.method.close()
