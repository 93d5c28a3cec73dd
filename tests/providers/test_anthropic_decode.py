"""What Anthropic's answers become, whole and streamed: its documented forms, and broken ones."""

import contextlib
import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_grpc.core.chat import ChatDelta, ReasoningBlock, ToolCall
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed, Overloaded, ProviderFault, StreamError
from omni_grpc.providers.anthropic.decode import decode_message
from omni_grpc.providers.anthropic.stream import MessageStreamDecoder
from omni_grpc.providers.anthropic.wire import TOOL_CALLS_MAX
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.sse import SseParser

FAULTS = Faults("p", (), SystemClock())
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 12},
    "service_tier": "priority",
    "server_tool_use": None,
}
WHOLE_USAGE = Usage(
    prompt=60,
    cached_read=30,
    cached_write=20,
    cached_write_1h=5,
    completion=40,
    reasoning=12,
)


def message(*content, **more):
    return {
        "id": "msg_013Zva2CMHLNnjNjJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        **more,
    }


def plain(*content, **more):
    return decode_message(json.dumps(message(*content, **more)).encode(), FAULTS)


def choice(*content, **more):
    return plain(*content, **more).choices[0]


def text(words, **more):
    return {"type": "text", "text": words, **more}


def thinking(words, signature="sig"):
    return {"type": "thinking", "thinking": words, "signature": signature}


def tool(name="f", given=None, call="toolu_1"):
    return {"type": "tool_use", "id": call, "name": name, "input": given or {}}


# --- whole --------------------------------------------------------------------------------------
def test_a_text_answer():
    found = plain(text("Hi! "), text("My name is Claude.", citations=[{"type": "x"}]))
    assert found.id == "msg_013Zva2CMHLNnjNjJKqJ2EF"
    assert found.model == "claude-sonnet-4-5"
    assert found.service_tier == "priority"
    assert found.usage == WHOLE_USAGE
    (only,) = found.choices
    assert only.answer.text == "Hi! My name is Claude."
    assert only.finish_reason == "stop"
    assert only.stop_sequence is None


def test_thinking_is_told_and_kept_whole_for_the_next_turn():
    redacted = {"type": "redacted_thinking", "data": "EmwK"}
    found = choice(thinking("Let me see."), redacted, thinking("", "omitted"), text("27."))
    assert found.answer.reasoning == "Let me see."
    assert found.answer.reasoning_blocks == (
        ReasoningBlock(kind="text", format="anthropic", text="Let me see.", signature="sig"),
        ReasoningBlock(kind="encrypted", format="anthropic", data="EmwK"),
        ReasoningBlock(kind="text", format="anthropic", text="", signature="omitted"),
    )
    assert choice({"type": "thinking", "thinking": "x"}).answer.reasoning_blocks == ()


def test_tool_calls_keep_their_arguments_as_written():
    body = json.dumps(message(text("Calling."), tool(), tool("g", {"a": 1}, "toolu_2")))
    body = body.replace('{"a": 1}', '{"a":  1.0,"b":"\\u00e9"}')
    found = decode_message(body.replace('"end_turn"', '"tool_use"').encode(), FAULTS).choices[0]
    assert found.finish_reason == "tool_calls"
    assert found.answer.text == "Calling."
    assert found.answer.tool_calls == (
        ToolCall(id="toolu_1", name="f", arguments_json="{}"),
        ToolCall(id="toolu_2", name="g", arguments_json='{"a":  1.0,"b":"\\u00e9"}'),
    )


def test_the_reserved_tool_is_the_answers_text():
    found = choice(tool("omni_json_answer", {"a": 1}), stop_reason="tool_use")
    assert (found.answer.text, found.answer.tool_calls) == ('{"a": 1}', ())
    assert found.finish_reason == "stop"
    both = choice(tool("omni_json_answer"), tool("f"), stop_reason="tool_use")
    assert both.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_stop_reasons(reason, finish):
    assert choice(text("x"), stop_reason=reason).finish_reason == finish


def test_the_sequence_that_ended_it_is_told():
    found = choice(text("x"), stop_reason="stop_sequence", stop_sequence="END")
    assert found.stop_sequence == "END"


