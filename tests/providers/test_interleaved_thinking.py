"""Thinking between an answer's words and calls: read, told in its order, and sent back there."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_calls import make_call, make_spec
from pydantic import SecretStr

from omni_grpc.core.chat import (
    Answer,
    ChatDelta,
    Message,
    ReasoningBlock,
    TextPart,
    Tool,
    ToolCall,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.providers import Providers, ProviderSettings, Rejected
from omni_grpc.providers.anthropic.decode import decode_message
from omni_grpc.providers.anthropic.stream import MessageStreamDecoder
from omni_grpc.providers.bedrock.decode import ConverseStreamDecoder, decode_answer
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.registry import DIALECTS
from omni_grpc.simulator import Simulator
from omni_grpc.simulator.dialects.anthropic_answer import INTERLEAVING_TRIGGER

FAULTS = Faults("p", (), SystemClock())
ASKED = Message(role="user", content="Hi")
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
Name = Literal["anthropic", "bedrock"]
Block = tuple[str, str]
ROW: tuple[Block, ...] = (
    ("thinking", "one"), ("text", "Ab"), ("call", "c1"), ("thinking", "two"), ("hidden", "cmVk"),
    ("text", "c"), ("call", "c2"), ("call", "c3"), ("thinking", "three"), ("text", "d"),
)  # fmt: skip
"""An answer, block by block; it ends with words, since no turn may end with thinking."""


# --- the two formats ------------------------------------------------------------------------------
def anthropic_block(kind: str, value: str) -> dict[str, Any]:
    match kind:
        case "thinking":
            return {"type": "thinking", "thinking": value, "signature": f"s-{value}"}
        case "hidden":
            return {"type": "redacted_thinking", "data": value}
        case "text":
            return {"type": "text", "text": value}
        case _:
            return {"type": "tool_use", "id": value, "name": "f", "input": {}}


def anthropic_events(row: Sequence[Block]) -> list[bytes]:
    events: list[dict[str, Any]] = []
    for index, (kind, value) in enumerate(row):
        whole = anthropic_block(kind, value)
        deltas: list[dict[str, Any]] = []
        begun = whole
        if kind == "thinking":
            begun = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": one} for one in value]
            deltas.append({"type": "signature_delta", "signature": whole["signature"]})
        elif kind == "text":
            begun = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": one} for one in value]
        elif kind == "call":
            deltas = [{"type": "input_json_delta", "partial_json": "{}"}]
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": index})
    return [json.dumps(event).encode() for event in events]


def bedrock_block(kind: str, value: str) -> dict[str, Any]:
    match kind:
        case "thinking":
            said = {"text": value, "signature": f"s-{value}"}
            return {"reasoningContent": {"reasoningText": said}}
        case "hidden":
            return {"reasoningContent": {"redactedContent": value}}
        case "text":
            return {"text": value}
        case _:
            return {"toolUse": {"toolUseId": value, "name": "f", "input": {}}}


def bedrock_events(row: Sequence[Block]) -> list[bytes]:
    events: list[dict[str, Any]] = []
    for index, (kind, value) in enumerate(row):
        at = {"contentBlockIndex": index}
        deltas: list[dict[str, Any]] = []
        match kind:
            case "thinking":
                deltas = [{"reasoningContent": {"text": one}} for one in value]
                deltas.append({"reasoningContent": {"signature": f"s-{value}"}})
            case "hidden":
                deltas = [{"reasoningContent": {"redactedContent": value}}]
            case "text":
                deltas = [{"text": one} for one in value]
            case _:
                use = {"toolUse": {"toolUseId": value, "name": "f"}}
                events.append({"contentBlockStart": {**at, "start": use}})
                deltas = [{"toolUse": {"input": "{}"}}]
        events += [{"contentBlockDelta": {**at, "delta": delta}} for delta in deltas]
        events.append({"contentBlockStop": at})
    return [json.dumps(event).encode() for event in events]


def decoded(dialect: Name, row: Sequence[Block]) -> Answer:
    if dialect == "anthropic":
        content = [anthropic_block(*one) for one in row]
        body = {"content": content, "stop_reason": "end_turn", "usage": {"output_tokens": 1}}
        return decode_message(json.dumps(body).encode(), FAULTS).choices[0].answer
    message = {"role": "assistant", "content": [bedrock_block(*one) for one in row]}
    body = {"output": {"message": message}, "stopReason": "end_turn"}
    return decode_answer(json.dumps(body).encode(), FAULTS).choices[0].answer


def sent(dialect: Name, answer: Answer) -> list[Block]:
    """The answer as it goes back in the next turn, block by block."""
    turn = Message(
        role="assistant",
        content=answer.text,
        tool_calls=answer.tool_calls,
        reasoning_blocks=answer.reasoning_blocks,
    )
    results = [
        Message(role="tool", tool_call_id=call.id, content="r") for call in answer.tool_calls
    ]
    call = make_call(model=CLAUDE, messages=(ASKED, turn, *results), tools=(Tool(name="f"),))
    body = json.loads(DIALECTS[dialect]().encode(call, make_spec(), stream=False).body)
    turns = [turn["content"] for turn in body["messages"] if turn["role"] == "assistant"]
    return [read(block) for block in (turns[0] if turns else ())]


def read(block: Any) -> Block:
    """A block of either format, its proof checked."""
    match block:
        case {"type": "text", "text": text} | {"text": text}:
            return "text", text
        case {"type": "tool_use", "id": name} | {"toolUse": {"toolUseId": name}}:
            return "call", name
        case {"type": "redacted_thinking", "data": data}:
            return "hidden", data
        case {"reasoningContent": {"redactedContent": data}}:
            return "hidden", data
        case {"type": "thinking", "thinking": text, "signature": proof}:
            assert proof == f"s-{text}"
            return "thinking", text
        case {"reasoningContent": {"reasoningText": {"text": text, "signature": proof}}}:
            assert proof == f"s-{text}"
            return "thinking", text
    raise AssertionError(block)


def streamed(dialect: Name, reads: Iterable[Sequence[bytes]]) -> list[ChatDelta]:
    decoder: Any = MessageStreamDecoder(FAULTS)
    if dialect == "bedrock":
        decoder = ConverseStreamDecoder(FAULTS)
    deltas = [delta for events in reads for delta in decoder.feed([*events])]
    assert decoder.fault is None
    return deltas


def told(deltas: Iterable[ChatDelta]) -> list[Block]:
    """What a reader sees, in the order in which a delta is read: thinking, words, calls."""
    row: list[Block] = []
    for delta in deltas:
        pieces = [("thinking", delta.reasoning), ("text", delta.text)]
        pieces += [("call", one.id) for one in delta.tool_calls if one.id]
        for kind, value in pieces:
            if value and row and row[-1][0] == kind != "call":
                row[-1] = (kind, row[-1][1] + value)
            elif value:
                row.append((kind, value))
    return row


def without_hidden(row: Iterable[Block]) -> list[Block]:
    return [one for one in row if one[0] != "hidden"]


def joined(row: Sequence[Block]) -> list[Block]:
    """The row as the domain can tell it: texts that nothing parts are one, and stand before the
    calls that no thinking parts them from."""
    found: list[Block] = []
    group: list[Block] = []
    for one in (*row, ("thinking", "")):
        if one[0] in ("text", "call"):
            group.append(one)
            continue
        text = "".join(value for kind, value in group if kind == "text")
        found += [("text", text)] if text else []
        found += [part for part in group if part[0] == "call"]
        group = []
        found.append(one)
    return found[:-1]


DIALECTS_HERE = pytest.mark.parametrize("dialect", ["anthropic", "bedrock"])
ROWS = st.lists(
    st.sampled_from(["thinking", "hidden", "text", "call"]), min_size=1, max_size=8
).map(
    lambda kinds: [
        (kind, {"thinking": f"t{n}", "hidden": "cmVk", "text": "xy", "call": f"c{n}"}[kind])
        for n, kind in enumerate(kinds)
    ]
)


# --- there and back -------------------------------------------------------------------------------
@DIALECTS_HERE
def test_an_answer_goes_back_in_the_order_in_which_it_came(dialect: Name) -> None:
    answer = decoded(dialect, ROW)
    assert (answer.text, len(answer.tool_calls)) == ("Abcd", 3)
    places = [(one.text_before, one.calls_before) for one in answer.reasoning_blocks]
    assert places == [(0, 0), (2, 1), (2, 1), (3, 3)]
    assert sent(dialect, answer) == [*ROW]


@settings(max_examples=150)
@given(st.sampled_from(["anthropic", "bedrock"]), ROWS)
def test_any_row_of_blocks_goes_back_as_far_as_a_turn_may_end_so(
    dialect: Name, row: list[Block]
) -> None:
    wanted = joined(row)
    while wanted and wanted[-1][0] in ("thinking", "hidden"):
        wanted.pop()
    assert sent(dialect, decoded(dialect, row)) == wanted


@settings(max_examples=100)
@given(st.sampled_from(["anthropic", "bedrock"]), ROWS, st.data())
def test_a_stream_tells_its_order_whatever_comes_together(
    dialect: Name, row: list[Block], data: st.DataObject
) -> None:
    events = anthropic_events(row) if dialect == "anthropic" else bedrock_events(row)
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=6).map(sorted))
    ends = [0, *cuts, len(events)]
    reads = [events[start:end] for start, end in pairwise(ends)]
    whole = decoded(dialect, row)
    deltas = streamed(dialect, reads)
    assert tuple(b for d in deltas for b in d.reasoning_blocks) == whole.reasoning_blocks
    one_by_one = streamed(dialect, [[event] for event in events])
    assert told(deltas) == told(one_by_one)
    merged: list[Block] = []
    for kind, value in without_hidden(row):
        if merged and merged[-1][0] == kind != "call":
            merged[-1] = (kind, merged[-1][1] + value)
        else:
            merged.append((kind, value))
    assert told(one_by_one) == merged


@DIALECTS_HERE
def test_thinking_of_others_and_without_proof_leaves_no_gap(dialect: Name) -> None:
    blocks = (
        ReasoningBlock(kind="text", format="gemini", text="x", signature="s", text_before=1),
        ReasoningBlock(kind="text", format=dialect, text="y", text_before=1),
    )
    assert sent(dialect, Answer(text="abc", reasoning_blocks=blocks[:1])) == [("text", "abc")]
    found = sent(dialect, Answer(text="abc", reasoning_blocks=blocks))
    assert "".join(value for kind, value in found if kind == "text") == "abc"


def test_a_blank_text_between_two_thoughts_is_left_out() -> None:
    row = [("thinking", "a"), ("text", "\n"), ("thinking", "b"), ("text", "x")]
    assert sent("anthropic", decoded("anthropic", row)) == [row[0], row[2], row[3]]


@DIALECTS_HERE
def test_a_turn_that_only_thought_is_left_out(dialect: Name) -> None:
    thought = ReasoningBlock(kind="text", format=dialect, text="x", signature="s")
    turn = Message(role="assistant", reasoning_blocks=(thought,))
    call = make_call(messages=(ASKED, turn, Message(role="user", content="And?")))
    body = json.loads(DIALECTS[dialect]().encode(call, make_spec(), stream=False).body)
    (asked,) = body["messages"]
    assert [block["text"] for block in asked["content"]] == ["Hi", "And?"]


# --- against the simulator ------------------------------------------------------------------------
TOOLS = tuple(
    Tool(name=name, parameters_json='{"type": "object", "properties": {}}') for name in ("f", "g")
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", ["Call f and call g.", "Say something."])
async def test_a_provider_that_checks_the_order_takes_it(said: str, stream: bool) -> None:
    spec = msgspec.structs.replace(
        make_spec(auth="header", auth_header="x-api-key"), dialect="anthropic"
    )
    asked = Message(role="user", content=f"[sim reasoning=16] {INTERLEAVING_TRIGGER} {said}")
    more: Any = {"model": "fast", "output_tokens_max": 4096, "reasoning_budget": 2048}
    if "all" in said:
        more["tools"] = TOOLS
    async with Simulator() as simulator:
        settings = {"p": ProviderSettings(base_url=simulator.origin, api_key=SecretStr("k"))}
        providers = Providers(settings, specs=(spec,))
        await providers.open()
        provider = providers.get("p")
        call = make_call(messages=(asked,), **more)
        if stream:
            source = await provider.open_stream(call, lambda: None)
            deltas = [delta async for some in source for delta in some]
            answer = gathered(deltas)
        else:
            answer = (await provider.complete(call, lambda: None)).choices[0].answer
        places = [(one.text_before, one.calls_before) for one in answer.reasoning_blocks]
        assert places[0] == (0, 0) < places[1]
        turn = Message(
            role="assistant",
            content=answer.text,
            tool_calls=answer.tool_calls,
            reasoning_blocks=answer.reasoning_blocks,
        )
        results = tuple(
            Message(role="tool", tool_call_id=one.id, content="Fine.") for one in answer.tool_calls
        )
        after = results or (Message(role="user", content=(TextPart(text="And?"),)),)
        found = await provider.complete(
            make_call(messages=(asked, turn, *after), **more), lambda: None
        )
        assert found.choices[0].answer.text
        moved = msgspec.structs.replace(
            turn,
            reasoning_blocks=tuple(
                msgspec.structs.replace(one, text_before=0, calls_before=0)
                for one in turn.reasoning_blocks
            ),
        )
        with pytest.raises(Rejected, match="cannot be modified"):
            await provider.complete(
                make_call(messages=(asked, moved, *after), **more), lambda: None
            )
        await providers.close()


def gathered(deltas: Sequence[ChatDelta]) -> Answer:
    calls: dict[int, ToolCall] = {}
    for piece in (one for delta in deltas for one in delta.tool_calls):
        before = calls.get(piece.index) or ToolCall(
            id=piece.id or "", name=piece.name or "", arguments_json=""
        )
        arguments = before.arguments_json + piece.arguments_json
        calls[piece.index] = msgspec.structs.replace(before, arguments_json=arguments)
    return Answer(
        text="".join(delta.text for delta in deltas) or None,
        reasoning_blocks=tuple(block for delta in deltas for block in delta.reasoning_blocks),
        tool_calls=tuple(calls.values()),
    )
