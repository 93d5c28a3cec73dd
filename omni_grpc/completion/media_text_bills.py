"""The bills of embeddings and moderations: both cost their input tokens."""

from abc import abstractmethod
from typing import Final

from omni_grpc.catalog import Mode
from omni_grpc.catalog.tokens import count_text, upper_bound
from omni_grpc.completion.media_bill import Bill, Brought
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.media import EmbeddingRequest, ModerationRequest
from omni_grpc.core.money import Price, Unit
from omni_grpc.core.usage import Usage, UsageSource

EMBEDDED_INPUTS_MAX: Final = 2_048
"""Most inputs of one request: OpenAI's own limit."""

EMBEDDED_TOKENS_MAX: Final = 300_000
"""Most tokens of all inputs together: OpenAI's own limit."""


class _TokensIn(Bill):
    """Charged by the prompt alone; no text has more tokens than bytes."""

    def unpriced(self, price: Price) -> str | None:
        """Input tokens must have a price, be it zero."""
        return None if price.priced(Unit.PROMPT) else "input tokens have no price"

    def most(self, price: Price) -> Usage:  # noqa: ARG002 - it is the same at any
        """As many tokens as bytes."""
        return Usage(prompt=self.size_bytes)

    def told(self, price: Price, usage: Usage) -> Usage | None:  # noqa: ARG002 - as above
        """The provider's count of the prompt."""
        return None if usage.prompt is None else Usage(prompt=usage.prompt)

    def estimate(self, price: Price, brought: Brought) -> Usage:  # noqa: ARG002 - nothing counts that came
        """The prompt, which is charged also where nothing came; what is free is not counted."""
        if not price.dearest((Unit.PROMPT,), self.size_bytes):
            return Usage()
        return Usage(prompt=self._tokens(), source=UsageSource.ESTIMATE)

    @abstractmethod
    def _tokens(self) -> int:
        """The prompt's, counted by ourselves."""


class EmbeddingBill(_TokensIn):
    """Embeddings cost their input tokens."""

    mode = Mode.EMBEDDING

    def __init__(self, request: EmbeddingRequest) -> None:
        self._inputs = request.inputs
        if not 1 <= len(self._inputs) <= EMBEDDED_INPUTS_MAX:
            raise FieldInvalid(
                f"input has {len(self._inputs)} items; send 1 to {EMBEDDED_INPUTS_MAX}.",
                field="input",
            )
        if not all(self._inputs):
            raise FieldInvalid("input has an empty item; no model embeds nothing.", field="input")
        if request.dimensions is not None and request.dimensions < 1:
            raise FieldInvalid("dimensions must be at least 1.", field="dimensions")
        self.size_bytes = sum(
            upper_bound(one) if isinstance(one, str) else len(one) for one in self._inputs
        )

    def check(self) -> None:
        """Counts the tokens, where their bound does not show that there are not too many.

        Raises:
            FieldInvalid: there are.
        """
        if self.size_bytes > EMBEDDED_TOKENS_MAX and self._tokens() > EMBEDDED_TOKENS_MAX:
            raise FieldInvalid(
                f"input has more than {EMBEDDED_TOKENS_MAX} tokens in all; send it in parts.",
                field="input",
            )

    def _tokens(self) -> int:
        return sum(count_text(one) if isinstance(one, str) else len(one) for one in self._inputs)


class ModerationBill(_TokensIn):
    """Moderations cost their input tokens, which at most providers are free."""

    mode = Mode.MODERATION

    def __init__(self, request: ModerationRequest) -> None:
        self._input = bytes(request.input_json)
        self.size_bytes = len(self._input)

    def _tokens(self) -> int:
        return count_text(self._input.decode("utf-8", "replace"))