def test_a_refusal_is_told_with_its_reason():
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    found = choice(stop_reason="refusal", stop_details=details)
    assert (found.finish_reason, found.answer.refusal) == ("content_filter", "Not this.")
    assert found.answer.text is None
    details["explanation"] = None
    assert choice(stop_reason="refusal", stop_details=details).answer.refusal is None


def test_blocks_of_unknown_types_are_let_pass():
    found = choice(
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"q": 1}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "new", "text": {"not": "text"}, "name": 7},
        text("So."),
    )
    assert (found.answer.text, found.answer.tool_calls) == ("So.", ())


def test_an_answer_without_blocks_is_one():
    found = choice()
    assert (found.answer.text, found.finish_reason) == (None, "stop")


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"input_tokens": True, "output_tokens": -1}, None),
        ({"input_tokens": 5, "output_tokens": 0}, Usage(prompt=5, completion=0)),
        ({"output_tokens": 3}, Usage(completion=3)),
        ({"output_tokens": 3, "cache_read_input_tokens": 4}, Usage(completion=3)),
        ({"input_tokens": 10**12, "output_tokens": 2.0}, Usage(completion=2)),
        (
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 2,
                "cache_creation": {"ephemeral_1h_input_tokens": 9},
                "cache_read_input_tokens": None,
                "output_tokens": 3,
                "output_tokens_details": {"thinking_tokens": 9},
            },
            Usage(prompt=3, cached_write=2, cached_write_1h=2, completion=3, reasoning=3),
        ),
        (
            {"input_tokens": 1, "output_tokens": 1, "cache_creation": 7, "service_tier": {}},
            Usage(prompt=1, completion=1),
        ),
    ],
)
def test_usage(usage, found):
    assert plain(text("x"), usage=usage).usage == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"id":"x"}',
        b'{"content":{}}',
        b'{"content":[7]}',
        b'{"content":[{"type":"text","text":7}]}',
        b'{"content":[{"type":"tool_use","input":{"a":"\xff"}}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_is_malformed(body):
    with pytest.raises(Malformed):
        decode_message(body, FAULTS)


def test_an_error_in_spite_of_its_status_is_a_fault():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(Overloaded) as caught:
        decode_message(json.dumps(error).encode(), FAULTS)
    assert caught.value.code == "overloaded_error"


# --- streamed -----------------------------------------------------------------------------------
class Streamed:
    """A stream that was fed piece by piece, put together."""

    def __init__(self, *pieces: bytes) -> None:
        parser, self.decoder = SseParser(), MessageStreamDecoder(FAULTS)
        self.deltas: list[ChatDelta] = []
        for piece in pieces:
            if not self.decoder.done and self.decoder.fault is None:
                self.deltas += self.decoder.feed(parser.feed(piece))

    def joined(self, field: str) -> str:
        return "".join(getattr(delta, field) for delta in self.deltas)

    @property
    def blocks(self) -> list[ReasoningBlock]:
        return [block for delta in self.deltas for block in delta.reasoning_blocks]

    @property
    def finishes(self) -> list[tuple]:
        ends = [delta for delta in self.deltas if delta.finish_reason]
        return [(delta.finish_reason, delta.stop_sequence) for delta in ends]

    def calls(self) -> list[list]:
        calls: dict[int, list] = {}
        for piece in (one for delta in self.deltas for one in delta.tool_calls):
            call = calls.setdefault(piece.index, [None, None, ""])
            for place, value in ((0, piece.id), (1, piece.name)):
                if value is not None:
                    assert call[place] is None, "told twice"
                    call[place] = value
            call[2] += piece.arguments_json
        return [calls[index] for index in sorted(calls)]

    def summary(self) -> tuple:
        names = ("text", "reasoning", "refusal")
        decoder = self.decoder
        facts = (decoder.id, decoder.model, decoder.usage, decoder.done, decoder.complete)
        texts = [self.joined(name) for name in names]
        return (texts, self.calls(), self.blocks, self.finishes, facts, bool(decoder.fault))


def event(kind, **fields):
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def start(usage=None, **more):
    first = {**USAGE, "output_tokens": 1, "output_tokens_details": None}
    return event("message_start", message=message(**{"usage": usage or first, **more}))


def block(index, begin, *deltas):
    return b"".join(
        (
            event("content_block_start", index=index, content_block=begin),
            *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
            event("content_block_stop", index=index),
        )
    )


