"""A wallet that signs in, by both forms."""

import base64
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from solders.keypair import Keypair
from x402.extensions.sign_in_with_x import (
    SIWxPayload,
    create_siwx_message,
    encode_siwx_header,
)

from omni_grpc.identity.presented import Presented, WalletHeaders

DOMAIN = "api.example.com"
CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"


class Wallet:
    """A key pair."""

    def __init__(self) -> None:
        self.pair = Keypair()
        self.address = str(self.pair.pubkey())

    def sign(self, message: bytes) -> str:
        """A signature in base58."""
        return str(self.pair.sign_message(message))

    def fields(self, now: float, **changed: Any) -> dict[str, Any]:
        """What SIGN-IN-WITH-X holds, signed over the text that x402's SDK makes of it."""
        at = datetime.fromtimestamp(now, UTC)
        found = {
            "domain": DOMAIN,
            "address": self.address,
            "uri": f"https://{DOMAIN}/v1/wallet/session",
            "version": "1",
            "chainId": CHAIN,
            "type": "ed25519",
            "nonce": secrets.token_hex(16),
            "issuedAt": at.isoformat().replace("+00:00", "Z"),
            "expirationTime": (at + timedelta(minutes=5)).isoformat().replace("+00:00", "Z"),
        } | changed
        found = {name: value for name, value in found.items() if value is not None}
        if "signature" not in found:
            text = create_siwx_message(found, found["address"])
            found["signature"] = self.sign(text.encode())
        return found

    def header(self, now: float, **changed: Any) -> str:
        """SIGN-IN-WITH-X, as x402's SDK writes it."""
        return encode_siwx_header(SIWxPayload.model_validate(self.fields(now, **changed)))

    def sign_in(
        self, now: float, *, host: str = DOMAIN, org: str = "", **changed: Any
    ) -> Presented:
        """What a request presents."""
        return Presented(sign_in=self.header(now, **changed), host=host, org=org)

    def signed_nonce(self, nonce: str, **changed: str) -> Presented:
        """What a request with the three headers presents."""
        values = {"address": self.address, "signature": self.sign(nonce.encode()), "nonce": nonce}
        return Presented(wallet=WalletHeaders(**(values | changed)))


def raw_header(fields: Any) -> str:
    """SIGN-IN-WITH-X of any content."""
    return base64.b64encode(json.dumps(fields).encode()).decode()
