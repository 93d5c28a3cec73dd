"""Asks for responses by hand, and holds each body and event against the official SDK's types."""

import json
from collections.abc import Iterable
from typing import Any

import pydantic
from openai.types.responses import Response, ResponseStreamEvent
from raw_client import RawAnswer

PATH = "/v1/responses"

_response: Any = pydantic.TypeAdapter(Response)
_event: Any = pydantic.TypeAdapter(ResponseStreamEvent)


def ask(content: Any = "Hello", **fields: Any) -> bytes:
    return json.dumps({"model": "sim/fast", "input": content, **fields}).encode()


def response_of(answer: RawAnswer) -> Any:
    """The object of a plain answer, which the SDK's strict types accept."""
    assert answer.status == 200, answer.body
    _response.validate_json(answer.body, strict=True)
    return answer.json


def events_of(answer: RawAnswer) -> list[Any]:
    """The events of a stream: named by their type, numbered, and of the SDK's strict types."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.events:
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == len(found)
        _event.validate_json(data.removeprefix("data: "), strict=True)
        found.append(event)
    assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
    return found


def types_of(events: Iterable[Any]) -> list[str]:
    """The types, without what all have in common."""
    return [event["type"].removeprefix("response.") for event in events]
