"""OpenAI's Responses API, asked statelessly: nothing of a call is kept at the provider."""

from types import MappingProxyType
from typing import Final

from omni_grpc.providers.calls import ProviderCompletion, UpstreamCall
from omni_grpc.providers.dialect import EventParser, StreamDecoder, WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import Feature, Support
from omni_grpc.providers.responses.decode import decode_response
from omni_grpc.providers.responses.encode import TAKEN_FIELDS, encode_chat
from omni_grpc.providers.responses.stream import ResponseStreamDecoder
from omni_grpc.providers.spec import ProviderSpec
from omni_grpc.providers.sse import SseParser

_PATH: Final = "responses"


class OpenAIResponses:
    """The dialect `responses`."""

    support = MappingProxyType(
        dict.fromkeys(Feature, Support.NATIVE)
        | {
            Feature.AUDIO: Support.REFUSED,
            Feature.REASONING_BUDGET: Support.REFUSED,
            Feature.CACHE_MARKS: Support.REFUSED,
            Feature.TOP_K: Support.REFUSED,
            Feature.PENALTIES: Support.REFUSED,
            Feature.LOGIT_BIAS: Support.REFUSED,
            Feature.SEED: Support.REFUSED,
            Feature.STOP: Support.REFUSED,
            Feature.CHOICES: Support.REFUSED,
            Feature.SAFETY: Support.REFUSED,
            Feature.TOOL_FAILURES: Support.MAPPED,
        }
    )
    takes_extra = TAKEN_FIELDS

    def encode(self, call: UpstreamCall, spec: ProviderSpec, *, stream: bool) -> WireRequest:
        """The request; see `Dialect`."""
        return WireRequest(
            spec.path(_PATH, call.model, stream=stream), encode_chat(call, stream=stream)
        )

    def decode(self, data: bytes, faults: Faults) -> ProviderCompletion:
        """A whole answer; see `Dialect`."""
        return decode_response(data, faults)

    def parser(self) -> EventParser:
        """Server-sent events."""
        return SseParser()

    def decoder(self, faults: Faults) -> StreamDecoder:
        """Reads one stream."""
        return ResponseStreamDecoder(faults)
