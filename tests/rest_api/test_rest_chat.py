"""Answers as OpenAI's clients read them: bodies, chunks, headers."""

import json
from collections.abc import AsyncIterator

import openai
import pytest
from raw_client import RawClient, chat
from rest_rig import Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    Logprobs,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from omni_grpc.core.usage import Usage, UsageSource

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def test_a_plain_answer_has_openais_shape_and_the_cost(raw: RawClient) -> None:
    answer = await raw.ask(chat())
    assert answer.status == 200
    body = answer.json
    assert body["object"] == "chat.completion"
    assert body["id"] == answer.headers["x-request-id"]
    assert body["model"] == "sim/fast"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello, world",
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["usage"]["total_tokens"] == 13
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert body["usage"]["cost"] == 0.001234567
    assert body["usage"]["cost_nanousd"] == 1_234_567
    assert answer.headers["x-omni-model"] == "sim/fast"
    assert answer.headers["x-omni-provider"] == "sim"
    assert answer.headers["x-omni-cost-usd"] == "0.001234567"
    assert answer.headers["x-omni-balance-usd"] == "4.998765434"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_plain_answer_carries_all_that_a_model_can_say(
    service: Service, raw: RawClient
) -> None:
    async def script(call: Call, request: ChatRequest) -> ChatCompletion:
        calls = (ToolCall(id="call_1", name="f", arguments_json='{"a": 1.0}'),)
        return completion(
            call,
            Answer(reasoning="hm", tool_calls=calls),
            Answer(refusal="No."),
            usage=Usage(prompt=5, completion=None, source=UsageSource.ESTIMATE),
            balance_nanousd=None,
            system_fingerprint="fp",
            service_tier="default",
        )

    service.chats.complete_script = script
    answer = await raw.ask(chat())
    first, second = (choice["message"] for choice in answer.json["choices"])
    assert first["content"] is None
    assert first["reasoning_content"] == "hm"
    assert first["tool_calls"] == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "f", "arguments": '{"a": 1.0}'},
        }
    ]
    assert second["refusal"] == "No."
    assert answer.json["usage"]["completion_tokens"] == 0
    assert answer.json["usage"]["completion_tokens_details"] == {}
    assert answer.json["usage"]["estimated"] is True
    assert answer.json["system_fingerprint"] == "fp"
    assert answer.json["service_tier"] == "default"
    assert "x-omni-balance-usd" not in answer.headers


