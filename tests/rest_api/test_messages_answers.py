"""Answers as Anthropic's clients read them: bodies, events, headers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from messages_client import COUNT, HELLO, ask, body, events_of, shape, strictly
from raw_client import RawClient
from rest_rig import KEY, Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    Choice,
    ReasoningBlock,
    ToolCall,
    ToolCallDelta,
)
from omni_grpc.core.errors import ModelNotFound
from omni_grpc.core.usage import Usage

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

USED = Usage(
    prompt=100, cached_read=30, cached_write=20, cached_write_1h=5, completion=40, reasoning=8
)
SIGNED = ReasoningBlock(kind="text", format="anthropic", text="hmm", signature="c2ln")
HIDDEN = ReasoningBlock(kind="encrypted", format="anthropic", data="cmVk")


@pytest.fixture
async def sdk(service: Service) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=service.origin, api_key=KEY, max_retries=0, timeout=30
    ) as client:
        yield client


def answers(service: Service, answer: Answer, **changed: Any) -> None:
    """Makes plain calls answer so; `finish` and `stopped` are the choice's."""
    choice = {"finish_reason": changed.pop("finish", "stop")}
    choice["stop_sequence"] = changed.pop("stopped", None)

    async def script(call: Call, request: ChatRequest) -> ChatCompletion:
        found = completion(call, **changed)
        choices = (Choice(index=0, answer=answer, **choice),)
        return ChatCompletion(
            **{name: getattr(found, name) for name in found.__struct_fields__}
            | {"choices": choices}
        )

    service.chats.complete_script = script


