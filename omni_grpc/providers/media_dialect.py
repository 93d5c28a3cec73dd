"""What a wire format beside chats must know: pure functions, as of a chat's `Dialect`.

A dialect takes some kinds of requests and refuses the others; what of a request it cannot carry is
refused by the name of its field, before the call.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from omni_grpc.core.media import Embeddings, Images, MediaRequest, Moderation, Transcript
from omni_grpc.core.usage import Usage
from omni_grpc.providers.dialect import WireRequest
from omni_grpc.providers.faults import Faults

MediaAnswer = Embeddings | Images | Transcript | Moderation


class ProviderMedia(msgspec.Struct, frozen=True):
    """A whole answer. `usage` is None where the provider reported none that can be believed."""

    answer: MediaAnswer
    usage: Usage | None
    id: str | None = None


class MediaRefusal(msgspec.Struct, frozen=True):
    """What a provider cannot do of a request: `what`, a noun with advice, and by which field."""

    what: str
    field: str


class MediaCall(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one provider; the fields mean what they do in `UpstreamCall`.

    `by_events` asks for speech in a form that tells its usage. `output_tokens_max` is how much is
    held for, where that is tokens.
    """

    request: MediaRequest
    model: str
    call_id: str
    seconds_left: float
    retries: bool
    by_events: bool = False
    output_tokens_max: int | None = None


class SpeechReader(Protocol):
    """Reads one speech as its bytes come in."""

    usage: Usage | None

    @property
    def is_whole(self) -> bool:
        """Whether the audio has come to its end, as far as the bytes tell."""
        ...

    def feed(self, data: bytes) -> bytes:
        """The audio in these bytes and those before; empty where there is none yet.

        Raises:
            ProviderFault: they are no speech, or an error.
            EventTooLongError: an event is larger than is believable.
        """
        ...


MediaDecoder = Callable[[bytes, Faults], ProviderMedia]


class MediaDialect(Protocol):
    """One wire format. Stateless; shared by all calls of all providers that speak it."""

    @property
    def hears_in_chats(self) -> bool:
        """Whether its models of chats that take audio write down what is said."""
        ...

    def refused(self, request: MediaRequest, model: str) -> MediaRefusal | None:
        """The first thing that it cannot do for a model; a whole kind of request has no field."""
        ...

    def encode(self, call: MediaCall) -> WireRequest:
        """The request, of which nothing is refused."""
        ...

    def decoder(self, call: MediaCall) -> MediaDecoder:
        """Reads the answer to a request; it raises a ProviderFault for what is none.

        Raises:
            TypeError: it is speech, whose answer is a stream.
        """
        ...

    def counted(self, found: ProviderMedia, headers: Mapping[str, str]) -> ProviderMedia:
        """The answer with what its head tells of its usage."""
        ...

    def reader(self, call: MediaCall, faults: Faults) -> SpeechReader:
        """Reads one speech."""
        ...