async def test_a_stream_follows_the_rules_of_chunks(raw: RawClient) -> None:
    answer = await raw.ask(chat(stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-omni-model"] == "sim/fast"
    chunks = answer.chunks
    assert {(c["id"], c["object"], c["model"]) for c in chunks} == {
        (answer.headers["x-request-id"], "chat.completion.chunk", "sim/fast")
    }
    assert len({c["created"] for c in chunks}) == 1
    choices = [c["choices"][0] for c in chunks]
    assert [c["delta"] for c in choices] == [
        {"role": "assistant", "content": "Hello"},
        {"content": ", world"},
        {},
    ]
    assert [c["finish_reason"] for c in choices] == [None, None, "stop"]
    assert all("usage" not in c for c in chunks)
    comment, done = answer.events[-2:]
    assert done == "data: [DONE]"
    assert json.loads(comment.removeprefix(": omni ")) == {
        "call_id": answer.headers["x-request-id"],
        "model": "sim/fast",
        "cost_nanousd": 1_234_567,
        "cost_usd": "0.001234567",
        "balance_nanousd": 4_998_765_434,
        "balance_usd": "4.998765434",
    }


async def test_usage_comes_in_a_chunk_of_its_own_and_is_null_elsewhere(raw: RawClient) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    *others, last = (await raw.ask(body)).chunks
    assert all(chunk["choices"] and chunk["usage"] is None for chunk in others)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 13
    assert last["usage"]["cost_nanousd"] == 1_234_567


async def test_what_comes_together_leaves_together(service: Service, raw: RawClient) -> None:
    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield tuple(ChatDelta(text=str(number)) for number in range(50))
        yield (ChatDelta(finish_reason="stop"),)
        yield completion(call)

    service.chats.stream_script = script
    await raw.send(chat(stream=True))
    await raw.head()
    assert (await raw.chunk()).count(b"data: ") == 50
    assert (await raw.chunk()).count(b"data: ") == 1
    assert (await raw.chunk()).endswith(b"data: [DONE]\n\n")
    assert await raw.chunk() == b""


async def test_choices_tools_reasoning_and_logprobs_stream(
    service: Service, raw: RawClient
) -> None:
    probable = Logprobs(content=(TokenLogprob(token="a", logprob=-0.5, bytes=(97,)),))

    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (
            ChatDelta(choice_index=1, reasoning="hm"),
            ChatDelta(
                tool_calls=(ToolCallDelta(index=0, id="call_1", name="f", arguments_json=""),)
            ),
        )
        yield (
            ChatDelta(choice_index=1, text="a", logprobs=probable),
            ChatDelta(tool_calls=(ToolCallDelta(index=0, arguments_json="{}"),)),
        )
        yield (
            ChatDelta(choice_index=1, refusal="No.", finish_reason="stop"),
            ChatDelta(finish_reason="tool_calls"),
        )
        yield completion(call)

    service.chats.stream_script = script
    answer = await raw.ask(chat(stream=True, n=2))
    choices = [chunk["choices"][0] for chunk in answer.chunks]
    first = [choice for choice in choices if choice["index"] == 0]
    second = [choice for choice in choices if choice["index"] == 1]
    assert [choice["delta"] for choice in first] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
            ],
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [choice["delta"] for choice in second] == [
        {"role": "assistant", "content": "", "reasoning_content": "hm"},
        {"content": "a"},
        {"refusal": "No."},
        {},
    ]
    assert second[1]["logprobs"]["content"][0]["token"] == "a"
    assert second[1]["logprobs"]["refusal"] is None
    assert [c["finish_reason"] for c in first] == [None, None, "tool_calls"]
    assert [c["finish_reason"] for c in second] == [None, None, None, "stop"]


@pytest.mark.parametrize("text", ["a\u2028b\u2029c\x85d", 'quo"te\\ \n\r\t\x00', "naïve 😀"])
async def test_any_text_arrives_whole_on_one_line(
    service: Service, raw: RawClient, text: str
) -> None:
    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (ChatDelta(text=text),)
        yield (ChatDelta(text=text, finish_reason="stop"),)
        yield completion(call)

    service.chats.stream_script = script
    answer = await raw.ask(chat(stream=True))
    assert len(answer.body.decode().splitlines()) == len(answer.body.splitlines())
    said = [c["choices"][0]["delta"].get("content", "") for c in answer.chunks]
    assert "".join(said) == text * 2


async def test_a_connection_serves_many_calls(service: Service, raw: RawClient) -> None:
    for stream in (False, True, False, True):
        assert (await raw.ask(chat(stream=stream))).status == 200
    assert service.endings.seen == [("rest", "/v1/chat/completions", "OK")] * 4
    assert all(meter.closed for meter in service.ledger.meters)


async def test_the_accumulator_of_the_sdk_puts_a_stream_together(
    service: Service, sdk: openai.AsyncOpenAI
) -> None:
    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        for name in ("f", "g"):
            index = ord(name) - ord("f")
            yield (
                ChatDelta(tool_calls=(ToolCallDelta(index=index, id=f"call_{name}", name=name),)),
            )
            for piece in ('{"a"', ": 1}"):
                delta = ToolCallDelta(index=index, arguments_json=piece)
                yield (ChatDelta(tool_calls=(delta,)),)
        yield (ChatDelta(finish_reason="tool_calls"),)
        yield completion(call)

    service.chats.stream_script = script
    async with sdk.chat.completions.stream(
        model="sim/fast", messages=[{"role": "user", "content": "Hi"}]
    ) as stream:
        found = await stream.get_final_completion()
    message = found.choices[0].message
    assert message.role == "assistant"
    assert found.choices[0].finish_reason == "tool_calls"
    assert [(c.id, c.type, c.function.name) for c in message.tool_calls or ()] == [
        ("call_f", "function", "f"),
        ("call_g", "function", "g"),
    ]
    assert [c.function.arguments for c in message.tool_calls or ()] == ['{"a": 1}'] * 2
