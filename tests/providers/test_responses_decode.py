"""Responses and their streams as OpenAI documents them, in the domain's words."""

import contextlib
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_grpc.core.chat import (
    ChatDelta,
    Logprobs,
    ReasoningBlock,
    TokenLogprob,
    ToolCall,
    TopLogprob,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    Malformed,
    Overloaded,
    ProviderFault,
    RateLimited,
    Rejected,
    StreamError,
)
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.responses.decode import decode_response
from omni_grpc.providers.responses.stream import ITEMS_MAX, ResponseStreamDecoder
from omni_grpc.providers.responses.wire import usage_of
from omni_grpc.providers.sse import SseParser

FAULTS = Faults("p", (), SystemClock())
USAGE = {
    "input_tokens": 81,
    "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 5},
    "output_tokens": 1035,
    "output_tokens_details": {"reasoning_tokens": 832},
    "total_tokens": 1116,
}
COUNTED = Usage(prompt=81, cached_read=64, cached_write=5, completion=1035, reasoning=832)
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [
        {"type": "summary_text", "text": "First."},
        {"type": "summary_text", "text": "Then."},
    ],
    "encrypted_content": "gAAA",
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hi there!", "annotations": [], "logprobs": []}],
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a":1}',
}
BLOCKS = (
    ReasoningBlock(kind="summary", format="responses", text="First.", id="rs_1"),
    ReasoningBlock(kind="summary", format="responses", text="Then.", id="rs_1"),
    ReasoningBlock(kind="encrypted", format="responses", data="gAAA", id="rs_1"),
)


def response(*output: dict, **more) -> dict:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1741476777,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "gpt-5",
        "output": list(output),
        "service_tier": "default",
        "usage": USAGE,
        **more,
    }


def plain(*output: dict, **more):
    return decode_response(json.dumps(response(*output, **more)).encode(), FAULTS)


def event(kind: str, **fields) -> bytes:
    data = json.dumps({"type": kind, **fields, "sequence_number": 1})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def text(delta: str, **more) -> bytes:
    return event("response.output_text.delta", output_index=1, content_index=0, delta=delta, **more)


def completed(*output: dict, **more) -> bytes:
    return event("response.completed", response=response(*output, **more))


