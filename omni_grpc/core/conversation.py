"""How a conversation is known again without keeping any of it: by digests of its beginnings.

A client sends the whole conversation with each turn, so the next turn begins with what was sent.
"""

from hashlib import blake2b
from typing import Final

from omni_grpc.core.chat import ChatRequest, Message, TextPart

BEGINNINGS_MAX: Final = 8
"""How many messages back a beginning is sought: a client may add several at once."""

WARM_SECONDS: Final = 300.0
"""Providers keep a prompt for five minutes from its last use, or longer."""

_DIGEST_BYTES: Final = 16


def beginnings(request: ChatRequest, count: int, scope: str = "") -> list[bytes]:
    """The digests of a request's last `count` beginnings, each one message longer than the other.

    The last is the whole request's. `scope` keeps apart what shall not be taken for the same.
    """
    hasher = blake2b(digest_size=_DIGEST_BYTES)
    hasher.update(scope.encode())
    for tool in request.tools:
        hasher.update(f"\0{tool.name}\1{tool.parameters_json}".encode("utf-8", "surrogatepass"))
    first = len(request.messages) - count
    digests = []
    for place, message in enumerate(request.messages):
        hasher.update(_written(message).encode("utf-8", "surrogatepass"))
        if place >= first:
            digests.append(hasher.copy().digest())
    return digests


def _written(message: Message) -> str:
    """A message as text that tells it from others."""
    content = message.content
    if isinstance(content, str):
        return f"\0{message.role}\1{content}"
    if content is None:
        return f"\0{message.role}\2{[call.arguments_json for call in message.tool_calls]}"
    parts = (part.text if isinstance(part, TextPart) else repr(part) for part in content)
    return f"\0{message.role}\3" + "\4".join(parts)
