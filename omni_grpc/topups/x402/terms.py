"""What is asked of a payer: the offer of a top-up, in both versions of x402.

An offer is made once and kept with its top-up. Amounts are whole units of USDC, a millionth of a
dollar each: no float is anywhere. The top-up's id is the memo that the payer signs, so what was
paid on the chain can be told even if nobody says so.
"""

from typing import Any, Final
from uuid import UUID

import msgspec
from x402.mechanisms.svm.constants import V1_TO_V2_NETWORK_MAP
from x402.mechanisms.svm.utils import derive_ata, get_usdc_address, validate_svm_address

from omni_grpc.topups.x402.facilitator import Supported

SCHEME: Final = "exact"
NANO_PER_UNIT: Final = 1_000
"""Nano-USD in a unit of USDC, which has six decimals."""

TIMEOUT_SECONDS: Final = 120
"""How long a payment may take from being signed to being settled; a signature's blockhash lasts
about 90 s."""

TOP_UP_PATH: Final = "/v1/topup"
_DESCRIPTION: Final = "Credits for the API, in the amount that is paid"
"""Facilitators refuse a description of more than 500 characters."""

_ERROR: Final = "Payment required"

PAYMENT_IDENTIFIER: Final = "payment-identifier"
_IDENTIFIER_SCHEMA: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "required": {"type": "boolean"},
        "id": {
            "type": "string",
            "minLength": 16,
            "maxLength": 128,
            "pattern": "^[a-zA-Z0-9_-]+$",
        },
    },
    "required": ["required"],
}
"""As the SDK declares it; its `extensions` are not imported, since they want jsonschema."""


class Offer(msgspec.Struct, frozen=True):
    """The answer to who has not paid yet: version 1's body, and version 2's header, decoded."""

    v1: dict[str, Any]
    v2: dict[str, Any]

    def requirements(self, version: int) -> dict[str, Any] | None:
        """What a payment of that version must be; None where none of that version is taken."""
        accepts = (self.v1 if version == 1 else self.v2)["accepts"]
        found: dict[str, Any] | None = accepts[0] if accepts else None
        return found

    def text(self) -> str:
        """As it is kept with a top-up."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> "Offer":
        """The offer that was kept."""
        return msgspec.json.decode(text, type=cls)


class Terms:
    """Who is paid, and on which chain.

    Attributes:
        network: the chain's name in version 1; `caip` that in version 2.
        asset: the address of USDC there.
        pay_to: the wallet that is paid; `account` is its account for USDC.
        resource: the URL that is paid for.
    """

    def __init__(self, *, network: str, pay_to: str, public_url: str) -> None:
        """Takes the operator's settings.

        Raises:
            ValueError: `pay_to` is no address.
        """
        if not validate_svm_address(pay_to):
            raise ValueError("OMNI_X402_PAY_TO: must be a Solana address, in base58")
        self.network = network
        self.caip = V1_TO_V2_NETWORK_MAP[network]
        self.asset = get_usdc_address(network)
        self.pay_to = pay_to
        try:
            self.account = derive_ata(pay_to, self.asset)
        except ValueError:
            raise ValueError("OMNI_X402_PAY_TO: must be a Solana address, in base58") from None
        self.resource = public_url.rstrip("/") + TOP_UP_PATH

    def network_of(self, version: int) -> str:
        """The chain's name in a version."""
        return self.network if version == 1 else self.caip

    def offer(self, top_up_id: UUID, units: int, supported: Supported) -> Offer:
        """The offer of a top-up, in the versions that the facilitator settles."""
        return Offer(
            v1={
                "x402Version": 1,
                "error": _ERROR,
                "accepts": [
                    {
                        "scheme": SCHEME,
                        "network": self.network,
                        "maxAmountRequired": str(units),
                        "resource": self.resource,
                        "description": _DESCRIPTION,
                        "mimeType": "application/json",
                        "payTo": self.pay_to,
                        "maxTimeoutSeconds": TIMEOUT_SECONDS,
                        "asset": self.asset,
                        "extra": extra,
                    }
                    for extra in self._extra(1, top_up_id, supported)
                ],
            },
            v2={
                "x402Version": 2,
                "error": _ERROR,
                "resource": {
                    "url": self.resource,
                    "description": _DESCRIPTION,
                    "mimeType": "application/json",
                },
                "accepts": [
                    {
                        "scheme": SCHEME,
                        "network": self.caip,
                        "amount": str(units),
                        "asset": self.asset,
                        "payTo": self.pay_to,
                        "maxTimeoutSeconds": TIMEOUT_SECONDS,
                        "extra": extra,
                    }
                    for extra in self._extra(2, top_up_id, supported)
                ],
                "extensions": {PAYMENT_IDENTIFIER: _identifier(top_up_id)},
            },
        )

    def _extra(
        self, version: int, top_up_id: UUID, supported: Supported
    ) -> tuple[dict[str, str], ...]:
        """None where the facilitator settles no payments of this version."""
        fee_payer = supported.fee_payer(version, self.network_of(version))
        return ({"feePayer": fee_payer, "memo": str(top_up_id)},) if fee_payer else ()


def _identifier(top_up_id: UUID) -> dict[str, Any]:
    return {"info": {"required": False, "id": str(top_up_id)}, "schema": _IDENTIFIER_SCHEMA}
