"""Cohere's answers and streams as it documents them, in the domain's words."""

import contextlib
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_grpc.core.chat import ChatDelta, Logprobs, ReasoningBlock, TokenLogprob, ToolCall
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed, ProviderFault, Rejected, StreamError
from omni_grpc.providers.cohere.decode import decode_chat
from omni_grpc.providers.cohere.stream import ChatStreamDecoder
from omni_grpc.providers.cohere.wire import usage_of
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.sse import SseParser

FAULTS = Faults("p", (), SystemClock())
USAGE = {
    "billed_units": {"input_tokens": 17.0, "output_tokens": 12},
    "tokens": {"input_tokens": 215, "output_tokens": 14},
    "cached_tokens": 8,
}
COUNTED = Usage(prompt=17, cached_read=8, completion=12)
CALL = {
    "id": "f_1",
    "type": "function",
    "function": {"name": "f", "arguments": '{"a":1}'},
}


def answer(*content: dict, finish: str | None = "COMPLETE", **more) -> dict:
    message = {"role": "assistant", "content": list(content), **more.pop("message", {})}
    return {
        "id": "c14c80c3-18eb-4519-9460-6c92edd8cfb4",
        "finish_reason": finish,
        "message": message,
        "usage": USAGE,
        **more,
    }


def plain(*content: dict, **more):
    return decode_chat(json.dumps(answer(*content, **more)).encode(), FAULTS)


def event(kind: str, message: dict | None = None, **fields) -> bytes:
    body = {"type": kind, **fields}
    if message is not None:
        body["delta"] = {"message": message}
    return f"event: {kind}\ndata: {json.dumps(body)}\n\n".encode()


def start(kind: str, index: int = 0) -> bytes:
    return event("content-start", {"content": {"type": kind, kind: ""}}, index=index)


def delta(text: str, kind: str = "text", **more) -> bytes:
    return event("content-delta", {"content": {kind: text}}, index=0, **more)


def stop(index: int = 0) -> bytes:
    return event("content-end", index=index)


def plan(text: str) -> bytes:
    return event("tool-plan-delta", {"tool_plan": text})


def call(index: int, **fields) -> bytes:
    kind = "tool-call-start" if "id" in fields else "tool-call-delta"
    return event(kind, {"tool_calls": fields}, index=index)


def end(finish: str | None = "COMPLETE", **more) -> bytes:
    ended = {"finish_reason": finish, "usage": USAGE, **more}
    return event("message-end", delta=ended, id="x")


EMPTY = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
BEGIN = event("message-start", EMPTY, id="29f14a5a-11de-4cae-9800-25e4747408ea")
STORY = (
    BEGIN,
    start("thinking"),
    delta("H", "thinking"),
    delta("m.", "thinking"),
    stop(),
    start("text", 1),
    delta("Hi"),
    event("citation-start", {"citations": {"start": 0, "end": 2, "text": "Hi"}}, index=0),
    event("citation-end", index=0),
    delta(" there!"),
    stop(1),
    plan("I will"),
    plan(" look."),
    call(0, id="f_1", type="function", function={"name": "f", "arguments": ""}),
    call(0, function={"arguments": '{"a"'}),
    call(0, function={"arguments": ":1}"}),
    event("tool-call-end", index=0),
    call(1, id="g_2", type="function", function={"name": "g", "arguments": ""}),
    event("tool-call-end", index=1),
    end("TOOL_CALL"),
    b"data: [DONE]\n\n",
)
BLOCKS = (
    ReasoningBlock(kind="text", format="cohere", text="Hm."),
    ReasoningBlock(kind="text", format="cohere", text="I will look.", id="tool_plan"),
)


class Streamed:
    """A stream that was fed piece by piece, put together."""

    def __init__(self, *pieces: bytes) -> None:
        parser, self.decoder = SseParser(), ChatStreamDecoder(FAULTS)
        self.deltas: list[ChatDelta] = []
        for piece in pieces:
            if not self.decoder.done and self.decoder.fault is None:
                self.deltas += self.decoder.feed(parser.feed(piece))

    def joined(self, field: str) -> str:
        return "".join(getattr(delta, field) for delta in self.deltas)

    def calls(self) -> list[list[str]]:
        calls: dict[int, list[str]] = {}
        for piece in (piece for delta in self.deltas for piece in delta.tool_calls):
            if piece.index in calls:
                assert (piece.id, piece.name) == (None, None), "told twice"
            else:
                calls[piece.index] = [piece.id, piece.name, ""]
            calls[piece.index][2] += piece.arguments_json
        return [calls[index] for index in sorted(calls)]

    def summary(self) -> tuple:
        decoder = self.decoder
        return (
            [self.joined(field) for field in ("text", "reasoning")],
            [delta.finish_reason for delta in self.deltas if delta.finish_reason],
            tuple(block for delta in self.deltas for block in delta.reasoning_blocks),
            self.calls(),
            (decoder.usage, decoder.id),
            (decoder.done, decoder.complete, type(decoder.fault)),
        )


