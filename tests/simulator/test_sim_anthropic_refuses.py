"""What Anthropic refuses, the simulator refuses: 400, in its form, and it names the place."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from omni_grpc.simulator import Simulator
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialects.anthropic_messages import AnthropicMessagesDialect

OLD, NEW = "2023-06-01", "2026-10-21"
VERTEX = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x"
Post = Callable[..., Awaitable[tuple[int, Any]]]

TOOL: Any = {"name": "f", "input_schema": {"type": "object"}}
OPEN_SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "integer"}}}
CALL: Any = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
THINKS: Any = {"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
FIVE: Any = {"type": "ephemeral"}
HOUR: Any = {"type": "ephemeral", "ttl": "1h"}


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async with Simulator() as simulator, aiohttp.ClientSession(simulator.origin) as session:

        async def post(
            body: Any = None, *, version: str | None = OLD, path: str = "/v1/messages", **more: Any
        ) -> tuple[int, Any]:
            if body is None:
                body = {"model": "fast", "max_tokens": 50, "messages": [user("Hi")], **more}
                body = {name: value for name, value in body.items() if value is not None}
            headers = {} if version is None else {"anthropic-version": version}
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            async with session.post(path, data=data, headers=headers) as response:
                return response.status, await response.json()

        yield post


def user(*content: Any) -> Any:
    return {"role": "user", "content": content[0] if len(content) == 1 else list(content)}


def said(*content: Any) -> Any:
    return {"role": "assistant", "content": content[0] if len(content) == 1 else list(content)}


def text(words: str = "x", **more: Any) -> Any:
    return {"type": "text", "text": words, **more}


def image(**source: Any) -> Any:
    return {"type": "image", "source": source}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no limit": ({"max_tokens": None}, "max_tokens: Field required"),
    "no messages": ({"messages": None}, "messages: Field required"),
    "no model": ({"model": None}, "model: Field required"),
    "empty messages": ({"messages": []}, "messages: at least one message is required"),
    "a limit below zero": ({"max_tokens": -1}, "max_tokens: Expected"),
    "a limit beyond the model's": ({"max_tokens": 20_000}, "max_tokens: 20000 > 16384"),
    "an unknown field": ({"seed": 7}, "seed: Extra inputs are not permitted"),
    "the version in the body": (
        {"anthropic_version": "vertex-2023-10-16"},
        "anthropic_version: Extra inputs",
    ),
    "a role": ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Invalid enum"),
    "a system turn": ({"messages": [{"role": "system", "content": "x"}]}, "role 'system'"),
    "an empty turn": ({"messages": [user([])]}, "messages.0: all messages must have non-empty"),
    "an empty text": ({"messages": [user([text("")])]}, "must be non-empty"),
    "a blank text": ({"messages": [user("  ")]}, "must contain non-whitespace text"),
    "a blank system prompt": ({"system": [text(" ")]}, "system: text content blocks"),
    "a blank at the very end": (
        {"messages": [user("Hi"), said("So ")]},
        "final assistant content cannot end with trailing whitespace",
    ),
    "audio": ({"messages": [user([{"type": "input_audio"}])]}, "messages.0.content.0.type"),
    "an unknown image": (
        {"messages": [user([image(type="base64", media_type="image/bmp", data="aGk=")])]},
        "source.media_type",
    ),
    "an image that is none": (
        {"messages": [user([image(type="base64", media_type="image/png", data="?")])]},
        "messages.0.content.0.image.source.base64.data",
    ),
    "an image of the assistant's": (
        {"messages": [user("x"), said([image(type="url", url="https://x")]), user("x")]},
        "messages.1.content.0: this block is only permitted in `user` messages",
    ),
    "a mark on thinking": (
        {
            "messages": [
                user("x"),
                said(
                    [{"type": "thinking", "thinking": "", "signature": "", "cache_control": FIVE}]
                ),
            ]
        },
        "cache_control: Extra inputs are not permitted",
    ),
    "five marks": (
        {"messages": [user([text(cache_control=FIVE)] * 5)]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "a long mark after a short one": (
        {"messages": [user([text(cache_control=FIVE), text(cache_control=HOUR)])]},
        "ttl='1h'",
    ),
    "a life of a mark": (
        {"messages": [user([text(cache_control={"type": "ephemeral", "ttl": "2h"})])]},
        "cache_control.ttl",
    ),
    # tools
    "a tool's name": ({"tools": [{**TOOL, "name": "a b"}]}, "tools.0.name"),
    "a tool without schema": ({"tools": [{"name": "f"}]}, "tools.0.input_schema: Field required"),
    "a tool's schema": (
        {"tools": [{"name": "f", "input_schema": {"type": "array"}}]},
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    "two tools of a name": ({"tools": [TOOL, TOOL]}, "Tool names must be unique"),
    "a strict tool that is open": (
        {"tools": [{"name": "f", "input_schema": OPEN_SCHEMA, "strict": True}]},
        "'additionalProperties' must be explicitly set to false",
    ),
    "a choice without tools": ({"tool_choice": {"type": "auto"}}, "only be specified while"),
    "a choice of no tool": (
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}},
        "Tool 'g' not found",
    ),
    "a choice without name": ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool.name"),
    "a name without choice": (
        {"tools": [TOOL], "tool_choice": {"type": "any", "name": "f"}},
        "tool_choice.any.name",
    ),
    "a mode of choice": ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "tool_choice"),
    "a result without call": ({"messages": [user([RESULT])]}, "unexpected `tool_use_id`"),
    "a call without result": (
        {"messages": [user("x"), said([CALL]), user("y")]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks",
    ),
    "a call at the end": ({"messages": [user("x"), said([CALL])]}, "ids were found without"),
    "a result behind a text": (
        {"messages": [user("x"), said([CALL]), user([text(), RESULT])]},
        "ids were found without",
    ),
    "a result of the assistant's": (
        {"messages": [user("x"), said([RESULT])]},
        "can only be in `user` messages",
    ),
    "a call of the user's": ({"messages": [user([CALL])]}, "can only be in `assistant` messages"),
    "arguments that are no object": (
        {"messages": [user("x"), said([{**CALL, "input": []}]), user([RESULT])]},
        "tool_use.input: Input should be a valid dictionary",
    ),
    # settings
    "heat": ({"temperature": 1.5}, "temperature: Expected"),
    "a blank stop": ({"stop_sequences": [" "]}, "stop_sequences.0"),
    "an effort": ({"output_config": {"effort": "minimal"}}, "output_config.effort"),
    "an open schema": (
        {"output_config": {"format": {"type": "json_schema", "schema": OPEN_SCHEMA}}},
        "output_config.format.schema: For 'object' type",
    ),
    "an open schema inside": (
        {
            "output_config": {
                "format": {
                    "type": "json_schema",
                    "schema": {"$defs": {"x": {"type": "array", "items": OPEN_SCHEMA}}},
                }
            }
        },
        "output_config.format.schema: For 'object' type",
    ),
    "a small budget": (
        {"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 500}},
        "thinking.budget_tokens",
    ),
    "a budget beyond the limit": (
        {**THINKS, "max_tokens": 1024},
        "`max_tokens` must be greater than `thinking.budget_tokens`",
    ),
    "thinking with heat": ({**THINKS, "temperature": 0.5}, "`temperature` may only be set to 1"),
    "thinking with top_p": ({**THINKS, "top_p": 0.5}, "`top_p` must be greater"),
    "thinking with top_k": ({**THINKS, "top_k": 5}, "`top_k` must be unset"),
    "thinking with a forced tool": (
        {**THINKS, "tools": [TOOL], "tool_choice": {"type": "any"}},
        "Thinking may not be enabled when tool_choice forces tool use",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_a_wrong_request_is_refused(post: Post, name: str) -> None:
    fields, words = REFUSED[name]
    status, answer = await post(**fields)
    assert (status, answer["type"]) == (400, "error"), answer
    assert answer["error"]["type"] == "invalid_request_error"
    assert words in answer["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages":[{"content":"\xff"}]}'])
async def test_what_is_no_request_is_refused(post: Post, body: bytes) -> None:
    status, answer = await post(body)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("version", "words"), [(None, "header is required"), ("2024-01-01", "is not a valid version")]
)
async def test_a_version_must_be_told(post: Post, version: str | None, words: str) -> None:
    status, answer = await post(version=version)
    assert status == 400
    assert words in answer["error"]["message"]


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
async def test_the_new_version_takes_no_sampling(post: Post, field: str) -> None:
    assert (await post(version=OLD, **{field: 1}))[0] == 200
    status, answer = await post(version=NEW, **{field: 1})
    assert status == 400
    assert answer["error"]["message"] == f"{field}: Extra inputs are not permitted"


async def test_documents_of_the_assistants_are_old(post: Post) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    turns = [user("x"), said([{"type": "document", "source": source}]), user("y")]
    more = {"model": "vision", "messages": turns}
    assert (await post(version=OLD, **more))[0] == 200
    assert (await post(version=NEW, **more))[0] == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 0},
        {"messages": [user("a"), user("b"), said("c"), said("d")]},
        {"messages": [user("x"), said([CALL]), user([RESULT, text()])], "tools": [TOOL]},
        {"messages": [user("x"), said([CALL]), user([RESULT]), user("y")], "tools": [TOOL]},
        {"messages": [user("x"), said([])]},
        {"metadata": {"user_id": "u"}, "service_tier": "auto", "stream": False},
        {"thinking": {"type": "disabled"}, "temperature": 0.2, "top_k": 1, "top_p": 0.1},
        {**THINKS, "temperature": 1, "top_p": 0.95},
    ],
)
async def test_what_is_right_is_answered(post: Post, fields: dict[str, Any]) -> None:
    status, answer = await post(**fields)
    assert status == 200, answer


@pytest.mark.parametrize(
    ("more", "action", "words"),
    [
        ({"model": "x"}, "rawPredict", "model: Extra inputs"),
        ({"anthropic_version": None}, "rawPredict", "anthropic_version: Field required"),
        ({"anthropic_version": "2023-06-01"}, "rawPredict", "is not a valid version"),
        ({"stream": True}, "rawPredict", "stream"),
        ({}, "streamRawPredict", "stream"),
        ({}, "rawPredict", None),
    ],
)
async def test_vertex_has_the_version_in_the_body(
    post: Post, more: dict[str, Any], action: str, words: str | None
) -> None:
    body = {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 50,
        "messages": [user("Hi")],
        **more,
    }
    body = {name: value for name, value in body.items() if value is not None}
    status, answer = await post(body, version=None, path=f"{VERTEX}:{action}")
    if words is None:
        assert (status, answer["model"]) == (200, "claude-x")
    else:
        assert status == 400
        assert words in answer["error"]["message"]


async def test_a_model_of_the_simulators_that_is_none_is_not_found(post: Post) -> None:
    status, answer = await post(model="sim/none")
    assert (status, answer["error"]["type"]) == (404, "not_found_error")


async def test_a_prompt_that_does_not_fit_is_refused(post: Post) -> None:
    status, answer = await post(model="small", messages=[user("word " * 9000)])
    assert status == 400
    assert "prompt is too long" in answer["error"]["message"]


async def test_tools_and_forms_need_a_model_that_has_them(post: Post) -> None:
    assert (await post(model="small", tools=[TOOL]))[0] == 400
    form = {"type": "json_schema", "schema": {"type": "string"}}
    assert (await post(model="small", output_config={"format": form}))[0] == 400


def test_a_ping_is_an_event() -> None:
    ping = AnthropicMessagesDialect.framing.ping(Behaviour())
    assert ping == b'event: ping\ndata: {"type":"ping"}\n\n'
