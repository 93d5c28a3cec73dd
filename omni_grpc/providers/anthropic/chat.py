"""Anthropic's Messages API, at Anthropic itself and on Google's Vertex AI.

A provider whose path names `{model}` is Vertex: there the model stands in the path and the version
in the body, and nothing else differs.
"""

from types import MappingProxyType
from typing import Final

from omni_grpc.providers.anthropic.decode import decode_message
from omni_grpc.providers.anthropic.encode import encode_chat
from omni_grpc.providers.anthropic.stream import MessageStreamDecoder
from omni_grpc.providers.calls import ProviderCompletion, UpstreamCall
from omni_grpc.providers.dialect import NOTHING, EventParser, StreamDecoder, WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import Feature, Support
from omni_grpc.providers.spec import ProviderSpec
from omni_grpc.providers.sse import SseParser

API_VERSION: Final = "2023-06-01"
"""The version that takes `temperature`, `top_p` and `top_k`, which 2026-10-21 refuses for every
model; a provider's `headers` can name another."""

VERTEX_VERSION: Final = "vertex-2023-10-16"

_PATH: Final = "v1/messages"
_VERSION: Final = "anthropic-version"
_BETA: Final = "anthropic-beta"
_FILES_BETA: Final = "files-api-2025-04-14"


class AnthropicChat:
    """The dialect `anthropic`."""

    support = MappingProxyType(
        dict.fromkeys(Feature, Support.NATIVE)
        | {
            Feature.AUDIO: Support.REFUSED,
            Feature.JSON_OBJECT: Support.MAPPED,
            Feature.REASONING_SUMMARY: Support.MAPPED,
            Feature.REFUSALS: Support.MAPPED,
            Feature.PENALTIES: Support.REFUSED,
            Feature.LOGIT_BIAS: Support.REFUSED,
            Feature.SEED: Support.REFUSED,
            Feature.LOGPROBS: Support.REFUSED,
            Feature.CHOICES: Support.REFUSED,
            Feature.SAFETY: Support.REFUSED,
        }
    )
    takes_extra = NOTHING

    def encode(self, call: UpstreamCall, spec: ProviderSpec, *, stream: bool) -> WireRequest:
        """The request; see `Dialect`."""
        is_vertex = "{model}" in (spec.chat_path or "")
        version = VERTEX_VERSION if is_vertex else None
        encoded = encode_chat(call, stream=stream, version_in_body=version)
        own = {name.lower(): value for name, value in spec.headers.items()}
        headers: dict[str, str] = {}
        if not is_vertex and _VERSION not in own:
            headers[_VERSION] = API_VERSION
        if encoded.names_files:
            betas = own.get(_BETA)
            headers[_BETA] = f"{betas},{_FILES_BETA}" if betas else _FILES_BETA
        path = spec.path(_PATH, call.model, stream=stream)
        return WireRequest(path, encoded.body, headers, encoded.left_out)

    def decode(self, data: bytes, faults: Faults) -> ProviderCompletion:
        """A whole answer; see `Dialect`."""
        return decode_message(data, faults)

    def parser(self) -> EventParser:
        """Server-sent events."""
        return SseParser()

    def decoder(self, faults: Faults) -> StreamDecoder:
        """Reads one stream."""
        return MessageStreamDecoder(faults)
