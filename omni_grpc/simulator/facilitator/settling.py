"""The facilitator's own work: the SDK's schemes of both versions over a signer of this chain.

The SDK decides what is valid, signs as the fee payer and remembers what it has settled; only the
node that it asks is the chain in memory, asked directly instead of over HTTP.
"""

import base64
from typing import Any, Final

from solders.keypair import Keypair
from x402 import x402FacilitatorSync
from x402.mechanisms.svm.exact.facilitator import ExactSvmScheme
from x402.mechanisms.svm.exact.v1.facilitator import ExactSvmSchemeV1
from x402.mechanisms.svm.settlement_cache import SettlementCache
from x402.mechanisms.svm.signers import FacilitatorKeypairSigner
from x402.schemas import (
    PaymentPayload,
    PaymentPayloadV1,
    PaymentRequirements,
    PaymentRequirementsV1,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)

from omni_grpc.simulator.solana import Chain, Refused

__all__ = ("Asked", "Settling")

VERSIONS: Final = (1, 2)

Payload = PaymentPayload | PaymentPayloadV1
Requirements = PaymentRequirements | PaymentRequirementsV1


class Asked:
    """What `/verify` and `/settle` are asked: a payment, and what it must be."""

    def __init__(self, body: object) -> None:
        """Read the body of a request.

        Raises:
            ValueError: it is none; the message says why.
        """
        if not isinstance(body, dict):
            raise ValueError("the body must be an object")  # noqa: TRY004 - one error for callers
        version = body.get("x402Version")
        payload, requirements = body.get("paymentPayload"), body.get("paymentRequirements")
        self.payload: Payload
        self.requirements: Requirements
        if version == 1:
            self.payload = PaymentPayloadV1.model_validate(payload)
            self.requirements = PaymentRequirementsV1.model_validate(requirements)
        elif version == VERSIONS[1]:
            self.payload = PaymentPayload.model_validate(payload)
            self.requirements = PaymentRequirements.model_validate(requirements)
        else:
            raise ValueError("x402Version must be 1 or 2")

    def of_any_amount(self) -> None:
        """From now on any amount is enough."""
        is_v1 = isinstance(self.requirements, PaymentRequirementsV1)
        field = "max_amount_required" if is_v1 else "amount"
        self.requirements = self.requirements.model_copy(update={field: "0"})


class _ChainSigner(FacilitatorKeypairSigner):
    """Signs as the SDK does, and asks the chain in memory."""

    def __init__(self, keypair: Keypair, chain: Chain) -> None:
        super().__init__(keypair)
        self._chain = chain

    def simulate_transaction(self, tx_base64: str, network: str) -> None:  # noqa: ARG002 - as there
        try:
            self._chain.simulate(base64.b64decode(tx_base64))
        except Refused as refused:
            raise RuntimeError(f"Simulation failed: {refused.error}") from None

    def send_transaction(self, tx_base64: str, network: str) -> str:  # noqa: ARG002 - as there
        try:
            return self._chain.send(base64.b64decode(tx_base64))
        except Refused as refused:
            raise RuntimeError(f"Send failed: {refused.error}") from None

    def confirm_transaction(
        self,
        signature: str,
        network: str,  # noqa: ARG002 - as there
        timeout_seconds: int = 0,  # noqa: ARG002 - time stands still here
    ) -> None:
        if self._chain.landed(signature) is None:
            raise RuntimeError("Transaction confirmation timeout")


class Settling:
    """Verifies and settles for one chain, under its names in both versions.

    `networks` are its name in version 1 and in version 2.
    """

    def __init__(self, chain: Chain, networks: tuple[str, str]) -> None:
        self._chain = chain
        signer = _ChainSigner(Keypair(), chain)
        seen = SettlementCache()
        self._facilitator = x402FacilitatorSync()
        self._facilitator.register_v1([networks[0]], ExactSvmSchemeV1(signer, seen))
        self._facilitator.register([networks[1]], ExactSvmScheme(signer, seen))

    def supported(self) -> SupportedResponse:
        """What is settled here, and by which fee payer."""
        return self._facilitator.get_supported()

    def verify(self, asked: Asked) -> VerifyResponse:
        """Whether the payment would settle.

        Raises:
            Exception: the SDK's, where it knows no such scheme or network.
        """
        self._open(asked)
        return self._facilitator.verify(asked.payload, asked.requirements)

    def settle(self, asked: Asked) -> SettleResponse:
        """Settle it, as far as the chain lets it.

        Raises:
            Exception: as of `verify`.
        """
        self._open(asked)
        return self._facilitator.settle(asked.payload, asked.requirements)

    def _open(self, asked: Asked) -> None:
        """Whoever is to be paid has a token account, as a payee must."""
        self._chain.account(asked.requirements.pay_to)


def body_of(answer: VerifyResponse | SettleResponse | SupportedResponse) -> dict[str, Any]:
    """An answer as it goes over the wire."""
    return answer.model_dump(by_alias=True, exclude_none=True)
