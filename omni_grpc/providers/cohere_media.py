"""Cohere's embeddings, version 2: what goes out, and what an answer says. It has nothing else.

OpenAI's clients do not say what their vectors are for, which Cohere wants to know: all texts go as
documents to be searched.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from omni_grpc.core.media import EmbeddingRequest, MediaRequest
from omni_grpc.providers.dialect import WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.http import generation_id_of
from omni_grpc.providers.media_dialect import (
    MediaCall,
    MediaDecoder,
    MediaRefusal,
    ProviderMedia,
    SpeechReader,
)
from omni_grpc.providers.media_reading import count, embeddings, given, read

INPUTS_MAX: Final = 96
"""Texts of one request: Cohere's own limit."""

INPUT_TYPE: Final = "search_document"

_encode: Final = msgspec.json.Encoder().encode


class CohereMedia:
    """The dialect `cohere`; see `MediaDialect`."""

    hears_in_chats = False

    def refused(self, request: MediaRequest, model: str) -> MediaRefusal | None:
        """Everything but the embedding of texts."""
        del model
        return refused_embedding(request, "Cohere", INPUTS_MAX)

    def encode(self, call: MediaCall) -> WireRequest:
        """The request."""
        return WireRequest("v2/embed", _encode({"model": call.model, **body_of(call.request)}))

    def decoder(self, call: MediaCall) -> MediaDecoder:
        """Reads the answer."""
        asked = len(_embedding(call.request).inputs)
        return lambda data, faults: read_embeddings(data, faults, asked)

    def counted(self, found: ProviderMedia, headers: Mapping[str, str]) -> ProviderMedia:
        """All of the usage stands in the body."""
        del headers
        return found

    def reader(self, call: MediaCall, faults: Faults) -> SpeechReader:
        """There is no speech."""
        del call, faults
        raise TypeError("Cohere does not speak")


def refused_embedding(request: MediaRequest, maker: str, most: int) -> MediaRefusal | None:
    """What a maker that embeds so many texts at once, and does nothing else, cannot do."""
    if not isinstance(request, EmbeddingRequest):
        return MediaRefusal(f"this kind of request: {maker} has embeddings alone", "model")
    if not all(isinstance(one, str) for one in request.inputs):
        return MediaRefusal("inputs of tokens: send texts", "input")
    if len(request.inputs) > most:
        texts = "one text" if most == 1 else f"{most} texts"
        return MediaRefusal(f"more than {texts} in one request", "input")
    return None


def body_of(request: MediaRequest) -> dict[str, object]:
    """The request as Cohere's models take it, wherever they are."""
    asked = _embedding(request)
    return given(
        {
            "texts": asked.inputs,
            "input_type": INPUT_TYPE,
            "embedding_types": ["float"],
            "output_dimension": asked.dimensions,
            # What is too long is refused, and never cut unsaid.
            "truncate": "NONE",
        }
    )


class _Answer(msgspec.Struct):
    embeddings: dict[str, Any] | list[list[float]]
    id: Any = None
    meta: Any = None


def read_embeddings(data: bytes, faults: Faults, asked: int) -> ProviderMedia:
    """Vectors, by their type or, from elder models, bare."""
    found = read(data, _Answer, faults)
    vectors: object = found.embeddings
    if isinstance(vectors, dict):
        vectors = vectors.get("float")
    try:
        numbers = msgspec.convert(vectors, list[list[float]])
    except msgspec.ValidationError:
        raise faults.malformed("its embeddings are no numbers") from None
    made = embeddings(numbers, asked, _billed(found.meta), faults)
    return msgspec.structs.replace(made, id=generation_id_of(found.id))


def _billed(meta: object) -> int | None:
    units = meta.get("billed_units") if isinstance(meta, dict) else None
    return count(units.get("input_tokens")) if isinstance(units, dict) else None


def _embedding(request: MediaRequest) -> EmbeddingRequest:
    if not isinstance(request, EmbeddingRequest):
        raise TypeError("what is no embedding was refused")
    return request
