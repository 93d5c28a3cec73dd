"""Bedrock's InvokeModel for embeddings: Amazon's Titan and Cohere's models. It has nothing else.

Titan takes one text a request. What Cohere's models read stands in a header of the answer.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from omni_grpc.core.media import EmbeddingRequest, MediaRequest
from omni_grpc.core.usage import Usage
from omni_grpc.providers.cohere_media import (
    INPUTS_MAX,
    body_of,
    read_embeddings,
    refused_embedding,
)
from omni_grpc.providers.dialect import WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.media_dialect import (
    MediaCall,
    MediaDecoder,
    MediaRefusal,
    ProviderMedia,
    SpeechReader,
)
from omni_grpc.providers.media_reading import count, embeddings, given, read

TOKENS_HEADER: Final = "x-amzn-bedrock-input-token-count"

_TITAN: Final = re.compile(r"(?:^|\.)amazon\.titan-embed-text-v(\d+)")
_COHERE: Final = re.compile(r"(?:^|\.)cohere\.embed-")
"""A model's name, after the region of an inference profile if it has one."""

_SIZED_FROM: Final = 2
"""Titan's first generation has vectors of one size."""

_DIGITS_MAX: Final = 10

_encode: Final = msgspec.json.Encoder().encode


class BedrockMedia:
    """The dialect `bedrock`; see `MediaDialect`."""

    hears_in_chats = False

    def refused(self, request: MediaRequest, model: str) -> MediaRefusal | None:
        """Everything but the embedding of texts by the makers that are known here."""
        titan = _TITAN.search(model)
        refused = refused_embedding(request, "Bedrock", 1 if titan else INPUTS_MAX)
        if refused is not None:
            return refused
        if titan is None and _COHERE.search(model) is None:
            return MediaRefusal("embeddings here: amazon.titan-embed and cohere.embed do", "model")
        if titan and int(titan[1]) < _SIZED_FROM and _dimensions(request) is not None:
            return MediaRefusal("another size of vectors than its own", "dimensions")
        return None

    def encode(self, call: MediaCall) -> WireRequest:
        """The request."""
        path = f"model/{quote(call.model, safe='')}/invoke"
        if not _TITAN.search(call.model):
            return WireRequest(path, _encode(body_of(call.request)))
        (text,) = _inputs(call.request)
        fields = {"inputText": text, "dimensions": _dimensions(call.request)}
        return WireRequest(path, _encode(given(fields)))

    def decoder(self, call: MediaCall) -> MediaDecoder:
        """Reads the answer."""
        if _TITAN.search(call.model):
            return _read_titan
        asked = len(_inputs(call.request))
        return lambda data, faults: read_embeddings(data, faults, asked)

    def counted(self, found: ProviderMedia, headers: Mapping[str, str]) -> ProviderMedia:
        """What a header tells, where the body does not."""
        said = headers.get(TOKENS_HEADER, "")
        is_count = said.isascii() and said.isdecimal() and len(said) <= _DIGITS_MAX
        tokens = count(int(said)) if is_count else None
        if found.usage is not None or tokens is None:
            return found
        return msgspec.structs.replace(found, usage=Usage(prompt=tokens))

    def reader(self, call: MediaCall, faults: Faults) -> SpeechReader:
        """There is no speech."""
        del call, faults
        raise TypeError("Bedrock does not speak")


class _Titan(msgspec.Struct, rename="camel"):
    embedding: list[float]
    input_text_token_count: Any = None


def _read_titan(data: bytes, faults: Faults) -> ProviderMedia:
    found = read(data, _Titan, faults)
    return embeddings([found.embedding], 1, count(found.input_text_token_count), faults)


def _inputs(request: MediaRequest) -> tuple[str | tuple[int, ...], ...]:
    return request.inputs if isinstance(request, EmbeddingRequest) else ()


def _dimensions(request: MediaRequest) -> int | None:
    return request.dimensions if isinstance(request, EmbeddingRequest) else None
