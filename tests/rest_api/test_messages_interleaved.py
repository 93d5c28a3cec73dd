"""Thinking between words and calls, as Anthropic's clients get it and send it back."""

from collections.abc import AsyncIterator
from itertools import accumulate
from typing import Any

import anthropic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages_client import HELLO, ask, body, events_of, shape
from raw_client import RawClient
from rest_rig import KEY, Service, completion

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.completion.gathering import deltas_of
from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    ChatStarted,
    Choice,
    ReasoningBlock,
    ToolCall,
    ToolCallDelta,
)
from omni_grpc.rest_api.anthropic.pieces import in_order

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

BLOCKS = (
    ReasoningBlock(kind="text", format="anthropic", text="one", signature="czE"),
    ReasoningBlock(
        kind="text", format="anthropic", text="two", signature="czI", text_before=2, calls_before=1
    ),
    ReasoningBlock(
        kind="encrypted", format="anthropic", data="cmVk", text_before=2, calls_before=1
    ),
)
CALLS = (
    ToolCall(id="c1", name="f", arguments_json="{}"),
    ToolCall(id="c2", name="g", arguments_json='{"a":1}'),
)
ANSWER = Answer(text="Abc", reasoning="onetwo", reasoning_blocks=BLOCKS, tool_calls=CALLS)
ORDER = ["thinking", "text", "tool_use", "thinking", "redacted_thinking", "text", "tool_use"]


@pytest.fixture
async def sdk(service: Service) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=service.origin, api_key=KEY, max_retries=0, timeout=30
    ) as client:
        yield client


CHOICE = Choice(index=0, answer=ANSWER, finish_reason="tool_calls")
AS_KEPT = tuple(deltas_of([CHOICE]))
"""The whole answer in one delta, as a repeat of a kept one is told."""

AS_MADE = (
    ChatDelta(reasoning="one", reasoning_blocks=BLOCKS[:1], text="Ab"),
    ChatDelta(tool_calls=(ToolCallDelta(index=0, id="c1", name="f", arguments_json="{}"),)),
    ChatDelta(reasoning="tw"),
    ChatDelta(reasoning="o", reasoning_blocks=BLOCKS[1:], text="c"),
    ChatDelta(
        tool_calls=(ToolCallDelta(index=1, id="c2", name="g", arguments_json='{"a":1}'),),
        finish_reason="tool_calls",
    ),
)


@pytest.mark.parametrize("deltas", [None, AS_KEPT, AS_MADE])
async def test_the_order_survives_the_client(
    service: Service, sdk: anthropic.AsyncAnthropic, deltas: tuple[ChatDelta, ...] | None
) -> None:
    async def complete(call: Call, request: ChatRequest) -> ChatCompletion:
        found = completion(call)
        return ChatCompletion(
            **{name: getattr(found, name) for name in found.__struct_fields__}
            | {"choices": (CHOICE,)}
        )

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield ChatStarted(call_id=call.name, model="sim/fast", create_time=1, output_tokens_max=9)
        for delta in deltas or ():
            yield (delta,)
        yield completion(call)

    service.chats.complete_script, service.chats.stream_script = complete, stream
    asked: Any = {"model": "sim/fast", "max_tokens": 9}
    if deltas is None:
        message: Any = await sdk.messages.create(messages=HELLO, **asked)
    else:
        async with sdk.messages.stream(messages=HELLO, **asked) as streaming:
            message = await streaming.get_final_message()
    assert [one.type for one in message.content] == ORDER
    texts = [one.text for one in message.content if one.type == "text"]
    assert texts == ["Ab", "c"]
    results: Any = [
        {"type": "tool_result", "tool_use_id": call.id, "content": "r"} for call in CALLS
    ]
    await sdk.messages.create(
        messages=[*HELLO, message.to_param(), {"role": "user", "content": results}], **asked
    )
    turn = service.chats.requests[-1].messages[1]
    assert turn.reasoning_blocks == BLOCKS
    assert turn.tool_calls == CALLS
    assert [part.text for part in turn.content] == ["Ab", "c"]


async def test_a_block_of_others_keeps_the_place_that_is_sealed_with_it(
    service: Service, raw: RawClient
) -> None:
    late = ReasoningBlock(
        kind="text", format="bedrock", text="hm", signature="s", text_before=1, calls_before=0
    )

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield ChatStarted(call_id=call.name, model="sim/fast", create_time=1, output_tokens_max=9)
        yield (ChatDelta(text="a"),)
        yield (ChatDelta(reasoning="hm"),)
        yield (ChatDelta(text="b"),)
        yield (ChatDelta(reasoning_blocks=(late,), finish_reason="stop"),)
        yield completion(call)

    service.chats.stream_script = stream
    events = events_of((await ask(raw, body(stream=True))).events)
    assert [one for one in shape(events) if one[2:] in ("text", "thinking", "redacted_thinking")]
    blocks = [e["content_block"] for e in events if e["type"] == "content_block_start"]
    assert [one["type"] for one in blocks] == ["text", "thinking", "text", "redacted_thinking"]
    turn = {
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, blocks[3]],
    }
    await ask(raw, body(messages=[*HELLO, turn, *HELLO]))
    assert service.chats.requests[-1].messages[1].reasoning_blocks == (late,)


PLACED = st.builds(
    ReasoningBlock,
    kind=st.just("text"),
    format=st.just("anthropic"),
    text=st.sampled_from(["", "x", "yz"]),
    signature=st.just("s"),
    text_before=st.integers(0, 9),
    calls_before=st.integers(0, 4),
)


@settings(max_examples=200)
@given(
    st.lists(PLACED, max_size=4).map(tuple),
    st.text("abc", max_size=6),
    st.text("xyz", max_size=6),
    st.lists(st.integers(0, 3), max_size=4),
    st.integers(0, 3),
    st.integers(0, 3),
)
async def test_pieces_of_a_delta_are_all_of_it(
    blocks: tuple[ReasoningBlock, ...],
    text: str,
    thought: str,
    indexes: list[int],
    chars: int,
    calls: int,
) -> None:
    fragments = tuple(
        ToolCallDelta(index=one, arguments_json=str(n)) for n, one in enumerate(indexes)
    )
    delta = ChatDelta(
        reasoning=thought, text=text, tool_calls=fragments, reasoning_blocks=blocks,
        refusal="no", finish_reason="stop",
    )  # fmt: skip
    pieces = list(in_order(delta, chars, calls))
    assert "".join(one.text for one in pieces) == text
    assert "".join(one.reasoning for one in pieces) == thought
    assert sorted(map(id, (b for one in pieces for b in one.reasoning_blocks))) == sorted(
        map(id, blocks)
    )
    found = [fragment for one in pieces for fragment in one.tool_calls]
    assert sorted(found, key=id) == sorted(fragments, key=id)
    for index in set(indexes):  # of one call in their order
        assert [f for f in found if f.index == index] == [f for f in fragments if f.index == index]
    assert [one.finish_reason for one in pieces if one.finish_reason] == ["stop"]
    assert [*accumulate(one.refusal for one in pieces)][-1] == "no"