# --- plain --------------------------------------------------------------------------------------
def test_a_plain_answer_is_read():
    told = plain({"type": "text", "text": "Hi there!"})
    (choice,) = told.choices
    assert (choice.answer.text, choice.finish_reason) == ("Hi there!", "stop")
    assert told.usage == COUNTED
    assert told.id == "c14c80c3-18eb-4519-9460-6c92edd8cfb4"


def test_thinking_a_plan_and_calls_are_read():
    thinking = {"type": "thinking", "thinking": "Hm."}
    more = {"tool_plan": "I will look.", "tool_calls": [CALL], "citations": []}
    choice = plain(thinking, finish="TOOL_CALL", message=more).choices[0]
    assert choice.answer.reasoning == "Hm.\n\nI will look."
    assert choice.answer.reasoning_blocks == (BLOCKS[0], BLOCKS[1])
    assert choice.answer.tool_calls == (ToolCall(id="f_1", name="f", arguments_json='{"a":1}'),)
    assert (choice.answer.text, choice.finish_reason) == (None, "tool_calls")


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("TIMEOUT", "length"),
        ("ERROR_TOXIC", "content_filter"),
        ("SOMETHING_NEW", "stop"),
        (None, "stop"),
    ],
)
def test_finish_reasons(word, finish):
    assert plain({"type": "text", "text": "a"}, finish=word).choices[0].finish_reason == finish
    assert Streamed(delta("a"), end(word)).summary()[1] == [finish]


def test_an_answer_that_failed_is_a_fault():
    with pytest.raises(ProviderFault):
        plain(finish="ERROR")
    for last in (end("ERROR"), end("COMPLETE", error="the model broke")):
        told = Streamed(delta("a"), last)
        assert type(told.decoder.fault) is StreamError
        assert told.joined("text") == "a"
        assert told.decoder.usage == COUNTED
        assert not told.decoder.complete


def test_a_piece_of_several_tokens_is_as_probable_as_all_of_them():
    wire = {"text": "é!", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}
    read = TokenLogprob(token="é!", logprob=-0.75, bytes=(195, 169, 33))
    told = plain({"type": "text", "text": "é!"}, logprobs=[wire])
    assert told.choices[0].logprobs == Logprobs(content=(read,))
    assert Streamed(delta("é!", logprobs=wire)).deltas == [
        ChatDelta(text="é!", logprobs=Logprobs(content=(read,)))
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b'{"message": null}', b'{"message": 7}', b'{"message": {"content": 7}}',
        b"\xff", b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_answer_is_malformed(body):
    with pytest.raises(Malformed):
        decode_chat(body, FAULTS)


def test_an_error_in_spite_of_its_status_is_a_fault():
    with pytest.raises(ProviderFault, match="too many"):
        decode_chat(b'{"id": "x", "message": "too many tokens"}', FAULTS)


def test_errors_have_a_message_and_an_id():
    fault = FAULTS.from_answer(498, {}, b'{"id": "x", "message": "blocked output"}')
    assert type(fault) is Rejected
    assert fault.provider_message == "blocked output"


# --- usage --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        (USAGE, COUNTED),
        ({"tokens": {"input_tokens": 5, "output_tokens": 3}}, Usage(prompt=5, completion=3)),
        (
            {"billed_units": {"input_tokens": 5}, "tokens": {"output_tokens": 3}},
            Usage(prompt=5, completion=3),
        ),
        ({"billed_units": {"input_tokens": 0, "output_tokens": 0}}, Usage(prompt=0, completion=0)),
        (USAGE | {"cached_tokens": 200}, Usage(prompt=17, cached_read=17, completion=12)),
        ({"billed_units": {"input_tokens": -1, "output_tokens": True}}, None),
        ({"billed_units": None, "tokens": None}, None),
        ({}, None),
        (None, None),
        (7, None),
    ],
)
def test_what_is_billed_is_the_usage(wire, usage):
    assert usage_of(wire) == usage