CREATED = event("response.created", response=response(status="in_progress", usage=None))
STORY = (
    CREATED,
    event("response.in_progress", response=response(status="in_progress", usage=None)),
    event("response.output_item.added", output_index=0, item=REASONING | {"summary": []}),
    event("response.reasoning_summary_part.added", output_index=0, summary_index=0, part={}),
    event("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="Fir"),
    event("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="st."),
    event("response.reasoning_summary_text.done", output_index=0, summary_index=0, text="First."),
    event("response.reasoning_summary_text.delta", output_index=0, summary_index=1, delta="Then."),
    event("response.output_item.done", output_index=0, item=REASONING),
    event("response.output_item.added", output_index=1, item=MESSAGE | {"content": []}),
    event("response.content_part.added", output_index=1, content_index=0, part=MESSAGE),
    text("Hi", logprobs=[]),
    text(" there!", logprobs=[]),
    event("response.output_text.done", output_index=1, content_index=0, text="Hi there!"),
    event("response.content_part.done", output_index=1, content_index=0, part={}),
    event("response.output_item.done", output_index=1, item=MESSAGE),
    event("response.output_item.added", output_index=2, item=CALL | {"arguments": ""}),
    event("response.function_call_arguments.delta", output_index=2, delta='{"a"'),
    event("response.function_call_arguments.delta", output_index=2, delta=":1}"),
    event("response.function_call_arguments.done", output_index=2, arguments='{"a":1}'),
    event("response.output_item.done", output_index=2, item=CALL),
    completed(REASONING, MESSAGE, CALL),
)


class Streamed:
    """A stream that was fed piece by piece, put together."""

    def __init__(self, *pieces: bytes) -> None:
        parser, self.decoder = SseParser(), ResponseStreamDecoder(FAULTS)
        self.deltas: list[ChatDelta] = []
        for piece in pieces:
            if not self.decoder.done and self.decoder.fault is None:
                self.deltas += self.decoder.feed(parser.feed(piece))

    def joined(self, field: str) -> str:
        return "".join(getattr(delta, field) for delta in self.deltas)

    def blocks(self) -> tuple[ReasoningBlock, ...]:
        return tuple(block for delta in self.deltas for block in delta.reasoning_blocks)

    def calls(self) -> list[list[str]]:
        calls: dict[int, list[str]] = {}
        for piece in (piece for delta in self.deltas for piece in delta.tool_calls):
            if piece.index in calls:
                assert (piece.id, piece.name) == (None, None), "told twice"
            else:
                assert (piece.id, piece.name) != (None, None)
                calls[piece.index] = [piece.id, piece.name, ""]
            calls[piece.index][2] += piece.arguments_json
        return [calls[index] for index in sorted(calls)]

    def summary(self) -> tuple:
        decoder = self.decoder
        return (
            [self.joined(field) for field in ("text", "refusal", "reasoning")],
            [delta.finish_reason for delta in self.deltas if delta.finish_reason],
            [
                token
                for delta in self.deltas
                if delta.logprobs
                for token in delta.logprobs.content or ()
            ],
            self.blocks(),
            self.calls(),
            (decoder.usage, decoder.id, decoder.model, decoder.service_tier),
            (decoder.done, decoder.complete, type(decoder.fault)),
        )


# --- plain --------------------------------------------------------------------------------------
def test_a_plain_answer_is_read():
    told = plain(MESSAGE)
    (choice,) = told.choices
    assert (choice.answer.text, choice.finish_reason) == ("Hi there!", "stop")
    assert choice.logprobs is None
    assert (told.id, told.model, told.service_tier) == ("resp_1", "gpt-5", "default")
    assert told.usage == COUNTED


def test_all_kinds_of_items_are_read():
    unknown = {"type": "web_search_call", "content": 7, "name": {}}
    (choice,) = plain(REASONING, unknown, MESSAGE, CALL).choices
    assert choice.answer.reasoning == "First.\n\nThen."
    assert choice.answer.reasoning_blocks == BLOCKS
    assert choice.answer.tool_calls == (ToolCall(id="call_1", name="f", arguments_json='{"a":1}'),)
    assert choice.finish_reason == "tool_calls"


def test_a_refusal_is_read():
    refusal = MESSAGE | {"content": [{"type": "refusal", "refusal": "No."}]}
    answer = plain(refusal).choices[0].answer
    assert (answer.text, answer.refusal) == (None, "No.")


def test_reasoning_of_open_models_is_read():
    open_item = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm."}],
    }
    answer = plain(open_item).choices[0].answer
    assert answer.reasoning == "Hm."
    assert answer.reasoning_blocks == (
        ReasoningBlock(kind="text", format="responses", text="Hm.", id="rs_1"),
    )


@pytest.mark.parametrize(
    ("details", "finish"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": "something new"}, "length"),
        (None, "length"),
    ],
)
def test_why_an_answer_is_incomplete(details, finish):
    told = plain(MESSAGE, CALL, status="incomplete", incomplete_details=details)
    assert told.choices[0].finish_reason == finish
    ended = response(MESSAGE, status="incomplete", incomplete_details=details)
    streamed = Streamed(CREATED, text("Hi"), event("response.incomplete", response=ended))
    assert streamed.summary()[1] == [finish]
    assert streamed.decoder.complete


def test_logprobs_are_read():
    top = {"token": "b", "logprob": -1.5}
    token = {"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": [top]}
    read = TokenLogprob(
        token="a",
        logprob=-0.5,
        bytes=(97,),
        top_logprobs=(TopLogprob(token="b", logprob=-1.5),),
    )
    part = {"type": "output_text", "text": "a", "annotations": [], "logprobs": [token]}
    choice = plain(MESSAGE | {"content": [part]}).choices[0]
    assert choice.logprobs == Logprobs(content=(read,))
    told = Streamed(text("a", logprobs=[token]) + text("a", logprobs=[token]))
    assert told.deltas == [ChatDelta(text="aa", logprobs=Logprobs(content=(read, read)))]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", Overloaded),
        ("rate_limit_exceeded", RateLimited),
        ("invalid_prompt", Rejected),
        ("image_too_large", Rejected),
        ("bio_policy", Rejected),
        ("never heard of", Overloaded),
    ],
)
def test_a_response_that_failed_is_a_fault_by_its_code(code, kind):
    with pytest.raises(ProviderFault) as caught:
        plain(status="failed", error={"code": code, "message": "Because."})
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.provider_message) == (code, "Because.")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b'{"output": 7}', b'{"output": [7]}',
        b'{"output": [{"type": "message", ', b'{"output": [{"type": "message", "content": "x"}]}',
        b"\xff", b'{"output": [], "status": "in_progress"}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_response_is_malformed(body):
    with pytest.raises(Malformed):
        decode_response(body, FAULTS)


