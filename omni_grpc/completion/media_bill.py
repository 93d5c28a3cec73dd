"""By what a request beside chats is charged: its bound before, its usage after.

An offer is sold by tokens, or by the image, the second of audio or the character; its price says
which. What a provider reported is charged as it is; what it did not tell is counted here and marked
as an estimate, but for what the request itself states exactly: characters, and images that came.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from omni_grpc.catalog import Mode, Offer
from omni_grpc.core.money import Price
from omni_grpc.core.usage import Usage
from omni_grpc.providers import MediaAnswer


@dataclass(slots=True)
class Brought:
    """What came of an answer: all of it, or so much audio."""

    answer: MediaAnswer | None = None
    audio_bytes: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing came."""
        return self.answer is None and not self.audio_bytes


class Bill(ABC):
    """How one request is charged. `size_bytes` is how much text there is to count."""

    mode: ClassVar[Mode]
    size_bytes: int = 0

    def lacking(self, offer: Offer) -> str | None:  # noqa: ARG002 - for those who look at it
        """What the request needs and an offer of its mode cannot do."""
        return None

    def heard_by(self, offer: Offer) -> bool:  # noqa: ARG002 - as above
        """Whether a model of chats can do it that hears."""
        return False

    def check(self) -> None:  # noqa: B027 - most have nothing to look at
        """Looks at what takes long to see; may be called beside the event loop.

        Raises:
            FieldInvalid: it is more than a request may be.
        """

    @abstractmethod
    def unpriced(self, price: Price) -> str | None:
        """What the request would use and the price does not cover."""

    @abstractmethod
    def most(self, price: Price) -> Usage:
        """What it can use at most, in units that the price has."""

    @abstractmethod
    def told(self, price: Price, usage: Usage) -> Usage | None:
        """What is charged of what the provider reported; None where that does not say it."""

    @abstractmethod
    def estimate(self, price: Price, brought: Brought) -> Usage:
        """What is charged where the provider does not tell, by our own count."""
