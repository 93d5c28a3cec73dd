"""What `/v1/responses` answers, plain and streamed, as the official SDK's strict types read it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from raw_client import RawClient
from responses_client import PATH, ask, events_of, response_of, types_of
from rest_rig import Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    Choice,
    FinishReason,
    Logprobs,
    ReasoningBlock,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
)
from omni_grpc.core.errors import CreditsHeld, Interrupted, ProviderRejected
from omni_grpc.core.usage import Usage, UsageSource

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

BLOCKS = (
    ReasoningBlock(kind="text", format="anthropic", text="hm", signature="c2ln"),
    ReasoningBlock(kind="encrypted", format="anthropic", data="ZGF0YQ=="),
)
TOKENS = (
    TokenLogprob(
        token="ä", logprob=-0.5, top_logprobs=(TopLogprob(token="b", logprob=-1.5, bytes=(98,)),)
    ),
)
CALLS = (
    ToolCall(id="call_a", name="f", arguments_json='{"a": 1.0}'),
    ToolCall(id="call_b", name="g", arguments_json="{}"),
)


def answering(
    service: Service, answer: Answer, finish: FinishReason = "stop", **changed: Any
) -> None:
    async def script(call: Call, request: ChatRequest) -> ChatCompletion:
        logprobs = changed.pop("logprobs", None)
        choice = Choice(index=0, answer=answer, finish_reason=finish, logprobs=logprobs)
        return completion(call, choices=(choice,), **changed)

    service.chats.complete_script = script


def streaming(service: Service, *reads: tuple[ChatDelta, ...], **changed: Any) -> None:
    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        for deltas in reads:
            yield deltas
        yield completion(call, **changed)

    service.chats.stream_script = script


async def test_a_plain_answer_is_a_whole_response_with_its_cost(raw: RawClient) -> None:
    answer = await raw.ask(ask(), path=PATH)
    body = response_of(answer)
    name = answer.headers["x-request-id"].replace("-", "")
    assert body["id"] == f"resp_{name}"
    assert body["object"] == "response"
    assert body["status"] == "completed"
    assert body["completed_at"] >= body["created_at"]
    assert body["model"] == "sim/fast"
    assert body["error"] is None
    assert body["incomplete_details"] is None
    assert body["output"] == [
        {
            "id": f"msg_{name}00",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Hello, world", "annotations": [], "logprobs": []}
            ],
        }
    ]
    assert body["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 13,
        "cost": 0.001234567,
        "cost_nanousd": 1_234_567,
    }
    assert body["store"] is False
    assert answer.headers["x-omni-cost-usd"] == "0.001234567"
    assert answer.headers["x-omni-model"] == "sim/fast"


async def test_an_answer_repeats_what_was_asked(raw: RawClient) -> None:
    schema = {"type": "object", "properties": {"a": {"const": 1.0}}}
    tool = {"type": "function", "name": "f", "parameters": schema, "strict": True}
    asked: dict[str, Any] = {
        "instructions": "Be kind.",
        "tools": [tool, {**tool, "name": "g", "description": "d"}],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "text": {
            "format": {
                "type": "json_schema",
                "name": "n",
                "description": "d",
                "schema": schema,
                "strict": True,
            },
            "verbosity": "low",
        },
        "reasoning": {"effort": "high", "summary": "auto"},
        "max_output_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.25,
        "metadata": {"k": "v"},
        "user": "u",
        "prompt_cache_key": "p",
        "safety_identifier": "s",
    }
    body = response_of(await raw.ask(ask(**asked), path=PATH))
    assert {name: body[name] for name in asked} == asked
    plain = response_of(await raw.ask(ask(), path=PATH))
    assert plain["tool_choice"] == "auto"
    assert plain["parallel_tool_calls"] is True
    assert plain["text"] == {"format": {"type": "text"}}
    assert plain["metadata"] == {}
    assert plain["instructions"] is None
    assert "user" not in plain


async def test_a_plain_answer_carries_all_that_a_model_can_say(
    service: Service, raw: RawClient
) -> None:
    answering(
        service,
        Answer(text="ä", refusal="No.", reasoning="hm", reasoning_blocks=BLOCKS, tool_calls=CALLS),
        "tool_calls",
        logprobs=Logprobs(content=TOKENS),
        usage=Usage(prompt=5, cached_read=2, cached_write=1, source=UsageSource.ESTIMATE),
        service_tier="default",
        balance_nanousd=None,
    )
    body = response_of(await raw.ask(ask(), path=PATH))
    thought, message, first, second = body["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert thought["encrypted_content"].startswith("omni1.")
    text, refusal = message["content"]
    assert text["logprobs"] == [
        {
            "token": "ä",
            "logprob": -0.5,
            "bytes": [195, 164],
            "top_logprobs": [{"token": "b", "logprob": -1.5, "bytes": [98]}],
        }
    ]
    assert refusal == {"type": "refusal", "refusal": "No."}
    assert [first["call_id"], first["name"], first["arguments"]] == ["call_a", "f", '{"a": 1.0}']
    assert second["call_id"] == "call_b"
    assert len({item["id"] for item in body["output"]}) == 4
    assert body["usage"]["input_tokens_details"] == {"cached_tokens": 2, "cache_write_tokens": 1}
    assert body["usage"]["estimated"] is True
    assert body["service_tier"] == "default"


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cut_answer_is_incomplete_and_says_why(
    service: Service, raw: RawClient, finish: FinishReason, reason: str, streamed: bool
) -> None:
    answering(service, Answer(text="Hel"), finish)
    streaming(service, (ChatDelta(text="Hel", finish_reason=finish),))
    answer = await raw.ask(ask(stream=streamed), path=PATH)
    if streamed:
        last = events_of(answer)[-1]
        assert last["type"] == "response.incomplete"
        body = last["response"]
    else:
        body = response_of(answer)
    assert body["status"] == "incomplete"
    assert body["incomplete_details"] == {"reason": reason}
    assert body["output"][0]["status"] == "incomplete"
    assert "completed_at" not in body


async def test_citations_come_in_this_apis_form(service: Service, raw: RawClient) -> None:
    cited = {"url": "https://a.example", "title": "A", "start_index": 1, "end_index": 2}
    told = json.dumps([{"type": "url_citation", "url_citation": cited}, {"type": "other"}])
    answering(service, Answer(text="a", annotations=msgspec.Raw(told.encode())))
    (message,) = response_of(await raw.ask(ask(), path=PATH))["output"]
    assert message["content"][0]["annotations"] == [{"type": "url_citation", **cited}]


async def test_a_stream_announces_fills_and_ends_each_item(raw: RawClient) -> None:
    answer = await raw.ask(ask(stream=True), path=PATH)
    events = events_of(answer)
    assert types_of(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in events[4:6]] == ["Hello", ", world"]
    whole = events[-1]["response"]
    assert whole["output"][0]["content"][0]["text"] == "Hello, world"
    assert whole["output"] == [events[-2]["item"]]
    assert whole["usage"]["cost_nanousd"] == 1_234_567
    assert events[0]["response"]["status"] == "in_progress"
    assert "usage" not in events[0]["response"]
    assert {event["response"]["id"] for event in (*events[:2], events[-1])} == {
        f"resp_{answer.headers['x-request-id'].replace('-', '')}"
    }
    assert "data: [DONE]" not in answer.events
    comment = next(block for block in answer.events if block.startswith(": omni "))
    assert json.loads(comment.removeprefix(": omni "))["cost_nanousd"] == 1_234_567


async def test_a_stream_carries_all_that_a_model_can_say(service: Service, raw: RawClient) -> None:
    streaming(
        service,
        (ChatDelta(reasoning="h"), ChatDelta(reasoning="m", reasoning_blocks=BLOCKS[:1])),
        (ChatDelta(reasoning_blocks=BLOCKS[1:], text="ä", logprobs=Logprobs(content=TOKENS)),),
        (ChatDelta(choice_index=1, text="another choice"), ChatDelta(refusal="No.")),
        (
            ChatDelta(
                tool_calls=(
                    ToolCallDelta(index=0, id="call_a", name="f"),
                    ToolCallDelta(index=1, id="call_b", name="g", arguments_json="{"),
                )
            ),
            ChatDelta(tool_calls=(ToolCallDelta(index=0, arguments_json='{"a": 1.0}'),)),
        ),
        (ChatDelta(tool_calls=(ToolCallDelta(index=1, arguments_json="}"),)),),
        (ChatDelta(finish_reason="tool_calls"),),
    )
    events = events_of(await raw.ask(ask(stream=True), path=PATH))
    assert types_of(events)[2:] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    done = [event for event in events if event["type"] == "response.output_item.done"]
    output = events[-1]["response"]["output"]
    assert output == [event["item"] for event in sorted(done, key=lambda e: e["output_index"])]
    assert [item["type"] for item in output] == ["reasoning", "message"] + 2 * ["function_call"]

    answering(
        service,
        Answer(text="ä", refusal="No.", reasoning="hm", reasoning_blocks=BLOCKS, tool_calls=CALLS),
        "tool_calls",
        logprobs=Logprobs(content=TOKENS),
    )
    plain = response_of(await raw.ask(ask(), path=PATH))["output"]
    for item in (*output, *plain):
        item.pop("id")
        item.pop("encrypted_content", None)
    assert [item["type"] for item in plain] == [item["type"] for item in output]
    assert plain[0] == output[0]
    assert plain[1] == output[1]
    assert [call["arguments"] for call in output[2:]] == ['{"a": 1.0}', "{}"]


async def test_what_seals_thoughts_waits_for_the_end_of_a_message(
    service: Service, raw: RawClient
) -> None:
    streaming(
        service,
        (ChatDelta(text="a"),),
        (ChatDelta(reasoning_blocks=BLOCKS),),
        (ChatDelta(text="b"), ChatDelta(finish_reason="stop")),
    )
    events = events_of(await raw.ask(ask(stream=True), path=PATH))
    assert types_of(events)[2:] == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "output_item.done",
        "completed",
    ]
    message, thought = events[-1]["response"]["output"]
    assert message["content"][0]["text"] == "ab"
    assert thought["summary"] == []
    assert thought["encrypted_content"]


async def test_thoughts_between_texts_and_calls_keep_their_places(
    service: Service, raw: RawClient
) -> None:
    calls = tuple(
        ToolCallDelta(index=index, id=f"call_{index}", name="f", arguments_json="{}")
        for index in range(2)
    )
    streaming(
        service,
        (ChatDelta(text="a"), ChatDelta(reasoning="h"), ChatDelta(text="b")),
        (ChatDelta(reasoning_blocks=BLOCKS), ChatDelta(tool_calls=calls[:1])),
        (ChatDelta(text="c"), ChatDelta(reasoning_blocks=BLOCKS), ChatDelta(tool_calls=calls[1:])),
        (ChatDelta(finish_reason="tool_calls"),),
    )
    output = events_of(await raw.ask(ask(stream=True), path=PATH))[-1]["response"]["output"]
    assert [item["type"] for item in output] == [
        "message", "reasoning", "message", "reasoning", "function_call", "message", "reasoning",
        "function_call",
    ]  # fmt: skip
    results = [
        {"type": "function_call_output", "call_id": f"call_{index}", "output": ""}
        for index in range(2)
    ]
    response_of(await raw.ask(ask([*output, *results]), path=PATH))
    first, second, *tools = service.chats.requests[-1].messages
    assert (first.content, first.reasoning_blocks) == ("a", ())
    assert [part.text for part in second.content] == ["b", "c"]
    assert second.reasoning_blocks == BLOCKS + BLOCKS
    assert [call.id for call in second.tool_calls] == ["call_0", "call_1"]
    assert [message.role for message in tools] == ["tool", "tool"]


@pytest.mark.parametrize("reads", [(), ((ChatDelta(finish_reason="stop"),),)])
async def test_an_empty_answer_is_a_whole_response_without_items(
    service: Service, raw: RawClient, reads: Any
) -> None:
    streaming(service, *reads)
    events = events_of(await raw.ask(ask(stream=True), path=PATH))
    assert types_of(events) == ["created", "in_progress", "completed"]
    assert events[-1]["response"]["output"] == []


async def test_no_character_of_an_answer_breaks_an_event(service: Service, raw: RawClient) -> None:
    text = 'line\nbreaks: \r\n \x85 \u2028 \u2029 "quoted" \U0001f600'
    schema = '{\n  "type": "object",\n  "title": "a\u2028b"\n}'
    streaming(service, (ChatDelta(text=text, reasoning=text, finish_reason="stop"),))
    tools = '"tools": [{"type": "function", "name": "f", "parameters": ' + schema + "}]"
    body = '{"model": "sim/fast", "input": "Hi", "stream": true, ' + tools + "}"
    answer = await raw.ask(body.encode(), path=PATH)
    assert all(len(block.splitlines()) <= 2 for block in answer.events)
    whole = events_of(answer)[-1]["response"]
    assert whole["output"][1]["content"][0]["text"] == text
    assert whole["tools"][0]["parameters"] == json.loads(schema)


# --- failures ---------------------------------------------------------------------------------
async def test_what_fails_before_the_stream_has_a_status_of_its_own(
    service: Service, raw: RawClient
) -> None:
    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        raise CreditsHeld("Calls in flight hold the credits.", retry_after_s=1.0)
        yield started(call)

    service.chats.stream_script = script
    answer = await raw.ask(ask(stream=True), path=PATH)
    assert answer.status == 429
    assert answer.error["code"] == "credits_held"
    assert answer.headers["retry-after"] == "1"


async def test_a_stream_that_breaks_says_so_twice_and_what_it_cost(
    service: Service, raw: RawClient
) -> None:
    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (ChatDelta(reasoning="hm"), ChatDelta(text="Hel"))
        error = Interrupted("The provider broke off.")
        error.charged_nanousd = 77
        raise error

    service.chats.stream_script = script
    answer = await raw.ask(ask(stream=True), path=PATH)
    *_, error, failed = events_of(answer)
    assert error["type"] == "error"
    assert error["code"] == "interrupted"
    assert error["message"] == "The provider broke off."
    assert error["param"] is None
    assert error["omni"] == {"reason": "INTERRUPTED", "charged_nanousd": "77"}
    assert error["request_id"] == answer.headers["x-request-id"]
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {
        "code": "server_error",
        "message": "The provider broke off.",
    }
    assert [item["type"] for item in failed["response"]["output"]] == ["reasoning"]
    assert failed["response"]["store"] is False


async def test_errors_name_fields_as_this_api_does(service: Service, raw: RawClient) -> None:
    async def script(call: Call, request: ChatRequest) -> ChatCompletion:
        raise ProviderRejected("messages[1].content[0]: no such image.", field=fields.pop(0))

    fields = ["messages[1].content[0]", "response_format", "messages[7]"]
    service.chats.complete_script = script
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
    ]
    asked = ask(items, instructions="Be kind.")
    error = (await raw.ask(asked, path=PATH)).error
    assert error["param"] == "input[0].content[0]"
    assert error["message"] == "input[0].content[0]: no such image."
    assert (await raw.ask(asked, path=PATH)).error["param"] == "text.format"
    assert (await raw.ask(asked, path=PATH)).error["param"] == "messages[7]"


# --- presence ---------------------------------------------------------------------------------
async def test_a_thinking_model_is_pinged_for() -> None:
    async with Service(ping_seconds=0.02) as service:

        async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
            yield started(call)
            yield (ChatDelta(text="a"),)
            await go_on.wait()
            yield completion(call)

        go_on = asyncio.Event()
        service.chats.stream_script = script
        raw = await RawClient.connect(service)
        await raw.send(ask(stream=True), path=PATH)
        await raw.head()
        async with asyncio.timeout(20):
            while b": ping\n\n" not in await raw.chunk():
                pass
        go_on.set()
        raw.leave()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_leaves_cancels_the_call_at_once(
    service: Service, raw: RawClient, streamed: bool
) -> None:
    async def plain(call: Call, request: ChatRequest) -> ChatCompletion:
        await service.chats.forever()
        raise AssertionError

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (ChatDelta(text="a"),)
        await service.chats.forever()

    service.chats.complete_script = plain
    service.chats.stream_script = stream
    await raw.send(ask(stream=streamed), path=PATH)
    async with asyncio.timeout(20):
        await service.chats.reached.wait()
        raw.leave(rudely=True)
        await service.chats.cancelled.wait()
    assert await service.endings.next() == ["CANCELLED"]
    assert service.ledger.meters[-1].closed
