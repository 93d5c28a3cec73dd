"""What Anthropic's streams become: its documented forms, and broken ones."""

import json

import msgspec
import pytest
from anthropic_streams import (
    BASIC,
    STOP,
    WHOLE,
    WHOLE_USAGE,
    Streamed,
    block,
    end,
    event,
    fragments,
    start,
    text,
    tool,
    words,
)

from omni_grpc.core.chat import ReasoningBlock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed, StreamError
from omni_grpc.providers.anthropic.wire import TOOL_CALLS_MAX


# --- streamed -----------------------------------------------------------------------------------
def test_the_documented_stream():
    told = Streamed(BASIC)
    assert told.joined("text") == "Hello!"
    assert told.finishes == [("stop", None)]
    decoder = told.decoder
    assert decoder.done
    assert decoder.complete
    assert (decoder.id, decoder.model) == ("msg_013Zva2CMHLNnjNjJKqJ2EF", "claude-sonnet-4-5")
    assert decoder.service_tier == "priority"
    assert decoder.usage == msgspec.structs.replace(WHOLE_USAGE, completion=15, reasoning=None)


def test_a_stream_of_everything():
    told = Streamed(WHOLE)
    assert told.joined("reasoning") == "Let me sölve."
    assert told.blocks == [
        ReasoningBlock(kind="text", format="anthropic", text="Let me sölve.", signature="EqQB"),
        ReasoningBlock(kind="encrypted", format="anthropic", data="EmwK"),
    ]
    assert told.joined("text") == "Calling 世界."
    assert told.calls() == [
        ["toolu_1", "f", "{}"],
        ["toolu_2", "g", '{"location": "Zürich"}'],
    ]
    assert told.finishes == [("tool_calls", None)]
    assert told.decoder.usage.completion == 89


def test_thinking_that_is_not_shown_is_kept_by_its_proof():
    hidden = block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "signature_delta", "signature": "EqQB"},
    )
    told = Streamed(start() + hidden)
    assert told.blocks == [
        ReasoningBlock(kind="text", format="anthropic", text="", signature="EqQB")
    ]


def test_the_reserved_tool_streams_as_text():
    begin = tool("omni_json_answer")
    told = Streamed(start() + block(0, begin, *fragments('{"a"', ":1}")) + end("tool_use") + STOP)
    assert (told.joined("text"), told.calls(), told.finishes) == ('{"a":1}', [], [("stop", None)])
    empty = Streamed(start() + block(0, begin) + end("tool_use") + STOP)
    assert empty.joined("text") == "{}"


def test_a_tool_whose_input_came_at_once_is_told():
    told = Streamed(start() + block(0, tool(given={"a": 1})) + end("tool_use") + STOP)
    assert told.calls() == [["toolu_1", "f", '{"a": 1}']]


def test_the_last_counts_stay_and_are_never_added():
    counts = {
        "input_tokens": 7,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 0,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    half = event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 4})
    last = event("message_delta", delta={"stop_reason": "end_turn"}, usage=counts)
    decoder = Streamed(start() + half + last + STOP).decoder
    assert decoder.usage == Usage(
        prompt=10,
        cached_read=3,
        cached_write=0,
        cached_write_1h=0,
        completion=9,
        reasoning=2,
    )


def test_the_placeholder_of_the_beginning_is_no_count_of_the_output():
    decoder = Streamed(start() + block(0, text(""), *words("Hello"))).decoder
    assert decoder.usage.prompt == 60
    assert decoder.usage.completion is None
    assert not decoder.complete


def test_counts_with_more_of_the_answer_after_them_are_no_count_of_it():
    half = event("message_delta", delta={}, usage={"output_tokens": 4})
    opened = event("content_block_start", index=0, content_block=text(""))
    more = event("content_block_delta", index=0, delta=words("x")[0])
    assert Streamed(start() + opened + half).decoder.usage.completion == 4
    assert Streamed(start() + opened + half + more).decoder.usage.completion is None


