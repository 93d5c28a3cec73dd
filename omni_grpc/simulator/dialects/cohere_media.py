"""Cohere's embeddings, as the simulator speaks them, at Cohere itself and on Bedrock."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from omni_grpc.catalog import tokens
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import Rejected, SimRequest
from omni_grpc.simulator.made import Reply, Seen, json_reply, seed_of, usage_in, vector

__all__ = ("EmbedBody", "embedded", "read_embed", "seen_of")

DIMENSIONS: Final = 1_536

_Type = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
_Texts = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=96)]


class EmbedBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A request; `model` stands in the path on Bedrock."""

    texts: _Texts
    input_type: Literal["search_document", "search_query", "classification", "clustering"]
    model: str = ""
    embedding_types: tuple[_Type, ...] = ("float",)
    output_dimension: Literal[256, 512, 1024, 1536] = DIMENSIONS
    truncate: Literal["NONE", "START", "END"] = "END"
    max_tokens: int | None = None


class _OwnBody(EmbedBody, forbid_unknown_fields=True, kw_only=True):
    model: Annotated[str, Meta(min_length=1)]


def read_embed(request: SimRequest) -> Seen:
    """A request to Cohere itself.

    Raises:
        Rejected: it is wrong.
    """
    try:
        body = msgspec.json.decode(request.body, type=_OwnBody)
    except msgspec.DecodeError as error:
        raise Rejected(400, f"invalid request: {error}") from None
    count = sum(map(tokens.count_text, body.texts))

    def answer(behaviour: Behaviour) -> Reply:
        billed = usage_in(behaviour, {"input_tokens": count}, "billed_units")
        meta = {"api_version": {"version": "2"}, **billed}
        return json_reply(embedded(body, body.model) | {"meta": meta})

    return Seen(body.model, body.texts[0], count, seen_of(body), answer)


def seen_of(body: EmbedBody) -> dict[str, object]:
    """What the log says of it."""
    return {"inputs": len(body.texts), "input_type": body.input_type, "truncate": body.truncate}


def embedded(body: EmbedBody, model: str) -> dict[str, object]:
    """The vectors, of the type float alone."""
    if set(body.embedding_types) != {"float"}:
        raise Rejected(400, "the simulator embeds as float alone")
    vectors = [vector(seed_of(model, text), body.output_dimension) for text in body.texts]
    return {
        "id": "51b0a000-0000-4000-8000-000000000000",
        "texts": body.texts,
        "embeddings": {"float": vectors},
        "response_type": "embeddings_by_type",
    }