# --- streamed -----------------------------------------------------------------------------------
WHOLE = Streamed(*STORY).summary()


def test_a_stream_is_read():
    assert Streamed(*STORY).summary() == (
        ["Hi there!", "Hm.\n\nI will look."],
        ["tool_calls"],
        BLOCKS,
        [["f_1", "f", '{"a":1}'], ["g_2", "g", ""]],
        (COUNTED, "29f14a5a-11de-4cae-9800-25e4747408ea"),
        (True, True, type(None)),
    )


def test_one_read_is_one_delta():
    (only,) = Streamed(b"".join(STORY)).deltas
    assert (only.text, only.finish_reason) == ("Hi there!", "tool_calls")


def test_it_makes_no_difference_how_a_stream_is_cut():
    data = b"".join(STORY)
    assert Streamed(*(data[place : place + 1] for place in range(len(data)))).summary() == WHOLE


@given(st.lists(st.integers(0, len(b"".join(STORY)))))
@settings(max_examples=50)
def test_random_cuts_make_no_difference(cuts):
    data = b"".join(STORY)
    places = [0, *sorted(cuts), len(data)]
    assert Streamed(*(data[a:b] for a, b in pairwise(places))).summary() == WHOLE


def test_a_plan_without_calls_is_told_at_the_end():
    told = Streamed(plan("I will."), end())
    assert told.summary()[2] == (
        ReasoningBlock(kind="text", format="cohere", text="I will.", id="tool_plan"),
    )


def test_a_thought_without_an_end_is_told_before_the_plan():
    told = Streamed(delta("Hm.", "thinking"), plan("I will look."), end())
    assert told.summary()[2] == BLOCKS


def test_a_stream_without_its_last_event_is_not_whole():
    told = Streamed(BEGIN, delta("Hi"))
    assert (told.decoder.done, told.decoder.complete, told.decoder.usage) == (False, False, None)


@pytest.mark.parametrize(
    "data", [{"message": "Down.", "id": "x"}, {"type": "error", "message": "Down."}]
)
def test_an_error_in_a_stream_is_a_fault_after_what_came(data):
    told = Streamed(delta("Hi") + f"data: {json.dumps(data)}\n\n".encode() + delta("more"))
    assert told.joined("text") == "Hi"
    assert type(told.decoder.fault) is StreamError
    assert told.decoder.fault.provider_message == "Down."


def test_events_of_other_types_are_ignored():
    told = Streamed(event("debug", prompt="x"), b"data: [DONE]\n\n", delta("Hi"), end())
    assert (told.joined("text"), told.decoder.complete) == ("Hi", True)


@pytest.mark.parametrize(
    "data",
    [
        b"garbage", b"7", b"{}", b'{"type": 7}', b'{"type": "content-delta", "delta": 7}',
        b'{"type": "tool-call-start", "delta": {"message": {"tool_calls": 7}}}',
    ],
)  # fmt: skip
def test_an_event_that_is_none_is_malformed(data):
    told = Streamed(delta("Hi") + b"data: " + data + b"\n\n")
    assert told.joined("text") == "Hi"
    assert type(told.decoder.fault) is Malformed


def test_too_many_calls_are_malformed():
    told = Streamed(*(call(index, id=f"c{index}", function={}) for index in range(1_025)))
    assert type(told.decoder.fault) is Malformed


# --- fuzz ---------------------------------------------------------------------------------------
@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_random_bytes_end_in_a_fault_or_an_answer(data):
    with contextlib.suppress(ProviderFault):
        decode_chat(data, FAULTS)
    Streamed(data, b"data: " + data + b"\n\n")


@given(st.data())
@settings(max_examples=200)
def test_mutated_answers_end_in_a_fault_or_an_answer(data):
    story = bytearray(b"".join(STORY))
    more = {"tool_plan": "I will.", "tool_calls": [CALL]}
    body = bytearray(json.dumps(answer({"type": "text", "text": "a"}, message=more)).encode())
    for target in (story, body):
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(target) - 1))
            target[place] = data.draw(st.integers(0, 255))
    Streamed(bytes(story))
    with contextlib.suppress(ProviderFault):
        decode_chat(bytes(body), FAULTS)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(answer())), _JSON)
@settings(max_examples=100)
def test_a_field_of_another_kind_ends_in_a_fault_or_an_answer(field, value):
    with contextlib.suppress(ProviderFault):
        decode_chat(json.dumps(answer() | {field: value}).encode(), FAULTS)
    Streamed(event("message-end", delta={field: value}))
