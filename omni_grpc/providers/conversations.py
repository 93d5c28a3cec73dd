"""Which of a provider's endpoints holds a conversation's prompt in its cache.

Prompt caches are an account's or a region's: the next turn of a long conversation costs less where
the last one was. Kept are digests, never texts, in one worker's memory and for as long as caches
are; a new conversation goes where its turn is.
"""

from collections import OrderedDict
from collections.abc import Container
from typing import Final

from omni_grpc.core.clock import Clock
from omni_grpc.core.conversation import BEGINNINGS_MAX, WARM_SECONDS, beginnings
from omni_grpc.providers.calls import ProviderCompletion, UpstreamCall
from omni_grpc.providers.dialect import Dialect, EventParser, StreamDecoder, WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import FeatureSupport
from omni_grpc.providers.spec import ProviderSpec

BODY_BYTES_MIN: Final = 4_096
"""Providers keep prompts of 1,024 tokens or more; a shorter body has fewer."""

CONVERSATIONS_MAX: Final = 20_000
"""Some 200 bytes each; the least recently used goes first."""


class ConversationRequest(WireRequest, frozen=True):
    """A request that may continue a conversation, with the digests of its beginnings.

    The last is the whole request's.
    """

    beginnings: tuple[bytes, ...] = ()


class Homes:
    """Where conversations are at home."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def of(self, request: WireRequest) -> int | None:
        """The place that answered the longest known beginning of a request.

        The same request again continues nothing: who sends one thing often wants it spread.
        """
        if not self._kept or not isinstance(request, ConversationRequest):
            return None
        now = self._clock.monotonic()
        for digest in reversed(request.beginnings[:-1]):
            found = self._kept.get(digest)
            if found is not None and now < found[1]:
                return found[0]
        return None

    def answered(self, request: WireRequest, place: int) -> None:
        """A place answered a request: its conversation is at home there now."""
        if not isinstance(request, ConversationRequest):
            return
        digest = request.beginnings[-1]
        self._kept[digest] = (place, self._clock.monotonic() + WARM_SECONDS)
        self._kept.move_to_end(digest)
        if len(self._kept) > CONVERSATIONS_MAX:
            self._kept.popitem(last=False)


class ConversationDialect:
    """A dialect whose long requests say which conversation they continue; else as it is."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    @property
    def support(self) -> FeatureSupport:
        """As the dialect's."""
        return self._dialect.support

    @property
    def takes_extra(self) -> Container[str]:
        """As the dialect's."""
        return self._dialect.takes_extra

    def encode(self, call: UpstreamCall, spec: ProviderSpec, *, stream: bool) -> WireRequest:
        """The request, and its beginnings where it is long enough to be kept.

        Raises:
            FieldInvalid: as the dialect's.
        """
        request = self._dialect.encode(call, spec, stream=stream)
        if len(request.body) < BODY_BYTES_MIN:
            return request
        return ConversationRequest(
            request.path,
            request.body,
            request.headers,
            request.left_out,
            beginnings=tuple(beginnings(call.request, BEGINNINGS_MAX)),
        )

    def decode(self, data: bytes, faults: Faults) -> ProviderCompletion:
        """As the dialect's.

        Raises:
            ProviderFault: as the dialect's.
        """
        return self._dialect.decode(data, faults)

    def parser(self) -> EventParser:
        """As the dialect's."""
        return self._dialect.parser()

    def decoder(self, faults: Faults) -> StreamDecoder:
        """As the dialect's."""
        return self._dialect.decoder(faults)
