"""Offers that leave no row: a top-up's id that says for whom and for how much it was quoted.

Who has no credits is told what to sign with each refusal, and most never pay: so such an offer is
kept nowhere. Its id is a UUID of version 7 whose other bits are a MAC over the account and the
amount, so nobody can make one, and one that was made for another account is worth nothing. The
top-up is written when a payment for it comes.
"""

import hashlib
import hmac
from datetime import datetime
from typing import Final
from uuid import UUID

QUOTE_SECONDS: Final = 3_600.0
"""How long a quote can be paid: a signature lasts a minute and a half, a person thinks longer."""

EARLY_SECONDS: Final = 60.0
"""How far the clock of the server that quoted may be ahead."""

PURPOSE: Final = b"omni-grpc x402 quotes"
_VERSION_7: Final = 0x7000 << 64
_VARIANT: Final = 0x8000 << 48
_FREE_BITS: Final = (0x0FFF << 64) | 0x3FFF_FFFF_FFFF_FFFF
_FREE_BYTES: Final = 10


class Quotes:
    """Makes and recognises them. `secret` is the same for all servers of a database."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, PURPOSE, hashlib.sha256)

    def quote(self, account_id: int, amount: int, now: datetime) -> UUID:
        """The id of a top-up of so many nano-USD, for an account."""
        return self._id(account_id, amount, int(now.timestamp() * 1000))

    def accepts(self, top_up_id: UUID, account_id: int, amount: int, now: datetime) -> bool:
        """Whether this was quoted for the account and the amount, and not too long ago."""
        milliseconds = top_up_id.int >> 80
        made = self._id(account_id, amount, milliseconds)
        age = now.timestamp() - milliseconds / 1000
        is_ours = hmac.compare_digest(made.bytes, top_up_id.bytes)
        return is_ours and -EARLY_SECONDS <= age <= QUOTE_SECONDS

    def _id(self, account_id: int, amount: int, milliseconds: int) -> UUID:
        content = f"{account_id} {amount} {milliseconds}".encode()
        mac = hmac.digest(self._key, content, hashlib.sha256)
        bits = int.from_bytes(mac[:_FREE_BYTES], "big") & _FREE_BITS
        return UUID(int=(milliseconds << 80) | _VERSION_7 | _VARIANT | bits)