def words(*pieces):
    return [{"type": "text_delta", "text": piece} for piece in pieces]


def fragments(*pieces):
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def end(reason="end_turn", output=15, sequence=None, **more):
    usage = {} if output is None else {"usage": {"output_tokens": output}}
    delta = {"stop_reason": reason, "stop_sequence": sequence, **more}
    return event("message_delta", delta=delta, **usage)


PING, STOP = event("ping"), event("message_stop")
BASIC = start() + PING + block(0, text(""), *words("Hello", "!")) + end() + STOP
THOUGHT = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "Let me "},
    {"type": "thinking_delta", "thinking": "sölve."},
    {"type": "signature_delta", "signature": "EqQB"},
)
REDACTED = block(1, {"type": "redacted_thinking", "data": "EmwK"})
TOOLS = block(2, tool(), *fragments("")) + block(
    3, tool("g", call="toolu_2"), *fragments("", '{"loc', 'ation": "Zürich"}')
)
WHOLE = (
    start()
    + PING
    + THOUGHT
    + REDACTED
    + block(4, text(""), *words("Calling ", "世界."))
    + TOOLS
    + end("tool_use", 89)
    + STOP
)


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


# --- however it comes ---------------------------------------------------------------------------
def test_a_stream_reads_the_same_byte_by_byte():
    pieces = Streamed(*(WHOLE[at : at + 1] for at in range(len(WHOLE))))
    assert pieces.summary() == Streamed(WHOLE).summary()


@settings(deadline=None)
@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_a_stream_reads_the_same_at_random_cuts(cuts):
    bounds = [0, *sorted(cuts), len(WHOLE)]
    pieces = (WHOLE[low:high] for low, high in pairwise(bounds))
    assert Streamed(*pieces).summary() == Streamed(WHOLE).summary()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=8),
    st.integers(1, 400),
)
def test_a_mutated_stream_ends_in_deltas_or_a_fault(mutations, size):
    stream = bytearray(WHOLE)
    for at, byte in mutations:
        stream[at] = byte
    told = Streamed(*(bytes(stream[at : at + size]) for at in range(0, len(stream), size)))
    assert told.decoder.fault is None or isinstance(told.decoder.fault, ProviderFault)
    assert isinstance(told.decoder.usage, Usage | None)


PLAIN = json.dumps(
    message(thinking("Hm."), text("x"), tool(given={"a": [1]}), stop_reason="tool_use")
).encode()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 255)), max_size=8))
def test_a_mutated_answer_is_an_answer_or_a_fault(mutations):
    body = bytearray(PLAIN)
    for at, byte in mutations:
        body[at] = byte
    with contextlib.suppress(ProviderFault):
        assert decode_message(bytes(body), FAULTS).choices


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "index",
        "delta",
        "message",
        "content",
        "content_block",
        "text",
        "thinking",
        "signature",
        "data",
        "id",
        "name",
        "input",
        "partial_json",
        "stop_reason",
        "stop_sequence",
        "stop_details",
        "explanation",
        "usage",
        "input_tokens",
        "output_tokens",
        "cache_creation",
        "error",
    ]
)
KINDS = st.sampled_from(
    [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
        "ping",
        "text",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "text_delta",
        "thinking_delta",
        "signature_delta",
        "input_json_delta",
        "other",
    ]
)
SHAPED = st.recursive(
    JSON,
    lambda inner: st.builds(
        lambda kind, fields: {"type": kind, **fields},
        KINDS,
        st.dictionaries(FIELDS, inner | st.lists(inner, max_size=2), max_size=5),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(SHAPED, max_size=8))
def test_any_json_is_deltas_or_a_fault(values):
    told = Streamed(*(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values))
    assert told.decoder.fault is None or isinstance(told.decoder.fault, ProviderFault)
    assert isinstance(told.decoder.usage, Usage | None)
    for value in values:
        with contextlib.suppress(ProviderFault):
            decode_message(json.dumps(value).encode(), FAULTS)
            decode_message(json.dumps({"content": [value]}).encode(), FAULTS)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_deltas_or_a_fault(values):
    told = Streamed(*(b"data: " + value + b"\n\n" for value in values))
    assert told.decoder.fault is None or isinstance(told.decoder.fault, ProviderFault)
    for value in values:
        with contextlib.suppress(ProviderFault):
            decode_message(value, FAULTS)
