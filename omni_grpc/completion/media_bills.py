"""Which bill a request has, and what came of one attempt, counted by it."""

import asyncio

from omni_grpc.completion.media_audio_bills import SpeechBill, TranscriptionBill
from omni_grpc.completion.media_bill import Bill, Brought
from omni_grpc.completion.media_image_bill import ImageBill
from omni_grpc.completion.media_text_bills import EmbeddingBill, ModerationBill
from omni_grpc.completion.tally import COUNTED_BYTES_INLINE
from omni_grpc.core.media import (
    EmbeddingRequest,
    ImageRequest,
    MediaRequest,
    ModerationRequest,
    SpeechRequest,
    TranscriptionRequest,
)
from omni_grpc.core.money import Price
from omni_grpc.core.usage import Usage


def bill_of(request: MediaRequest) -> Bill:
    """The bill of a request.

    Raises:
        FieldInvalid: it asks for more than one request may.
    """
    match request:
        case EmbeddingRequest():
            return EmbeddingBill(request)
        case ImageRequest():
            return ImageBill(request)
        case SpeechRequest():
            return SpeechBill(request)
        case TranscriptionRequest():
            return TranscriptionBill(request)
        case ModerationRequest():
            return ModerationBill(request)


class Counted:
    """What came of one attempt, and how it is counted; see `faults.Came`."""

    def __init__(self, bill: Bill, price: Price) -> None:
        self.brought = Brought()
        self._bill = bill
        self._price = price

    @property
    def empty(self) -> bool:
        """Whether nothing of an answer came."""
        return self.brought.empty

    def told(self, usage: Usage | None) -> Usage | None:
        """What is charged, where the provider said it."""
        return None if usage is None else self._bill.told(self._price, usage)

    async def filled(self, usage: Usage | None) -> Usage:
        """What is charged: by the provider's count, else by our own."""
        found = self.told(usage)
        if found is not None:
            return found
        if self._bill.size_bytes > COUNTED_BYTES_INLINE:
            return await asyncio.to_thread(self._bill.estimate, self._price, self.brought)
        return self._bill.estimate(self._price, self.brought)
