"""The proofs of reasoning: every provider's blocks as Anthropic's, there and back.

A block of Anthropic's own goes out with Anthropic's signature and comes back with it; Anthropic
checks it. Any other is sealed whole, for the account that it is given to, as the signature (or the
redacted data) of a block: nobody can make one up, change one, or use another tenant's. A block
that was never signed comes back without any value, and is dropped.
"""

from typing import Final

from omni_grpc.core.chat import ReasoningBlock
from omni_grpc.rest_api.responses_wire.reasoning import PREFIX, ReasoningSeal

NATIVE: Final = "anthropic"
"""The format of blocks that Anthropic's models made."""


class Signatures:
    """Signs and opens reasoning for one account."""

    __slots__ = ("_seal",)

    def __init__(self, seal: ReasoningSeal) -> None:
        self._seal = seal

    # --- out ----------------------------------------------------------------------------------
    def signature(self, block: ReasoningBlock) -> str:
        """The signature of a thinking block."""
        if block.format == NATIVE:
            return block.signature or ""
        return self._seal.seal((block,))

    def wrapped(self, block: ReasoningBlock) -> str:
        """The data of a redacted thinking block."""
        if block.format == NATIVE and block.data is not None:
            return block.data
        return self._seal.seal((block,))

    # --- back ---------------------------------------------------------------------------------
    def opened(self, thinking: str, signature: str, field: str) -> tuple[ReasoningBlock, ...]:
        """What a thinking block stands for; nothing where it was never signed.

        Raises:
            FieldInvalid: it is sealed, and not by this service for this account.
        """
        if signature.startswith(PREFIX):
            return self._seal.open(signature, f"{field}.signature")
        if not signature:
            return ()
        block = ReasoningBlock(kind="text", format=NATIVE, text=thinking, signature=signature)
        return (block,)

    def unwrapped(self, data: str, field: str) -> tuple[ReasoningBlock, ...]:
        """What a redacted thinking block stands for.

        Raises:
            FieldInvalid: it is sealed, and not by this service for this account.
        """
        if data.startswith(PREFIX):
            return self._seal.open(data, f"{field}.data")
        return (ReasoningBlock(kind="encrypted", format=NATIVE, data=data),) if data else ()
