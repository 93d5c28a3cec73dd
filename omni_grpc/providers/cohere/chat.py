"""Cohere's chat API, version 2."""

from types import MappingProxyType
from typing import Final

from omni_grpc.providers.calls import ProviderCompletion, UpstreamCall
from omni_grpc.providers.cohere.decode import decode_chat
from omni_grpc.providers.cohere.encode import encode_chat
from omni_grpc.providers.cohere.stream import ChatStreamDecoder
from omni_grpc.providers.dialect import NOTHING, EventParser, StreamDecoder, WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import Feature, Support
from omni_grpc.providers.spec import ProviderSpec
from omni_grpc.providers.sse import SseParser

_PATH: Final = "v2/chat"


class CohereChat:
    """The dialect `cohere`."""

    support = MappingProxyType(
        dict.fromkeys(Feature, Support.NATIVE)
        | {
            Feature.AUDIO: Support.REFUSED,
            Feature.FILE_DATA: Support.REFUSED,
            Feature.IMAGE_ID: Support.REFUSED,
            Feature.FILE_ID: Support.REFUSED,
            Feature.FILE_URL: Support.REFUSED,
            Feature.PARALLEL_TOOLS: Support.REFUSED,
            Feature.FORCED_TOOL: Support.MAPPED,
            Feature.STRICT_TOOLS: Support.MAPPED,
            Feature.REASONING_EFFORT: Support.MAPPED,
            Feature.REASONING_SUMMARY: Support.REFUSED,
            Feature.CACHE_MARKS: Support.REFUSED,
            Feature.LOGIT_BIAS: Support.REFUSED,
            Feature.LOGPROBS: Support.MAPPED,
            Feature.CHOICES: Support.REFUSED,
            Feature.SAFETY: Support.REFUSED,
            Feature.REFUSALS: Support.MAPPED,
            Feature.TOOL_FAILURES: Support.MAPPED,
        }
    )
    takes_extra = NOTHING

    def encode(self, call: UpstreamCall, spec: ProviderSpec, *, stream: bool) -> WireRequest:
        """The request; see `Dialect`."""
        return WireRequest(
            spec.path(_PATH, call.model, stream=stream), encode_chat(call, stream=stream)
        )

    def decode(self, data: bytes, faults: Faults) -> ProviderCompletion:
        """A whole answer; see `Dialect`."""
        return decode_chat(data, faults)

    def parser(self) -> EventParser:
        """Server-sent events."""
        return SseParser()

    def decoder(self, faults: Faults) -> StreamDecoder:
        """Reads one stream."""
        return ChatStreamDecoder(faults)