def streams(service: Service, *events: tuple[ChatDelta, ...], **changed: Any) -> None:
    """Makes streams send these deltas."""

    async def script(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        for deltas in events:
            yield deltas
        yield completion(call, **changed)

    service.chats.stream_script = script


# --- plain ------------------------------------------------------------------------------------
async def test_a_plain_answer_has_anthropics_shape_and_the_cost(
    service: Service, raw: RawClient
) -> None:
    answers(service, Answer(text="Hello"), usage=USED, service_tier="default")
    answer = await ask(raw)
    assert answer.status == 200
    strictly("message", answer.json)
    assert answer.json == {
        "id": answer.headers["x-request-id"],
        "type": "message",
        "role": "assistant",
        "model": "sim/fast",
        "content": [{"type": "text", "text": "Hello", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 50,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 30,
            "output_tokens": 40,
            "output_tokens_details": {"thinking_tokens": 8},
            "cache_creation": {
                "ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5,
            },
            "server_tool_use": None,
            "service_tier": "standard",
        },
    }  # fmt: skip
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-omni-model"] == "sim/fast"
    assert answer.headers["x-omni-provider"] == "sim"
    assert answer.headers["x-omni-cost-usd"] == "0.001234567"
    assert answer.headers["x-omni-balance-usd"] == "4.998765434"


async def test_content_stands_in_anthropics_order(service: Service, raw: RawClient) -> None:
    called = (
        ToolCall(id="t1", name="f", arguments_json='{"b": 1.0, "a": 12345678901234567890}'),
        ToolCall(id="t2", name="g", arguments_json=""),
        ToolCall(id="t3", name="h", arguments_json='{"cut'),
        ToolCall(id="t4", name="i", arguments_json="[1]"),
    )
    said = Answer(
        text="I call.", reasoning="hmm", reasoning_blocks=(SIGNED, HIDDEN), tool_calls=called
    )
    answers(service, said, finish="stop")
    answer = await ask(raw)
    strictly("message", answer.json)
    assert answer.json["stop_reason"] == "tool_use"
    assert answer.json["content"] == [
        {"type": "thinking", "thinking": "hmm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "cmVk"},
        {"type": "text", "text": "I call.", "citations": None},
        {"type": "tool_use", "id": "t1", "name": "f",
         "input": {"b": 1.0, "a": 12345678901234567890}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
        {"type": "tool_use", "id": "t3", "name": "h", "input": {"invalid_json": '{"cut'}},
        {"type": "tool_use", "id": "t4", "name": "i", "input": {"invalid_json": "[1]"}},
    ]  # fmt: skip
    assert b'{"b": 1.0, "a": 12345678901234567890}' in answer.body


@pytest.mark.parametrize(
    ("finish", "stopped", "answer", "reason"),
    [
        ("stop", None, Answer(text="x"), "end_turn"),
        ("stop", "END", Answer(text="x"), "stop_sequence"),
        ("length", None, Answer(text="x"), "max_tokens"),
        ("tool_calls", None, Answer(), "tool_use"),
        ("content_filter", None, Answer(text="x"), "refusal"),
        ("stop", None, Answer(refusal="No."), "refusal"),
    ],
)
async def test_why_it_stopped_is_told_alike_plain_and_streamed(
    service: Service, raw: RawClient, finish: Any, stopped: str | None, answer: Answer, reason: str
) -> None:
    answers(service, answer, finish=finish, stopped=stopped)
    delta = ChatDelta(
        text=answer.text or "", refusal=answer.refusal or "", finish_reason=finish,
        stop_sequence=stopped,
    )  # fmt: skip
    streams(service, (delta,))
    plain = strictly("message", (await ask(raw)).json)
    *_, last, _ = events_of((await ask(raw, body(stream=True))).events)
    assert plain.stop_reason == last["delta"]["stop_reason"] == reason
    assert plain.stop_sequence == last["delta"]["stop_sequence"] == stopped
    assert [block.text for block in plain.content] == [
        text for text in (answer.text, answer.refusal) if text
    ]


async def test_reasoning_without_proof_is_shown_unsigned(service: Service, raw: RawClient) -> None:
    answers(service, Answer(text="x", reasoning="hm"))
    content = (await ask(raw)).json["content"]
    assert content[0] == {"type": "thinking", "thinking": "hm", "signature": ""}
    answers(service, Answer(text="x", reasoning="hm", reasoning_blocks=(HIDDEN,)))
    content = (await ask(raw)).json["content"]
    assert [block["type"] for block in content] == ["thinking", "redacted_thinking", "text"]


async def test_an_answer_without_content_has_none(service: Service, raw: RawClient) -> None:
    answers(service, Answer())
    streams(service)
    assert strictly("message", (await ask(raw)).json).content == []
    events = events_of((await ask(raw, body(stream=True))).events)
    assert shape(events) == ["message_start", "message_delta", "message_stop"]


# --- streamed ---------------------------------------------------------------------------------
async def test_a_stream_begins_and_ends_as_anthropics(service: Service, raw: RawClient) -> None:
    streams(
        service, (ChatDelta(text="Hel"),), (ChatDelta(text="lo", finish_reason="stop"),), usage=USED
    )
    answer = await ask(raw, body(stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    events = events_of(answer.events)
    assert events[0]["message"] == {
        "id": answer.headers["x-request-id"],
        "type": "message",
        "role": "assistant",
        "model": "sim/fast",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        },
    }
    assert events[-2]["usage"] == {
        "input_tokens": 50,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 30,
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 8},
    }
    assert shape(events) == [
        "message_start", "0 text", "0 text_delta Hel", "0 text_delta lo", "0 stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    comment = answer.events[-2]
    assert json.loads(comment.removeprefix(": omni ")) == {
        "call_id": answer.headers["x-request-id"],
        "model": "sim/fast",
        "cost_nanousd": 1_234_567,
        "cost_usd": "0.001234567",
        "balance_nanousd": 4_998_765_434,
        "balance_usd": "4.998765434",
    }


def call(index: int, arguments: str, name: str | None = None) -> ChatDelta:
    call_id = None if name is None else f"t{index}"
    fragment = ToolCallDelta(index=index, id=call_id, name=name, arguments_json=arguments)
    return ChatDelta(tool_calls=(fragment,))


async def test_each_kind_of_content_opens_a_block_of_its_own(
    service: Service, raw: RawClient
) -> None:
    streams(
        service,
        (ChatDelta(reasoning="h"), ChatDelta(reasoning="mm")),
        (ChatDelta(reasoning_blocks=(SIGNED, HIDDEN)),),
        (ChatDelta(text="I"),),
        (call(0, "", "f"), call(0, '{"a":')),
        (call(0, "1}"), call(1, "{}", "g")),
        (ChatDelta(text="done"), ChatDelta(choice_index=1, text="not shown")),
        (ChatDelta(finish_reason="tool_calls"),),
    )
    events = events_of((await ask(raw, body(stream=True))).events)
    assert shape(events) == [
        "message_start",
        "0 thinking", "0 thinking_delta h", "0 thinking_delta mm", "0 signature_delta c2ln",
        "0 stop",
        "1 redacted_thinking", "cmVk", "1 stop",
        "2 text", "2 text_delta I", "2 stop",
        "3 tool_use", '3 input_json_delta {"a":', "3 input_json_delta 1}", "3 stop",
        "4 tool_use", "4 input_json_delta {}", "4 stop",
        "5 text", "5 text_delta done", "5 stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    starts = [e["content_block"] for e in events if e["type"] == "content_block_start"]
    assert starts[3] == {"type": "tool_use", "id": "t0", "name": "f", "input": {}}


async def test_mixed_fragments_of_calls_reach_their_own_blocks(
    service: Service, sdk: anthropic.AsyncAnthropic
) -> None:
    streams(
        service,
        (call(0, '{"a":', "f"), call(1, '{"b":', "g"), call(0, "1}"), call(1, "2}")),
        (ChatDelta(finish_reason="tool_calls"),),
    )
    async with sdk.messages.stream(model="sim/fast", max_tokens=9, messages=HELLO) as stream:
        found: Any = await stream.get_final_message()
    assert [(block.name, block.input) for block in found.content] == [
        ("f", {"a": 1}), ("g", {"b": 2}),
    ]  # fmt: skip


def block(text: str, number: int = 1) -> ReasoningBlock:
    return ReasoningBlock(kind="text", format="anthropic", text=text, signature=f"sig{number}")


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        # Several blocks of one read: each takes its own text.
        (
            (ChatDelta(
                reasoning="onetwothree", text="x",
                reasoning_blocks=(block("one"), HIDDEN, block("two", 2)),
            ),),
            ["0 thinking", "0 thinking_delta one", "0 signature_delta sig1", "0 stop",
             "1 redacted_thinking", "cmVk", "1 stop",
             "2 thinking", "2 thinking_delta two", "2 signature_delta sig2", "2 stop",
             "3 thinking", "3 thinking_delta three", "3 stop",
             "4 text", "4 text_delta x", "4 stop"],
        ),
        # What only the provider can read follows what was shown.
        (
            (ChatDelta(reasoning="hm"), ChatDelta(reasoning=".", reasoning_blocks=(HIDDEN,))),
            ["0 thinking", "0 thinking_delta hm", "0 thinking_delta .", "0 stop",
             "1 redacted_thinking", "cmVk", "1 stop"],
        ),
        # A block of which nothing is shown, and one of which nothing was shown before.
        (
            (ChatDelta(reasoning_blocks=(block(""), block("new", 2))),),
            ["0 thinking", "0 signature_delta sig1", "0 stop",
             "1 thinking", "1 thinking_delta new", "1 signature_delta sig2", "1 stop"],
        ),
    ],
)  # fmt: skip
async def test_reasoning_is_signed_where_it_is_shown(
    service: Service, raw: RawClient, deltas: tuple[ChatDelta, ...], expected: list[str]
) -> None:
    streams(service, *((delta,) for delta in deltas))
    events = events_of((await ask(raw, body(stream=True))).events)
    assert shape(events)[1:-2] == expected


async def test_proof_that_comes_late_is_carried_unread(service: Service, raw: RawClient) -> None:
    sealed = ReasoningBlock(kind="summary", format="responses", text="hm", data="x", id="rs")
    streams(
        service,
        (ChatDelta(reasoning="hm"),),
        (ChatDelta(text="Hi"),),
        (ChatDelta(reasoning_blocks=(sealed,)), ChatDelta(finish_reason="stop")),
    )
    events = events_of((await ask(raw, body(stream=True))).events)
    blocks = [e["content_block"] for e in events if e["type"] == "content_block_start"]
    assert [found["type"] for found in blocks] == ["thinking", "text", "redacted_thinking"]
    turns = [*HELLO, {"role": "assistant", "content": [blocks[2]]}, *HELLO]
    await ask(raw, body(messages=turns))
    assert service.chats.requests[-1].messages[1].reasoning_blocks == (sealed,)


async def test_a_streamed_thought_goes_back_as_it_came(
    service: Service, sdk: anthropic.AsyncAnthropic
) -> None:
    sealed = ReasoningBlock(kind="text", format="bedrock", text="hmm", signature="s", id="b")
    streams(
        service,
        (ChatDelta(reasoning="hmm"),),
        (ChatDelta(reasoning_blocks=(sealed, SIGNED, HIDDEN), text="Hi", finish_reason="stop"),),
    )
    asked: Any = {"model": "sim/fast", "max_tokens": 9}
    async with sdk.messages.stream(messages=HELLO, **asked) as stream:
        found = await stream.get_final_message()
    turns: Any = [*HELLO, found.to_param(), *HELLO]
    await sdk.messages.create(messages=turns, **asked)
    carried = service.chats.requests[-1].messages[1]
    assert set(carried.reasoning_blocks) == {sealed, SIGNED, HIDDEN}
    assert carried.content == "Hi"


async def test_no_event_is_split_by_what_it_says(
    service: Service, sdk: anthropic.AsyncAnthropic
) -> None:
    text = "a\u2028b\u2029c\x85d\r\ne\n\nf \U0001f642"
    streams(
        service,
        (ChatDelta(reasoning=text, text=text),),
        (call(0, json.dumps({"a": text}, ensure_ascii=False), "f"),),
    )
    async with sdk.messages.stream(model="sim/fast", max_tokens=9, messages=HELLO) as stream:
        found: Any = await stream.get_final_message()
    thought, said, used = found.content
    assert (thought.thinking, said.text, used.input) == (text, text, {"a": text})


# --- counting ---------------------------------------------------------------------------------
async def test_prompts_are_counted_without_a_call(
    service: Service, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ChatRequest] = []

    async def count_prompt(_call: Call, request: ChatRequest) -> int:
        seen.append(request)
        if request.model != "sim/fast":
            raise ModelNotFound("There is no such model.", field="model")
        return 17

    monkeypatch.setattr(service.chats, "count_prompt", count_prompt, raising=False)
    marked = {"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}
    answer = await ask(raw, body(max_tokens=None, system=[marked]), path=COUNT)
    assert (answer.status, answer.json) == (200, {"input_tokens": 17})
    strictly("count", answer.json)
    assert answer.headers["request-id"]
    assert [message.content for message in seen[0].messages] == ["S", "Hello"]
    missing = await ask(raw, body("sim/nothing"), path=COUNT)
    assert (missing.status, missing.json["error"]["type"]) == (404, "not_found_error")
    wrong = await ask(raw, body(messages=[]), path=COUNT)
    assert (wrong.status, wrong.json["error"]["type"]) == (400, "invalid_request_error")
    closed = await ask(raw, path=COUNT, key=None)
    assert (closed.status, closed.json["error"]["type"]) == (401, "authentication_error")
    assert service.ledger.meters == []