@pytest.mark.parametrize("error", ["down", {"message": "down"}])
def test_an_error_in_spite_of_its_status_is_a_fault(error):
    with pytest.raises(ProviderFault):
        decode_response(json.dumps({"error": error}).encode(), FAULTS)
    with pytest.raises(ProviderFault):
        plain(status="failed", error=None)


# --- usage --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        (USAGE, COUNTED),
        ({"input_tokens": 3, "output_tokens": 0}, Usage(prompt=3, completion=0)),
        ({"input_tokens": 3.0, "output_tokens": -1}, Usage(prompt=3)),
        ({"input_tokens": True, "output_tokens": 10**10}, None),
        ({"input_tokens": None, "output_tokens": None}, None),
        (None, None),
        ("lots", None),
        (
            {
                "input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 99, "cache_write_tokens": 9},
                "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(prompt=10, cached_read=10, cached_write=0, completion=5, reasoning=5),
        ),
    ],
)
def test_usage(wire, usage):
    assert usage_of(wire) == usage


# --- streamed -----------------------------------------------------------------------------------
WHOLE = Streamed(*STORY).summary()


def test_a_stream_is_read():
    told = Streamed(*STORY)
    assert told.joined("text") == "Hi there!"
    assert told.joined("reasoning") == "First.\n\nThen."
    assert told.blocks() == BLOCKS
    assert told.calls() == [["call_1", "f", '{"a":1}']]
    assert told.deltas[-1].finish_reason == "tool_calls"
    assert told.decoder.usage == COUNTED
    assert (told.decoder.id, told.decoder.model) == ("resp_1", "gpt-5")
    assert (told.decoder.done, told.decoder.complete, told.decoder.fault) == (True, True, None)


def test_one_read_is_one_delta():
    (delta,) = Streamed(b"".join(STORY)).deltas
    assert (delta.text, delta.finish_reason) == ("Hi there!", "tool_calls")


def test_plain_and_streamed_are_the_same():
    answer = plain(REASONING, MESSAGE, CALL).choices[0].answer
    told = Streamed(*STORY)
    assert told.joined("text") == answer.text
    assert told.joined("reasoning") == answer.reasoning
    assert told.blocks() == answer.reasoning_blocks
    assert told.calls() == [[call.id, call.name, call.arguments_json] for call in answer.tool_calls]


def test_it_makes_no_difference_how_a_stream_is_cut():
    data = b"".join(STORY)
    assert Streamed(*(data[place : place + 1] for place in range(len(data)))).summary() == WHOLE


@given(st.lists(st.integers(0, len(b"".join(STORY)))))
@settings(max_examples=50)
def test_random_cuts_make_no_difference(cuts):
    data = b"".join(STORY)
    places = [0, *sorted(cuts), len(data)]
    assert Streamed(*(data[a:b] for a, b in pairwise(places))).summary() == WHOLE


def test_items_without_fragments_are_told_when_they_are_whole():
    ends = [
        event("response.output_item.done", output_index=index, item=item)
        for index, item in enumerate((REASONING, MESSAGE, CALL))
    ]
    for story in ([CREATED, *ends, completed()], [completed(REASONING, MESSAGE, CALL)]):
        told = Streamed(*story)
        assert told.summary() == WHOLE


def test_parallel_calls_may_take_turns():
    def part(kind: str, index: int, **more) -> bytes:
        return event(f"response.{kind}", output_index=index, **more)

    told = Streamed(
        part("output_item.added", 0, item=CALL | {"arguments": ""}),
        part("output_item.added", 1, item=CALL | {"arguments": "", "call_id": "call_2"}),
        part("function_call_arguments.delta", 1, delta="2"),
        part("function_call_arguments.delta", 0, delta="1"),
        completed(),
    )
    assert told.calls() == [["call_1", "f", "1"], ["call_2", "f", "2"]]


