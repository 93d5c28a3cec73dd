"""Bedrock's InvokeModel as the simulator speaks it: embeddings of Amazon's Titan and of Cohere."""

from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from omni_grpc.catalog import tokens
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import Rejected, SimRequest
from omni_grpc.simulator.dialects.bedrock_signature import check_signature
from omni_grpc.simulator.dialects.cohere_media import EmbedBody, embedded, seen_of
from omni_grpc.simulator.made import Reply, Seen, json_reply, seed_of, vector

__all__ = ("INVOKE_PATH", "read_invoke")

INVOKE_PATH: Final = "/model/{model}/invoke"
TOKENS_HEADER: Final = "x-amzn-bedrock-input-token-count"

T = TypeVar("T")


class _Titan(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    input_text: Annotated[str, Meta(min_length=1, max_length=50_000)]
    dimensions: Literal[256, 512, 1024] = 1024
    normalize: bool = True
    embedding_types: tuple[Literal["float"], ...] = ("float",)


def read_invoke(request: SimRequest) -> Seen:
    """A signed request.

    Raises:
        Rejected: it is wrong, or its model is no model of embeddings.
    """
    check_signature(request, "invoke")
    model = request.variables["model"]
    if "amazon.titan-embed-text-v2" in model:
        return _titan(_read(request.body, _Titan), model)
    if "cohere.embed-" in model:
        return _cohere(_read(request.body, EmbedBody), model)
    raise Rejected(400, "The provided model identifier is invalid.", code="ValidationException")


def _titan(body: _Titan, model: str) -> Seen:
    count = tokens.count_text(body.input_text)

    def answer(behaviour: Behaviour) -> Reply:
        made = vector(seed_of(model, body.input_text), body.dimensions)
        told = {} if behaviour.usage == "none" else {"inputTextTokenCount": count}
        return json_reply({"embedding": made, "embeddingsByType": {"float": made}, **told})

    return Seen(model, body.input_text, count, {"dimensions": body.dimensions}, answer)


def _cohere(body: EmbedBody, model: str) -> Seen:
    if body.model:
        raise _invalid("extraneous key [model] is not permitted")
    count = sum(map(tokens.count_text, body.texts))

    def answer(behaviour: Behaviour) -> Reply:
        headers = {} if behaviour.usage == "none" else {TOKENS_HEADER: str(count)}
        return json_reply(embedded(body, model), headers)

    return Seen(model, body.texts[0], count, seen_of(body), answer)


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise _invalid(str(error)) from None


def _invalid(why: str) -> Rejected:
    message = f"Malformed input request: {why}, please reformat your input and try again."
    return Rejected(400, message, code="ValidationException")