@pytest.mark.parametrize(
    ("tail", "complete", "done"),
    [
        (end() + STOP, True, True),
        (end(), True, False),
        (end(output=None), False, False),
        (end(output=None) + STOP, True, True),
        (STOP, False, True),
        (b"", False, False),
    ],
)
def test_when_a_stream_is_whole(tail, complete, done):
    decoder = Streamed(start() + block(0, text(""), *words("x")) + tail).decoder
    assert (decoder.complete, decoder.done) == (complete, done)


def test_the_sequence_that_ended_a_stream_is_told():
    told = Streamed(start() + end("stop_sequence", sequence="END") + STOP)
    assert told.finishes == [("stop", "END")]


def test_a_finish_is_told_once():
    assert Streamed(start() + end() + end() + STOP).finishes == [("stop", None)]


def test_a_refusal_in_a_stream_is_told_with_its_reason():
    details = {"type": "refusal", "category": None, "explanation": "Not this."}
    told = Streamed(start() + end("refusal", stop_details=details) + STOP)
    assert told.joined("refusal") == "Not this."
    assert told.finishes == [("content_filter", None)]


def test_what_is_unknown_is_let_pass():
    told = Streamed(
        start()
        + event("something_new", delta=7, index="x", message=[])
        + block(0, {"type": "server_tool_use", "id": "s", "name": "x"}, *fragments('{"q":1}'))
        + block(1, {"type": "web_search_tool_result", "content": [{"text": 1}]})
        + block(2, {"type": "new", "text": [7]}, {"type": "new_delta", "text": [7]}, *words("no"))
        + block(3, text("a"), {"type": "citations_delta", "citation": {}}, *words("b"))
        + end()
        + STOP
    )
    assert told.decoder.fault is None
    assert (told.joined("text"), told.calls()) == ("ab", [])
    assert told.decoder.complete


def test_text_of_a_block_that_nobody_began_is_not_lost():
    told = Streamed(start() + event("content_block_delta", index=4, delta=words("x")[0]))
    assert told.joined("text") == "x"


def test_a_block_that_was_not_ended_ends_with_the_next():
    begin = event("content_block_start", index=0, content_block=tool())
    told = Streamed(start() + begin + block(1, text(""), *words("x")) + end("tool_use") + STOP)
    assert told.calls() == [["toolu_1", "f", "{}"]]


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
    ],
)
def test_an_error_in_a_stream_is_a_fault_after_what_came(error):
    data = f"event: error\ndata: {json.dumps(error)}\n\n".encode()
    told = Streamed(start() + block(0, text(""), *words("He")) + data + STOP)
    assert told.joined("text") == "He"
    assert isinstance(told.decoder.fault, StreamError)
    assert told.decoder.fault.code == "overloaded_error"
    assert told.decoder.usage.prompt == 60
    assert not told.decoder.done


@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":7}}\n\n',
        b'data: {"type":"content_block_start","content_block":{"type":"text","text":7}}\n\n',
        b'data: {"type":"content_block_start","content_block":7}\n\n',
        b'data: {"type":"message_start","message":7}\n\n',
        b'data: {"type":"message_delta","delta":{"stop_reason":7}}\n\n',
        b'data: {"type":"content_block_delta","del\n\n',
        b"data: 7\n\n",
        b"data: [DONE]\n\n",
    ],
)
def test_a_known_event_that_is_broken_is_a_fault_after_what_came(broken):
    told = Streamed(start() + block(0, text(""), *words("He")) + broken + STOP)
    assert told.joined("text") == "He"
    assert isinstance(told.decoder.fault, Malformed)


def test_arguments_that_are_no_text_are_a_fault():
    begin = (
        b'{"type":"content_block_start","content_block":{"type":"tool_use","input":{"a":"\xff"}}}'
    )
    told = Streamed(b"data: " + begin + b"\n\n" + event("content_block_stop"))
    assert isinstance(told.decoder.fault, Malformed)


def test_too_many_tool_calls_are_a_fault():
    told = Streamed(start() + b"".join(block(i, tool()) for i in range(TOOL_CALLS_MAX + 1)))
    assert isinstance(told.decoder.fault, Malformed)
    assert len(told.calls()) == TOOL_CALLS_MAX
