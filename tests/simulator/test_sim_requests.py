"""Requests that are refused, and what the refusal looks like."""

import json
from typing import Any

import pytest
from sim_raw import HELLO, RawCall, ended

from omni_grpc.simulator import Simulator

TOOL = {"type": "function", "function": {"name": "f"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}

BAD: dict[str, tuple[dict[str, Any], str | None]] = {
    "no messages": ({"messages": []}, "messages"),
    "messages missing": ({"messages": None}, "messages"),
    "model of a wrong type": ({"model": 3}, "model"),
    "empty model": ({"model": ""}, "model"),
    "unknown role": ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    "user without content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "unknown part": (
        {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
        "messages[0].content[0].type",
    ),
    "stray tool message": (
        {"messages": [*HELLO, {"role": "tool", "tool_call_id": "c", "content": "x"}]},
        "messages[1].tool_call_id",
    ),
    "negative max_tokens": ({"max_tokens": -1}, "max_tokens"),
    "zero max_tokens": ({"max_completion_tokens": 0}, "max_completion_tokens"),
    "no choices": ({"n": 0}, "n"),
    "hot": ({"temperature": 3}, "temperature"),
    "too many stops": ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    "usage without stream": ({"stream_options": {"include_usage": True}}, "stream_options"),
    "tops without logprobs": ({"top_logprobs": 2}, "top_logprobs"),
    "too many tops": ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    "choice without tools": ({"tool_choice": "required"}, "tool_choice"),
    "choice of no tool": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice",
    ),
    "tool with a bad name": (
        {"tools": [{"type": "function", "function": {"name": "no way"}}]},
        "tools[0].function.name",
    ),
    "schema missing": ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    "schema not covered": (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "schema": {"type": "string", "pattern": "a"}},
            }
        },
        None,
    ),
    "image for a model without eyes": (
        {"messages": [{"role": "user", "content": [IMAGE]}]},
        "messages[0].content",
    ),
    "tools for a model without hands": ({"model": "small", "tools": [TOOL]}, "tools"),
    "unknown behaviour": ({"metadata": {"sim": "fly=1"}}, "x-sim"),
    "impossible behaviour": ({"metadata": {"sim": "status=200"}}, "x-sim"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_request_is_refused_with_all_four_keys(simulator: Simulator, name: str) -> None:
    body, param = BAD[name]
    call = await RawCall.post(simulator, "connection: close\r\n", **body)
    await call.read_to_end()
    assert call.status == 400, call.received
    error = json.loads(call.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    (record,) = await ended(simulator)
    assert (record.status, record.outcome, record.completion_tokens) == (400, "error", 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"model":"fast"}'])
async def test_a_body_that_is_no_request_is_refused(simulator: Simulator, body: bytes) -> None:
    status, answer = await exchange(
        simulator, f"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n", body
    )
    assert status == 400
    assert json.loads(answer)["error"]["message"]


async def test_a_prompt_above_the_context_is_refused_as_openai_does(simulator: Simulator) -> None:
    messages = [{"role": "user", "content": "word " * 9_000}]
    call = await RawCall.post(
        simulator, "connection: close\r\n", model="sim/small", messages=messages
    )
    await call.read_to_end()
    error = json.loads(call.body)["error"]
    assert (call.status, error["code"]) == (400, "context_length_exceeded")
    assert "8192" in error["message"]


async def test_a_body_above_the_limit_is_refused_without_reading_it(simulator: Simulator) -> None:
    head = "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 40000000\r\n"
    status, answer = await exchange(simulator, head, b" " * 40_000_000)
    assert status == 413
    assert json.loads(answer)["error"]["code"] == "request_too_large"


@pytest.mark.parametrize(
    ("line", "status"), [("GET /v1/chat/completions", 405), ("GET /nowhere", 404)]
)
async def test_wrong_routes_get_the_same_error_object(
    simulator: Simulator, line: str, status: int
) -> None:
    got, answer = await exchange(simulator, f"{line} HTTP/1.1\r\n")
    assert got == status
    assert set(json.loads(answer)["error"]) == {"message", "type", "param", "code"}


async def test_the_key_is_asked_for_everywhere() -> None:
    async with Simulator(key="sk-right") as guarded:
        for line in ("GET /v1/models", "GET /sim/log", "POST /sim/gate/a/open"):
            assert (await exchange(guarded, f"{line} HTTP/1.1\r\n"))[0] == 401
            right = f"{line} HTTP/1.1\r\nauthorization: Bearer sk-right\r\n"
            assert (await exchange(guarded, right))[0] == 200
        for key, status in (("", 401), ("sk-wrong", 401), ("sk-right", 200)):
            call = await RawCall.post(
                guarded, f"connection: close\r\nauthorization: Bearer {key}\r\n"
            )
            await call.read_to_end()
            assert call.status == status
        assert [record.status for record in guarded.log] == [401, 401, 200]
        assert "sk-" not in repr(guarded.log)


async def exchange(simulator: Simulator, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """One request by hand, on a connection of its own."""
    call = await RawCall.send(simulator, f"{head}host: sim\r\nconnection: close\r\n\r\n", body)
    await call.read_to_end()
    return call.status, call.body
