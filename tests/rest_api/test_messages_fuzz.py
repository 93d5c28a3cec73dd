"""Whatever bytes a body has, and however an answer is cut into deltas, what comes out is sound."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from messages_client import events_of, strictly

from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatStarted,
    Choice,
    ReasoningBlock,
    ToolCall,
    ToolCallDelta,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import AccountId
from omni_grpc.core.usage import Usage
from omni_grpc.rest_api.anthropic import (
    EventWriter,
    Signatures,
    encode_message,
    read_messages,
    without_marks,
)
from omni_grpc.rest_api.responses_wire import ReasoningSeal
from omni_grpc.storage import Sealer

SIGNATURES = Signatures(ReasoningSeal(Sealer(b"secret", b"reasoning"), AccountId(1)))
STARTED = ChatStarted(call_id="c", model="sim/fast", create_time=1, output_tokens_max=9)

MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
WHOLE: Any = {
    "model": "sim/fast",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "S", **MARK}],
    "messages": [
        {"role": "user", "content": [
            {"type": "image", "source": {"type": "url", "url": "https://x"}},
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
            {"type": "document", "source": {"type": "url", "url": "https://x"}},
            {"type": "document", "title": "T", "source": {
                "type": "content", "content": [{"type": "text", "text": "in"}]}},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "omni1.AAAA"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "w"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1, {}]}},
            {"type": "thinking", "thinking": "so", "signature": "sig"},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", **MARK, "is_error": True,
             "content": [{"type": "text", "text": "r"}]}]},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}, **MARK}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "metadata": {"user_id": "u"},
    "omni": {"optional": ["top_k"]},
}  # fmt: skip
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8),
    st.sampled_from(["", "text", "base64", "omni1.", "custom", [], {}, [{}], {"type": "text"}]),
)  # fmt: skip


def paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(node, dict | list):
        for step, child in node.items() if isinstance(node, dict) else enumerate(node):
            found += paths(child, (*path, step))
    return found


PATHS = paths(WHOLE)


def replaced(path: tuple[Any, ...], value: Any) -> bytes:
    whole = json.loads(json.dumps(WHOLE))
    node = whole
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return json.dumps(whole).encode()


def read(body: bytes) -> None:
    try:
        order = read_messages(body, SIGNATURES)
    except FieldInvalid as error:
        assert error.message
        return
    assert len(order.places) == len(order.request.messages) > 0
    without_marks(order.request)
    msgspec.json.encode(order.request)


@settings(max_examples=150)
@given(path=st.sampled_from(PATHS), value=ODD)
def test_a_body_with_one_odd_value_is_read_or_refused(path: tuple[Any, ...], value: Any) -> None:
    read(replaced(path, value))


@settings(max_examples=200)
@given(st.data())
def test_broken_bytes_are_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(json.dumps(WHOLE).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    read(bytes(whole))


# --- answers ----------------------------------------------------------------------------------
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
BLOCK = st.builds(
    ReasoningBlock,
    kind=st.sampled_from(["text", "summary", "encrypted"]),
    format=st.sampled_from(["anthropic", "gemini"]),
    text=TEXT,
    signature=st.none() | st.just("c2ln"),
    data=st.none() | st.just("ZGF0YQ"),
    text_before=st.integers(0, 9),
    calls_before=st.integers(0, 3),
)
FRAGMENT = st.builds(
    ToolCallDelta,
    index=st.integers(0, 2),
    id=st.none() | st.just("t"),
    name=st.none() | st.just("f"),
    arguments_json=TEXT,
)
DELTA = st.builds(
    ChatDelta,
    text=TEXT,
    refusal=TEXT,
    reasoning=TEXT,
    reasoning_blocks=st.lists(BLOCK, max_size=2).map(tuple),
    tool_calls=st.lists(FRAGMENT, max_size=2).map(tuple),
    finish_reason=st.none() | st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
)


def ended(*choices: Choice) -> ChatCompletion:
    return ChatCompletion(
        call_id="c", model="sim/fast", create_time=1, choices=choices, usage=Usage(prompt=3),
        attempts=(), cost_nanousd=1, balance_nanousd=None,
    )  # fmt: skip


def blocks_of(events: list[Any]) -> list[Any]:
    """The blocks that a client gathers, after a check that each is started and stopped once."""
    started: list[Any] = []
    stopped: list[int] = []
    for event in events[1:-2]:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(started) == len(stopped)
                started.append({**event["content_block"], "partial": ""})
            case "content_block_stop":
                assert event["index"] == len(stopped) == len(started) - 1
                stopped.append(event["index"])
            case "content_block_delta":
                block, delta = started[event["index"]], event["delta"]
                late = event["index"] in stopped
                assert not late or delta["type"] == "input_json_delta"
                kind = delta.pop("type")
                ((name, text),) = delta.items()
                name = {"partial_json": "partial"}.get(name, name)
                block[name] = text if kind == "signature_delta" else block[name] + text
    assert len(started) == len(stopped)
    return started


@settings(max_examples=150)
@given(st.lists(st.lists(DELTA, max_size=3).map(tuple), max_size=5))
def test_a_stream_is_sound_and_loses_nothing(pieces: list[tuple[ChatDelta, ...]]) -> None:
    writer = EventWriter(STARTED, signatures=SIGNATURES)
    sent = b"".join([*(writer.deltas(deltas) for deltas in pieces), writer.end(ended())])
    events = events_of(sent.decode().removesuffix("\n\n").split("\n\n"))
    assert events[0]["type"] == "message_start"
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    blocks = blocks_of(events)
    deltas = [delta for piece in pieces for delta in piece]
    said = "".join(delta.text + delta.refusal for delta in deltas)
    assert "".join(block.get("text", "") for block in blocks) == said
    thought = "".join(block.get("thinking", "") for block in blocks)
    assert len(thought) >= len("".join(delta.reasoning for delta in deltas))
    arguments = sorted(fragment.arguments_json for d in deltas for fragment in d.tool_calls)
    partial = "".join(block["partial"] for block in blocks)
    assert sorted(partial) == sorted("".join(arguments))


@settings(max_examples=200)
@given(
    answer=st.builds(
        Answer,
        text=st.none() | TEXT,
        refusal=st.none() | TEXT,
        reasoning=st.none() | TEXT,
        reasoning_blocks=st.lists(BLOCK, max_size=3).map(tuple),
        tool_calls=st.lists(
            st.builds(ToolCall, id=TEXT, name=TEXT, arguments_json=TEXT), max_size=2
        ).map(tuple),
    )
)
def test_a_plain_answer_is_sound(answer: Answer) -> None:
    body = encode_message(ended(Choice(index=0, answer=answer, finish_reason="stop")), SIGNATURES)
    strictly("message", json.loads(body))
