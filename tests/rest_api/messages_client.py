"""What the tests of Anthropic's API share: bodies, events, and its SDK's own types, strictly."""

import json
from typing import Any

import pydantic
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from raw_client import RawAnswer, RawClient

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]

_KINDS: dict[str, Any] = {
    "message": pydantic.TypeAdapter(Message),
    "count": pydantic.TypeAdapter(MessageTokensCount),
    "event": pydantic.TypeAdapter(RawMessageStreamEvent),
}


def body(model: str = "sim/fast", **fields: Any) -> bytes:
    return json.dumps({"model": model, "max_tokens": 100, "messages": HELLO, **fields}).encode()


async def ask(raw: RawClient, asked: bytes | None = None, **request: Any) -> RawAnswer:
    return await raw.ask(body() if asked is None else asked, **{"path": MESSAGES, **request})


def strictly(kind: str, data: Any) -> Any:
    """Data as the SDK's type: nothing is coerced, and there is no field that the SDK lacks."""
    found = _KINDS[kind].validate_json(json.dumps(data), strict=True)
    _check_no_more(found)
    return found


def _check_no_more(found: Any) -> None:
    if isinstance(found, pydantic.BaseModel):
        assert not found.model_extra, (type(found), found.model_extra)
        for _, value in found:
            _check_no_more(value)
    elif isinstance(found, list):
        for value in found:
            _check_no_more(value)


def events_of(blocks: list[str]) -> list[Any]:
    """The events of a stream's blocks, each checked; pings and comments are left out."""
    found = []
    for block in blocks:
        if block.startswith(":"):
            continue
        name, _, data = block.partition("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        if event["type"] not in ("ping", "error"):
            strictly("event", event)
        if event["type"] != "ping":
            found.append(event)
    return found


def shape(events: list[Any]) -> list[str]:
    """The events in short: each block as its type, its deltas joined."""
    lines: list[str] = []
    for event in events:
        match event["type"]:
            case "content_block_start":
                block = event["content_block"]
                lines.append(f"{event['index']} {block['type']}")
                lines += [block["data"]] if "data" in block else []
            case "content_block_delta":
                delta = event["delta"]
                kind = delta.pop("type")
                (text,) = delta.values()
                lines.append(f"{event['index']} {kind} {text}")
            case "content_block_stop":
                lines.append(f"{event['index']} stop")
            case other:
                lines.append(other)
    return lines
