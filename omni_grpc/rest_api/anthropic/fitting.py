"""What a request for one of Anthropic's models loses when another model is asked.

Clients of this API send the same body whatever the model: an output limit of their own, a wish to
think, marks of what shall be kept. None of it is content. An output limit above what a model can
generate means that model's own; the others are left out where they mean nothing, and named.
"""

from typing import Final

import msgspec

from omni_grpc.catalog import Offer
from omni_grpc.core.chat import ChatRequest, FilePart, ImagePart, Message, Part, TextPart
from omni_grpc.rest_api.anthropic.turns import plain

MARKS: Final = "cache_control"
"""Names all cache marks of a request where a provider takes none."""

_REASONING: Final = ("reasoning_effort", "reasoning_budget", "reasoning_summary")


def fitted(request: ChatRequest, offer: Offer) -> tuple[ChatRequest, tuple[str, ...]]:
    """The request as the offer's model can take it, and the fields that were left out."""
    limit, asked = offer.output_tokens_max, request.output_tokens_max
    if limit is not None and asked is not None and asked > limit:
        request = msgspec.structs.replace(request, output_tokens_max=limit)
    if offer.reasoning:
        return request, ()
    ignored = tuple(name for name in _REASONING if getattr(request, name))
    return msgspec.structs.replace(request, **dict.fromkeys(_REASONING)), ignored


def has_marks(request: ChatRequest) -> bool:
    """Whether a request marks what the provider shall keep."""
    return any(tool.cache is not None for tool in request.tools) or any(
        _is_marked(part)
        for message in request.messages
        if isinstance(message.content, tuple)
        for part in message.content
    )


def without_marks(request: ChatRequest) -> ChatRequest:
    """The same without marks, for a provider that takes none: they change no answer."""
    return msgspec.structs.replace(
        request,
        messages=tuple(map(_unmarked, request.messages)),
        tools=tuple(msgspec.structs.replace(tool, cache=None) for tool in request.tools),
    )


def _unmarked(message: Message) -> Message:
    content = message.content
    if not isinstance(content, tuple) or not any(map(_is_marked, content)):
        return message
    bare = tuple(
        msgspec.structs.replace(part, cache=None) if _is_marked(part) else part for part in content
    )
    return msgspec.structs.replace(message, content=plain(bare))


def _is_marked(part: Part) -> bool:
    return isinstance(part, TextPart | ImagePart | FilePart) and part.cache is not None
