"""What a wire format of chats must know: one file of pure functions, without any I/O.

`DialectChat` sends what a dialect encodes and hands what comes back to its decoders, so a dialect
never sees a connection, a key or a clock.
"""

from collections.abc import Container
from typing import Final, Protocol

import msgspec

from omni_grpc.core.chat import ChatDelta
from omni_grpc.core.usage import Usage
from omni_grpc.providers.calls import ProviderCompletion, UpstreamCall
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import FeatureSupport
from omni_grpc.providers.spec import ProviderSpec


class _Everything:
    """Contains whatever is asked for."""

    def __contains__(self, name: object) -> bool:
        return True


EVERYTHING: Final = _Everything()
NOTHING: Final[frozenset[str]] = frozenset()


class WireRequest(msgspec.Struct, frozen=True):
    """One request as it goes out.

    `path` follows the provider's base URL; it is percent-encoded and may have a query. `body` is
    JSON. `headers` are those that this dialect or this call needs beside the provider's own.
    `left_out` names settings that the request declared optional, and that clash with this model or
    with other settings there.
    """

    path: str
    body: bytes
    headers: dict[str, str] = {}
    left_out: tuple[str, ...] = ()


class EventParser(Protocol):
    """Cuts the bytes of a stream, however they come, into the JSON texts of its events."""

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are whole by now.

        Raises:
            EventTooLongError: an event is larger than is believable.
            BrokenFramingError: what came is no stream of this framing.
        """
        ...

    def finish(self) -> list[bytes]:
        """What is left when no more bytes will come."""
        ...


class StreamDecoder(Protocol):
    """A dialect's reading of one stream's events, and the facts that they brought."""

    done: bool
    fault: ProviderFault | None
    id: str | None
    model: str | None
    system_fingerprint: str | None
    service_tier: str | None

    @property
    def usage(self) -> Usage | None:
        """The last usage that was reported; see `ProviderStream.usage`."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the answer is whole."""
        ...

    def feed(self, events: list[bytes]) -> tuple[ChatDelta, ...]:
        """The deltas of the events of one read, at most one a choice.

        Sets `done` at the end, and `fault` instead of raising; what came before is returned.
        """
        ...


class Dialect(Protocol):
    """One wire format. Stateless; shared by all calls of all providers that speak it."""

    @property
    def support(self) -> FeatureSupport:
        """How it carries each feature; one that is missing is refused."""
        ...

    @property
    def takes_extra(self) -> Container[str]:
        """Which unknown fields of the OpenAI dialect are passed on: `EVERYTHING`, or some names."""
        ...

    def encode(self, call: UpstreamCall, spec: ProviderSpec, *, stream: bool) -> WireRequest:
        """The request.

        Raises:
            FieldInvalid: it holds something that cannot be written, such as JSON that is none.
        """
        ...

    def decode(self, data: bytes, faults: Faults) -> ProviderCompletion:
        """A whole answer.

        Raises:
            ProviderFault: it is no answer of this dialect, or an error in spite of its status.
        """
        ...

    def parser(self) -> EventParser:
        """Cuts one stream into events."""
        ...

    def decoder(self, faults: Faults) -> StreamDecoder:
        """Reads one stream's events."""
        ...