def test_a_refusal_streams():
    told = Streamed(
        event("response.refusal.delta", output_index=0, content_index=0, delta="N"),
        event("response.refusal.delta", output_index=0, content_index=0, delta="o."),
        completed(),
    )
    assert (told.joined("refusal"), told.deltas[-1].finish_reason) == ("No.", "stop")


def test_a_stream_without_its_last_event_is_not_whole():
    told = Streamed(*STORY[:-1])
    assert (told.decoder.done, told.decoder.complete, told.decoder.fault) == (False, False, None)
    assert told.decoder.usage is None


@pytest.mark.parametrize(
    "data",
    [
        {"type": "error", "code": "server_error", "message": "Down.", "param": None},
        {"type": "error", "error": {"code": "server_error", "message": "Down."}},
        {"error": {"code": "server_error", "message": "Down."}},
        {
            "type": "response.failed",
            "response": response(
                status="failed", error={"code": "server_error", "message": "Down."}
            ),
        },
    ],
)
def test_an_error_in_a_stream_is_a_fault_after_what_came(data):
    told = Streamed(text("Hi") + f"data: {json.dumps(data)}\n\n".encode() + text("more"))
    assert told.joined("text") == "Hi"
    fault = told.decoder.fault
    assert type(fault) is StreamError
    assert (fault.code, fault.provider_message) == ("server_error", "Down.")
    assert not told.decoder.complete


def test_events_of_other_types_are_ignored():
    told = Streamed(
        event("response.some_new_thing.delta", delta={"any": "thing"}),
        b"data: [DONE]\n\n",
        text("Hi"),
        completed(),
    )
    assert (told.joined("text"), told.decoder.complete) == ("Hi", True)


@pytest.mark.parametrize(
    "data",
    [
        b"garbage", b"7", b"{}", b'{"type": 7}', b'{"type": "response.output_text.delta"}',
        b'{"type": "response.output_text.delta", "delta": 7}',
        b'{"type": "response.output_item.done", "item": {"type": "message", "content": 7}}',
    ],
)  # fmt: skip
def test_an_event_that_is_none_is_malformed(data):
    told = Streamed(text("Hi") + b"data: " + data + b"\n\n")
    assert told.joined("text") == "Hi"
    assert type(told.decoder.fault) is Malformed


def test_hostile_indexes_cost_no_memory():
    told = Streamed(
        *(
            event("response.output_text.delta", output_index=index, delta="a")
            for index in range(ITEMS_MAX + 2)
        )
    )
    assert type(told.decoder.fault) is Malformed


def test_too_many_calls_are_malformed():
    told = Streamed(
        *(
            event("response.output_item.added", output_index=index, item=CALL)
            for index in range(1_025)
        )
    )
    assert type(told.decoder.fault) is Malformed


# --- fuzz ---------------------------------------------------------------------------------------
@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_random_bytes_end_in_a_fault_or_an_answer(data):
    with contextlib.suppress(ProviderFault):
        decode_response(data, FAULTS)
    Streamed(data, b"data: " + data + b"\n\n")


@given(st.data())
@settings(max_examples=200)
def test_mutated_answers_end_in_a_fault_or_an_answer(data):
    story = bytearray(b"".join(STORY))
    body = bytearray(json.dumps(response(REASONING, MESSAGE, CALL)).encode())
    for target in (story, body):
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(target) - 1))
            target[place] = data.draw(st.integers(0, 255))
    Streamed(bytes(story))
    with contextlib.suppress(ProviderFault):
        decode_response(bytes(body), FAULTS)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(response(MESSAGE))), _JSON)
@settings(max_examples=100)
def test_a_field_of_another_kind_ends_in_a_fault_or_an_answer(field, value):
    body = json.dumps(response(REASONING, MESSAGE, CALL) | {field: value})
    with contextlib.suppress(ProviderFault):
        decode_response(body.encode(), FAULTS)
    Streamed(event("response.completed", response=json.loads(body)))
