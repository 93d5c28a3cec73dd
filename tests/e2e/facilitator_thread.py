"""A facilitator and its chain beside a gateway, and wallets that pay."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from gateway import Gateway
from solders.keypair import Keypair
from x402 import x402Client
from x402.http.utils import encode_payment_signature_header
from x402.mechanisms.svm.exact.client import ExactSvmScheme
from x402.mechanisms.svm.exact.v1.client import ExactSvmSchemeV1
from x402.mechanisms.svm.signers import KeypairSigner
from x402.schemas import PaymentRequired, PaymentRequiredV1

from omni_grpc.simulator.facilitator import Accident, Facilitator

T = TypeVar("T")


class FacilitatorThread:
    """The facilitator in a thread with a loop of its own."""

    def __init__(self) -> None:
        self.facilitator = Facilitator()
        self.pay_to = str(Keypair().pubkey())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.facilitator.start(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.facilitator.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def there(self, work: Callable[[Facilitator], T]) -> T:
        async def run() -> T:
            return work(self.facilitator)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def strike(self, accident: Accident) -> None:
        self.there(lambda one: one.strike(accident))

    def arrived(self) -> int:
        return self.there(lambda one: one.chain.balance(self.pay_to))

    def selling(self, gateway: Gateway) -> Gateway:
        """Sets a gateway up to be paid here."""
        gateway.environment |= {
            "OMNI_X402_FACILITATOR_URL": self.facilitator.url,
            "OMNI_X402_RPC_URL": self.facilitator.rpc_url,
            "OMNI_X402_PAY_TO": self.pay_to,
            "OMNI_X402_NETWORK": "solana-devnet",
        }
        return gateway


class Wallet:
    """A wallet with a hundred dollars, and the SDK's client of both versions."""

    def __init__(self, payee: FacilitatorThread, units: int = 100_000_000) -> None:
        keypair = Keypair()
        self.address = str(keypair.pubkey())
        payee.there(lambda one: one.chain.give(self.address, units))
        signer, url = KeypairSigner(keypair), payee.facilitator.rpc_url
        self._schemes = (ExactSvmScheme(signer, url), ExactSvmSchemeV1(signer, url))
        self.client = x402Client()
        self.client.set_spend_controls(controls=False)
        self.client.register("solana:*", self._schemes[0])
        self.client.register_v1("solana-devnet", self._schemes[1])

    def close(self) -> None:
        """Closes the connections that the SDK leaves open."""
        for scheme in self._schemes:
            while scheme._clients:
                scheme._clients.popitem()[1]._provider.session.close()

    def sign(self, offer: bytes | str) -> str:
        """The header that answers an offer."""
        asked: dict[str, Any] = msgspec.json.decode(offer)
        kind = PaymentRequiredV1 if asked["x402Version"] == 1 else PaymentRequired
        made = self.client.create_payment_payload(kind.model_validate(asked))
        try:
            return encode_payment_signature_header(asyncio.run(made))
        finally:
            self.close()
