"""Reasoning that leaves with an answer and comes back with the next turn, sealed on the way.

The blocks of any provider, signatures included, travel as the `encrypted_content` of one reasoning
item. It is sealed for the account that it was given to: nobody reads it, changes it, makes one up
or uses another tenant's.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

import msgspec

from omni_grpc.core.chat import ReasoningBlock
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import AccountId
from omni_grpc.storage import SealBrokenError, Sealer

SEAL_PURPOSE: Final = b"omni-reasoning"
PREFIX: Final = "omni1."
"""Names the form, so that another can follow it."""

_ACCOUNT_BYTES: Final = 8
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(tuple[ReasoningBlock, ...]).decode


class ReasoningSeal:
    """Seals and opens the reasoning of one account."""

    __slots__ = ("_account", "_sealer")

    def __init__(self, sealer: Sealer, account_id: AccountId) -> None:
        self._sealer = sealer
        self._account = account_id.to_bytes(_ACCOUNT_BYTES, "big")

    def seal(self, blocks: Sequence[ReasoningBlock]) -> str:
        """The `encrypted_content` of some blocks."""
        sealed = self._sealer.seal(_encode(tuple(blocks)), self._account)
        return PREFIX + base64.b64encode(sealed).decode()

    def open(self, text: str, field: str) -> tuple[ReasoningBlock, ...]:
        """The blocks of an `encrypted_content`.

        Raises:
            FieldInvalid: it was not given out by this service to this account, or was changed.
        """
        try:
            if not text.startswith(PREFIX):
                raise SealBrokenError("it is not of this service")
            sealed = base64.b64decode(text.removeprefix(PREFIX), validate=True)
            return _decode(self._sealer.open(sealed, self._account))
        except (SealBrokenError, binascii.Error, ValueError) as error:
            raise FieldInvalid(
                f"{field} cannot be read: this service did not give it to this account as it "
                "stands, or its secret was replaced since. Leave the reasoning item out.",
                field=field,
            ) from error
