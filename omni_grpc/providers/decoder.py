"""What a stream asks of a dialect: its events read, and the facts that they brought."""

from typing import Protocol

from omni_grpc.core.chat import ChatDelta
from omni_grpc.core.usage import Usage
from omni_grpc.providers.errors import ProviderFault


class StreamDecoder(Protocol):
    """A dialect's reading of a stream's events."""

    done: bool
    fault: ProviderFault | None
    id: str | None
    model: str | None
    system_fingerprint: str | None
    service_tier: str | None

    @property
    def usage(self) -> Usage | None:
        """The last usage that was reported."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the answer is whole."""
        ...

    def feed(self, events: list[bytes]) -> tuple[ChatDelta, ...]:
        """The deltas of some events; sets `done` at the end, and `fault` instead of raising."""
        ...
