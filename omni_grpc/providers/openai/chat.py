"""OpenAI's chat completions, and of all who are compatible with them."""

from types import MappingProxyType
from typing import Final

from omni_grpc.providers.calls import ProviderCompletion, UpstreamCall
from omni_grpc.providers.dialect import EVERYTHING, EventParser, StreamDecoder, WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import Feature, Support
from omni_grpc.providers.openai.decode import ChatStreamDecoder, decode_completion
from omni_grpc.providers.openai.encode import encode_chat
from omni_grpc.providers.spec import ProviderSpec
from omni_grpc.providers.sse import SseParser

_PATH: Final = "chat/completions"


class OpenAIChat:
    """The dialect `openai`.

    It carries whatever any compatible provider documents; a provider's `refuses` says what that
    one does not take.
    """

    support = MappingProxyType(
        dict.fromkeys(Feature, Support.NATIVE)
        | {
            # `reasoning_content`, and OpenRouter's `reasoning_details`.
            Feature.REASONING_CARRIED: Support.MAPPED,
            Feature.IMAGE_ID: Support.REFUSED,
            Feature.FILE_URL: Support.REFUSED,
            Feature.SAFETY: Support.REFUSED,
            Feature.TOOL_FAILURES: Support.MAPPED,
        }
    )
    takes_extra = EVERYTHING

    def encode(self, call: UpstreamCall, spec: ProviderSpec, *, stream: bool) -> WireRequest:
        """The request; see `Dialect`."""
        return WireRequest(
            spec.path(_PATH, call.model, stream=stream),
            encode_chat(call, spec, stream=stream),
        )

    def decode(self, data: bytes, faults: Faults) -> ProviderCompletion:
        """A whole answer; see `Dialect`."""
        return decode_completion(data, faults)

    def parser(self) -> EventParser:
        """Server-sent events."""
        return SseParser()

    def decoder(self, faults: Faults) -> StreamDecoder:
        """Reads one stream."""
        return ChatStreamDecoder(faults)
