"""Google's generateContent, of the Gemini API and of Vertex AI."""

from types import MappingProxyType
from typing import Final

from omni_grpc.providers.calls import ProviderCompletion, UpstreamCall
from omni_grpc.providers.dialect import NOTHING, EventParser, StreamDecoder, WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import Feature, Support
from omni_grpc.providers.gemini.decode import GeminiStreamDecoder, decode_completion
from omni_grpc.providers.gemini.encode import encode_chat
from omni_grpc.providers.spec import ProviderSpec
from omni_grpc.providers.sse import SseParser

_PATH: Final = "models/{model}:generateContent"
_STREAM_PATH: Final = "models/{model}:streamGenerateContent?alt=sse"


class GeminiChat:
    """The dialect `gemini`."""

    support = MappingProxyType(
        dict.fromkeys(Feature, Support.NATIVE)
        | {
            # There is no switch for one call at a time.
            Feature.PARALLEL_TOOLS: Support.REFUSED,
            # The mode VALIDATED, which holds for all tools of a request.
            Feature.STRICT_TOOLS: Support.MAPPED,
            # A level or a budget, by the model's generation.
            Feature.REASONING_EFFORT: Support.MAPPED,
            Feature.REASONING_SUMMARY: Support.MAPPED,
            # Explicit caches are objects of another API.
            Feature.CACHE_MARKS: Support.REFUSED,
            Feature.LOGIT_BIAS: Support.REFUSED,
            # They go back as text, which is how Gemini itself refuses.
            Feature.REFUSALS: Support.MAPPED,
        }
    )
    takes_extra = NOTHING

    def encode(self, call: UpstreamCall, spec: ProviderSpec, *, stream: bool) -> WireRequest:
        """The request; see `Dialect`."""
        path = spec.path(_STREAM_PATH if stream else _PATH, call.model, stream=stream)
        return WireRequest(path, encode_chat(call))

    def decode(self, data: bytes, faults: Faults) -> ProviderCompletion:
        """A whole answer; see `Dialect`."""
        return decode_completion(data, faults)

    def parser(self) -> EventParser:
        """Server-sent events."""
        return SseParser()

    def decoder(self, faults: Faults) -> StreamDecoder:
        """Reads one stream."""
        return GeminiStreamDecoder(faults)
