"""Anthropic's own SDK, pointed straight at the simulator."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pydantic
import pytest

from omni_grpc.catalog.tokens import count_text
from omni_grpc.simulator import Simulator

KEY = "sk-ant-sim"
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
CLOCK: Any = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
HELLO: Any = [{"role": "user", "content": "Hello"}]


def user(*content: Any) -> Any:
    return [{"role": "user", "content": content[0] if len(content) == 1 else list(content)}]


def text(words: str, **more: Any) -> Any:
    return {"type": "text", "text": words, **more}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(key=KEY) as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=simulator.origin, api_key=KEY, max_retries=0, timeout=60
    ) as made:
        yield made


async def streamed(client: anthropic.AsyncAnthropic, **asked: Any) -> Any:
    async with client.messages.stream(max_tokens=2000, **asked) as stream:
        return await stream.get_final_message()


def known(message: Any) -> dict[str, Any]:
    """What a message says, without what names it, and without what only a plain one tells."""
    found = json.loads(message.to_json())
    del found["id"]
    for block in found["content"]:
        block.pop("parsed_output", None)
        block.pop("citations", None)
        if block["type"] == "tool_use":
            block.pop("caller", None)
            block.pop("toolset_name", None)
    return {name: value for name, value in found.items() if value is not None}


# --- answers ------------------------------------------------------------------------------------
async def test_a_plain_answer_reports_what_it_has(client, simulator):
    answer = await client.messages.create(
        model="sim/fast", max_tokens=100, messages=HELLO, system="Be brief."
    )
    (block,) = answer.content
    assert answer.id.startswith("msg_")
    assert (answer.model, answer.role, answer.stop_reason) == ("sim/fast", "assistant", "end_turn")
    assert answer.usage.output_tokens == count_text(block.text) == 40
    assert answer.usage.input_tokens == simulator.log[-1].prompt_tokens
    assert simulator.log[-1].seen["system"] == "Be brief."
    assert simulator.log[-1].billed_completion_tokens == 40


def test_the_synchronous_client_works_too(simulator_url: str) -> None:
    origin = simulator_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=origin, api_key="x", max_retries=0) as client:
        plain = client.messages.create(model="echo", max_tokens=100, messages=HELLO)
        assert plain.content[0].text == "Hello"
        with client.messages.stream(model="echo", max_tokens=100, messages=HELLO) as stream:
            assert "".join(stream.text_stream) == "Hello"


THINK: Any = {"type": "adaptive"}
SCHEMA: Any = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"model": "echo"},
        {"model": "refusal"},
        {"model": "empty"},
        {"model": "burst"},
        {"model": "cached"},
        {"model": "reasoner"},
        {"model": "reasoner", "thinking": THINK},
        {"model": "reasoner", "thinking": THINK, "output_config": {"effort": "max"}},
        {"model": "reasoner", "thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"model": "reasoner", "thinking": {**THINK, "display": "omitted"}},
        {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "get_weather"}},
        {"tools": [CLOCK, WEATHER], "messages": user("call get_time, call get_weather")},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"stop_sequences": [".", "e"]},
        {"messages": user(text("Long. " * 20, cache_control={"type": "ephemeral"}), text("Hi"))},
    ],
)
async def test_stream_and_plain_answer_are_the_same(client, simulator, asked):
    asked = {"model": "fast", "messages": HELLO, **asked}
    plain = await client.messages.create(max_tokens=2000, **asked)
    assert known(await streamed(client, **asked)) == known(plain)
    for record in simulator.log:
        assert record.outcome == "finished"
        assert record.completion_tokens == plain.usage.output_tokens
        assert record.reasoning_tokens == plain.usage.output_tokens_details.thinking_tokens


async def test_the_events_of_a_stream_are_those_that_are_documented(client):
    kinds: list[str] = []
    stream = await client.messages.create(
        model="reasoner", max_tokens=2000, messages=HELLO, thinking=THINK, stream=True
    )
    async for event in stream:
        if not kinds or kinds[-1] != event.type:
            kinds.append(event.type)
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert kinds == ["message_start", *block, *block, "message_delta", "message_stop"]


# --- tools --------------------------------------------------------------------------------------
async def test_tools_are_called_and_their_results_are_read(client, simulator):
    asked = {"model": "fast", "tools": [WEATHER, CLOCK]}
    messages = user("Please call get_weather and call get_time")
    first = await client.messages.create(max_tokens=500, messages=messages, **asked)
    assert first.stop_reason == "tool_use"
    assert [block.name for block in first.content] == ["get_weather", "get_time"]
    assert first.content[0].input["unit"] in ("c", "f")
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": f"result {index}"}
        for index, block in enumerate(first.content)
    ]
    messages = [
        *messages,
        first.to_param(),
        {"role": "user", "content": results},
    ]
    second = await client.messages.create(max_tokens=500, messages=messages, **asked)
    assert second.stop_reason == "end_turn"
    assert second.content[0].text == "The tools answered: result 0 and result 1"
    assert simulator.log[-1].seen["tool_results"] == 2


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "any"}, ["get_weather"]),
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
        ({"type": "auto"}, []),
        ({"type": "none"}, []),
    ],
)
async def test_tools_are_chosen(client, choice, names):
    answer = await client.messages.create(
        model="fast",
        max_tokens=500,
        messages=HELLO,
        tools=[WEATHER, CLOCK],
        tool_choice=choice,
    )
    assert [block.name for block in answer.content if block.type == "tool_use"] == names


async def test_parallel_tools_can_be_off(client, simulator):
    answer = await client.messages.create(
        model="fast",
        max_tokens=500,
        messages=user("call get_time and call get_weather"),
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )
    assert [block.name for block in answer.content] == ["get_time"]
    assert simulator.log[-1].seen["parallel_tool_calls"] is False


# --- thinking -----------------------------------------------------------------------------------
@pytest.mark.parametrize("display", ["summarized", "omitted"])
async def test_thinking_goes_back_with_its_proof(client, simulator, display):
    asked = {
        "model": "reasoner",
        "max_tokens": 2000,
        "thinking": {"type": "enabled", "budget_tokens": 1024, "display": display},
        "tools": [CLOCK],
    }
    messages = user("call get_time")
    first = await client.messages.create(messages=messages, **asked)
    thinking, call = first.content
    assert bool(thinking.thinking) is (display == "summarized")
    assert thinking.signature
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "noon"}
    messages += [first.to_param(), {"role": "user", "content": [result]}]
    second = await client.messages.create(messages=messages, **asked)
    assert second.content[-1].type == "text"
    assert simulator.log[-1].seen["reasoning_blocks"] == 1
    assert simulator.log[-1].seen["reasoning_budget"] == 1024
    changed = {"type": "thinking", "thinking": "Other.", "signature": thinking.signature}
    messages[1] = {"role": "assistant", "content": [changed, call]}
    with pytest.raises(anthropic.BadRequestError, match=r"content\.0: Invalid `signature`"):
        await client.messages.create(messages=messages, **asked)
    messages[1] = {"role": "assistant", "content": [call]}
    with pytest.raises(anthropic.BadRequestError, match="Expected `thinking`"):
        await client.messages.create(messages=messages, **asked)


async def test_redacted_thinking_goes_back_too(client):
    asked = {"model": "reasoner", "max_tokens": 2000, "thinking": THINK}
    messages = user("ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46C9A13E")
    first = await client.messages.create(messages=messages, **asked)
    assert [block.type for block in first.content] == ["redacted_thinking", "text"]
    assert (await streamed(client, model="reasoner", messages=messages, thinking=THINK)).content[
        0
    ] == first.content[0]
    following = [*messages, first.to_param(), *user("And?")]
    await client.messages.create(messages=following, **asked)
    forged = {"type": "redacted_thinking", "data": "AAAA"}
    following[1] = {"role": "assistant", "content": [forged, text("x")]}
    with pytest.raises(anthropic.BadRequestError, match="redacted_thinking"):
        await client.messages.create(messages=following, **asked)


async def test_effort_scales_thinking(client):
    lengths = []
    for effort in ("low", "medium", "high", "max"):
        answer = await client.messages.create(
            model="reasoner",
            max_tokens=2000,
            messages=HELLO,
            thinking=THINK,
            output_config={"effort": effort},
        )
        lengths.append(answer.usage.output_tokens_details.thinking_tokens)
    assert lengths == [12, 24, 48, 96]


# --- forms, media, cache ------------------------------------------------------------------------
async def test_an_answer_can_be_parsed_by_the_sdk(client, simulator):
    class City(pydantic.BaseModel):
        name: str
        people: int

    asked = {"model": "fast", "messages": HELLO, "output_format": City}
    parsed = await client.messages.parse(max_tokens=500, **asked)
    assert parsed.parsed_output.name
    assert (await streamed(client, **asked)).parsed_output == parsed.parsed_output
    assert simulator.log[-1].seen["response_format"] == "json_schema"


async def test_images_and_documents_are_taken(client, simulator):
    content = [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
        },
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"},
        },
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        text("What are these?"),
    ]
    await client.messages.create(model="vision", max_tokens=100, messages=user(*content))
    seen = simulator.log[-1].seen
    assert {name: seen[name] for name in ("images", "image_urls", "files", "file_ids")} == {
        "images": 1,
        "image_urls": 1,
        "files": 2,
        "file_ids": 1,
    }
    for part in (content[0], content[2]):
        with pytest.raises(anthropic.BadRequestError, match="does not support"):
            await client.messages.create(
                model="fast", max_tokens=100, messages=user(part, text("?"))
            )


async def test_marks_divide_the_prompt_into_read_written_and_the_rest(client, simulator):
    hour: Any = {"type": "ephemeral", "ttl": "1h"}
    asked = {
        "model": "fast",
        "max_tokens": 100,
        "system": [text("The law. " * 40, cache_control=hour)],
        "messages": user(
            text("The case. " * 20, cache_control={"type": "ephemeral"}), text("And?")
        ),
    }
    usage = (await client.messages.create(**asked)).usage
    written = usage.cache_creation
    assert written.ephemeral_1h_input_tokens > written.ephemeral_5m_input_tokens > 0
    total = simulator.log[-1].prompt_tokens
    assert usage.input_tokens + usage.cache_creation_input_tokens == total
    assert usage.cache_read_input_tokens == 0
    again = (await client.messages.create(extra_headers={"x-sim": "cached=80"}, **asked)).usage
    assert again.cache_read_input_tokens == total * 80 // 100 == simulator.log[-1].cached_tokens
    assert again.cache_creation.ephemeral_1h_input_tokens == 0
    assert (
        again.input_tokens + again.cache_read_input_tokens + again.cache_creation_input_tokens
        == total
    )


async def test_the_sequence_that_stopped_it_is_told(client):
    for asked in (client.messages.create, None):
        more = {"model": "fast", "messages": user("[sim say=one two three] Hi")}
        more |= {"stop_sequences": ["zzz", " two"]}
        answer = await asked(max_tokens=100, **more) if asked else await streamed(client, **more)
        assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", " two")
        assert answer.content[0].text == "one"


# --- errors -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.APIStatusError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.APIStatusError, "overloaded_error"),
    ],
)
async def test_errors_have_anthropics_form(client, status, error, kind):
    with pytest.raises(error) as caught:
        await client.messages.create(
            model="fast",
            max_tokens=9,
            messages=HELLO,
            extra_headers={"x-sim": f"status={status}"},
        )
    assert (caught.value.status_code, caught.value.type) == (status, kind)


async def test_an_error_in_a_stream_comes_after_what_was_sent(client):
    said: list[str] = []

    async def read() -> None:
        asked: Any = {"model": "error-mid", "max_tokens": 100, "messages": HELLO}
        async with client.messages.stream(**asked) as stream:
            async for piece in stream.text_stream:
                said.append(piece)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(anthropic.APIStatusError) as caught:
        await read()
    assert count_text("".join(said)) == 5
    assert caught.value.type == "api_error"


async def test_a_key_is_taken_in_both_headers_and_a_wrong_one_in_none(simulator):
    for given in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
        async with anthropic.AsyncAnthropic(
            base_url=simulator.origin,
            api_key="wrong",
            max_retries=0,
            default_headers=given,
        ) as client:
            await client.messages.create(model="fast", max_tokens=9, messages=HELLO)
    async with anthropic.AsyncAnthropic(
        base_url=simulator.origin, api_key="wrong", max_retries=0
    ) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(model="fast", max_tokens=9, messages=HELLO)


async def test_the_client_of_vertex_is_answered(simulator):
    async with anthropic.AsyncAnthropicVertex(
        base_url=simulator.base_url,
        region="europe-west1",
        project_id="p-1",
        access_token=KEY,
        max_retries=0,
    ) as client:
        plain = await client.messages.create(
            model="claude-opus-4-5@20251101", max_tokens=100, messages=HELLO
        )
        assert plain.content[0].text
        asked = {"model": "claude-opus-4-5@20251101", "messages": HELLO}
        assert known(await streamed(client, **asked)) == known(plain)
    assert {record.model for record in simulator.log} == {"claude-opus-4-5@20251101"}
