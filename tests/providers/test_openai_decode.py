import contextlib
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_provider import answer, delta, event, story, usage

from omni_grpc.core.chat import (
    ChatDelta,
    Logprobs,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed, ProviderFault, StreamError
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.openai.decode import ChatStreamDecoder, decode_completion
from omni_grpc.providers.openai.wire import finish_reason_of, usage_of
from omni_grpc.providers.sse import SseParser

FAULTS = Faults("p", (), SystemClock())


def plain(**more):
    return decode_completion(json.dumps(answer(**more)).encode(), FAULTS)


def message(**fields):
    body = answer()
    body["choices"][0]["message"] = {"role": "assistant", "content": None, **fields}
    return decode_completion(json.dumps(body).encode(), FAULTS).choices[0].answer


class Streamed:
    """A stream that was fed piece by piece, put together."""

    def __init__(self, *pieces: bytes) -> None:
        parser, self.decoder = SseParser(), ChatStreamDecoder(FAULTS)
        self.deltas: list[ChatDelta] = []
        for piece in pieces:
            if not self.decoder.done and self.decoder.fault is None:
                self.deltas += self.decoder.feed(parser.feed(piece))

    def text(self, choice: int = 0) -> str:
        return "".join(piece.text for piece in self.deltas if piece.choice_index == choice)

    def calls(self) -> list[list[str | None]]:
        calls: dict[int, list] = {}
        for fragment in (one for piece in self.deltas for one in piece.tool_calls):
            call = calls.setdefault(fragment.index, [None, None, ""])
            for place, value in ((0, fragment.id), (1, fragment.name)):
                if value is not None:
                    assert call[place] is None, "told twice"
                    call[place] = value
            call[2] += fragment.arguments_json
        return [calls[index] for index in sorted(calls)]

    def summary(self) -> tuple:
        fields = ("text", "refusal", "reasoning")
        choices = sorted({piece.choice_index for piece in self.deltas})
        of = {one: [piece for piece in self.deltas if piece.choice_index == one] for one in choices}
        return (
            {
                one: [
                    *("".join(getattr(piece, field) for piece in of[one]) for field in fields),
                    [piece.finish_reason for piece in of[one] if piece.finish_reason],
                    [
                        token
                        for piece in of[one]
                        if piece.logprobs
                        for token in piece.logprobs.content or ()
                    ],
                ]
                for one in choices
            },
            self.calls(),
            self.decoder.usage,
            self.decoder.done,
            self.decoder.complete,
            type(self.decoder.fault),
        )


# --- plain --------------------------------------------------------------------------------------
def test_a_plain_answer_is_read():
    completion = plain(system_fingerprint="fp", service_tier="default")
    assert completion.choices[0].answer.text == "Hello"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage == Usage(prompt=3, completion=2)
    assert (completion.model, completion.system_fingerprint, completion.service_tier) == (
        "m-1",
        "fp",
        "default",
    )


def test_all_of_a_message_is_read():
    told = message(
        refusal="no",
        reasoning_content="because",
        annotations=[{"type": "url_citation", "url_citation": {"url": "u"}}],
        tool_calls=[
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{ }"}},
            {"type": "function", "function": {"name": "g"}},
        ],
    )
    assert (told.text, told.refusal, told.reasoning) == (None, "no", "because")
    assert told.tool_calls == (
        ToolCall(id="c1", name="f", arguments_json="{ }"),
        ToolCall(id="call_1", name="g", arguments_json=""),
    )
    assert json.loads(bytes(told.annotations))[0]["type"] == "url_citation"


@pytest.mark.parametrize("empty", [None, []])
def test_no_annotations_are_none(empty):
    assert message(annotations=empty).annotations is None
    assert message(content="x").annotations is None


def test_reasoning_by_its_other_name_is_read():
    assert message(reasoning="because").reasoning == "because"


def test_logprobs_are_read():
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    other = {"token": "b", "logprob": -1, "bytes": None}
    body = answer()
    body["choices"][0]["logprobs"] = {
        "content": [token | {"top_logprobs": [other]}, {"token": "x", "logprob": -2.0}],
        "refusal": None,
    }
    choice = decode_completion(json.dumps(body).encode(), FAULTS).choices[0]
    assert choice.logprobs == Logprobs(
        content=(
            TokenLogprob(
                token="a",
                logprob=-0.5,
                bytes=(97,),
                top_logprobs=(TopLogprob(token="b", logprob=-1.0),),
            ),
            TokenLogprob(token="x", logprob=-2.0),
        )
    )


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("tool_use", "tool_calls"),
        ("end_turn", "stop"),
        ("something_new", "stop"),
    ],
)
def test_each_finish_reason_has_the_domains_word(word, reason):
    assert finish_reason_of(word) == reason


def test_a_missing_finish_reason_is_taken_from_the_answer():
    body = answer()
    body["choices"][0]["finish_reason"] = None
    assert decode_completion(json.dumps(body).encode(), FAULTS).choices[0].finish_reason == "stop"
    body["choices"][0]["message"]["tool_calls"] = [{"id": "c", "function": {"name": "f"}}]
    told = decode_completion(json.dumps(body).encode(), FAULTS).choices[0]
    assert told.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"<html>no</html>",
        b"{",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":{}}',
        b'{"choices":["x"]}',
        b'{"choices":[{"message":{"content":7}}]}',
        b'{"choices":[{"index":"0","message":{"content":"x"}}]}',
        b'{"choices":[{"index":-1,"message":{"content":"x"}}]}',
        b'{"choices":[{"index":1180591620717411303424,"message":{"content":"x"}}]}',
        b'{"choices":[{"message":{"content":"\xff"}}]}',
        b'{"choices":[{"message":{"content":"\\ud800"}}]}',
        b'{"choices":' + b"[" * 100_000,
        b'{"x":' + b"[" * 100_000,
    ],
    ids=range(19),
)
def test_what_is_no_answer_is_malformed(body):
    with pytest.raises(Malformed):
        decode_completion(body, FAULTS)


# --- usage --------------------------------------------------------------------------------------
def test_usage_is_read_with_all_its_parts():
    assert usage_of(
        {
            "prompt_tokens": 10,
            "completion_tokens": 20,
            "total_tokens": 30,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
        }
    ) == Usage(
        prompt=10, cached_read=4, prompt_audio=1, completion=20, reasoning=5, completion_audio=0
    )


@pytest.mark.parametrize(
    ("wire", "told"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(prompt=0, completion=0)),
        ({"prompt_tokens": 3}, Usage(prompt=3)),
        ({"prompt_tokens": 3.0, "completion_tokens": 1}, Usage(prompt=3, completion=1)),
        ({"prompt_tokens": -3, "completion_tokens": 1}, Usage(completion=1)),
        ({"prompt_tokens": 2**70, "completion_tokens": 1}, Usage(completion=1)),
        ({"prompt_tokens": "3", "completion_tokens": True}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": None}, None),
        ({"prompt_tokens": 1, "prompt_tokens_details": None}, Usage(prompt=1)),
        ({"prompt_tokens": 1, "prompt_tokens_details": [1]}, Usage(prompt=1)),
        (
            {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}},
            Usage(prompt=1, cached_read=1),
        ),
        (
            # xAI: 1 token of text, 386 of reasoning beside it
            {
                "prompt_tokens": 12,
                "completion_tokens": 1,
                "total_tokens": 399,
                "completion_tokens_details": {"reasoning_tokens": 386},
            },
            Usage(prompt=12, completion=387, reasoning=386),
        ),
        (
            # without a total that says so, reasoning is a part of the completion
            {
                "prompt_tokens": 12,
                "completion_tokens": 1,
                "completion_tokens_details": {"reasoning_tokens": 386},
            },
            Usage(prompt=12, completion=1, reasoning=1),
        ),
        ({}, None),
        ([], None),
        ("many", None),
        (None, None),
    ],
)
def test_a_count_that_cannot_be_is_no_count(wire, told):
    assert usage_of(wire) == told


# --- streamed -----------------------------------------------------------------------------------
def test_pieces_of_one_read_are_one_delta_a_choice():
    whole = b"".join(
        (
            delta(role="assistant", content=""),
            delta(content="a"),
            delta(1, content="x"),
            delta(content="b"),
            delta(1, content="y", finish="length"),
            delta(finish="stop"),
        )
    )
    assert Streamed(whole).deltas == [
        ChatDelta(choice_index=0, text="ab", finish_reason="stop"),
        ChatDelta(choice_index=1, text="xy", finish_reason="length"),
    ]


def test_what_brings_nothing_is_no_delta():
    quiet = (
        delta(role="assistant", content=""),
        delta(content=None, refusal=None, tool_calls=None),
        event({"choices": []}),
        event({"choices": None}),
        event({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}),
        event({"id": "x", "prompt_filter_results": []}),
        event({"choices": [], "error": None}),
        event({}),
    )
    assert Streamed(*quiet).deltas == []


def test_each_kind_of_piece_is_told():
    told = Streamed(
        delta(reasoning_content="hm"),
        delta(reasoning="m"),
        delta(refusal="n"),
        delta(refusal="o", content="x"),
    )
    assert told.deltas == [
        ChatDelta(reasoning="hm"),
        ChatDelta(reasoning="m"),
        ChatDelta(refusal="n"),
        ChatDelta(text="x", refusal="o"),
    ]


def test_a_finish_reason_is_told_once():
    told = Streamed(delta(finish="stop"), delta(finish="stop"), delta(finish="length"))
    assert [piece.finish_reason for piece in told.deltas] == ["stop"]


def test_the_last_usage_counts_wherever_it_stands():
    told = Streamed(
        event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
        delta(content="a"),
        event(
            {
                "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 2},
            }
        ),
        event({"choices": [], "usage": None}),
    )
    assert told.decoder.usage == Usage(prompt=1, completion=2)
    assert told.decoder.complete


def test_usage_before_more_of_the_answer_counts_its_prompt_alone():
    """Some providers send a placeholder first; a stream that is cut has nothing else."""
    early = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": None}
    told = Streamed(
        event({"choices": [{"index": 0, "delta": {"role": "assistant"}}], "usage": early}),
        delta(content="a"),
        delta(content="b"),
    )
    assert told.decoder.usage == Usage(prompt=9)


@pytest.mark.parametrize(
    "more",
    [
        {"content": "b"}, {"reasoning_content": "b"}, {"refusal": "b"},
        {"tool_calls": [{"index": 0, "function": {"name": "f"}}]},
    ],
)  # fmt: skip
def test_whatever_lengthens_the_answer_makes_its_usage_old(more):
    told = Streamed(usage(9, 1), delta(**more))
    assert told.decoder.usage == Usage(prompt=9)


def test_what_does_not_lengthen_the_answer_leaves_its_usage_as_it_is():
    told = Streamed(delta(content="a"), usage(9, 1), delta(role="assistant"), delta(finish="stop"))
    assert told.decoder.usage == Usage(prompt=9, completion=1)


def test_usage_in_every_chunk_is_that_of_the_last():
    def so_far(count: int) -> bytes:
        choice = {"index": 0, "delta": {"content": "a"}}
        counts = {"prompt_tokens": 9, "completion_tokens": count}
        return event({"choices": [choice], "usage": counts})

    told = Streamed(*(so_far(count) for count in range(1, 6)))
    assert told.decoder.usage == Usage(prompt=9, completion=5)


@pytest.mark.parametrize("last", ["lots", {}, {"prompt_tokens": None, "completion_tokens": None}])
def test_a_last_usage_that_is_none_leaves_the_one_before(last):
    told = Streamed(
        delta(content="a", finish="stop"), usage(9, 1), event({"choices": [], "usage": last})
    )
    assert told.decoder.usage == Usage(prompt=9, completion=1)


def test_usage_that_comes_with_an_error_is_kept():
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "error"}
    counts = {"prompt_tokens": 9, "completion_tokens": 1}
    for last in (
        event({"choices": [choice], "usage": counts}),
        event({"error": {"message": "down"}, "usage": counts}),
    ):
        told = Streamed(delta(content="a"), last)
        assert told.decoder.fault is not None
        assert told.decoder.usage == Usage(prompt=9, completion=1)


def test_odd_usage_is_no_usage():
    told = Streamed(delta(content="a", finish="stop"), event({"choices": [], "usage": "lots"}))
    assert told.decoder.usage is None
    assert told.decoder.fault is None
    assert not told.decoder.complete


def test_logprobs_of_one_read_are_joined():
    def piece(token: str) -> bytes:
        logprobs = {"content": [{"token": token, "logprob": -1.0, "top_logprobs": None}]}
        return event({"choices": [{"index": 0, "delta": {"content": token}, "logprobs": logprobs}]})

    told = Streamed(piece("a") + piece("b"))
    assert told.deltas == [
        ChatDelta(
            text="ab",
            logprobs=Logprobs(
                content=(TokenLogprob(token="a", logprob=-1.0), TokenLogprob(token="b", logprob=-1))
            ),
        )
    ]


@pytest.mark.parametrize("reason", ["error"])
def test_a_choice_that_gave_up_is_an_error(reason):
    told = Streamed(delta(content="a") + delta(finish=reason) + delta(content="b"))
    assert told.text() == "a"
    assert isinstance(told.decoder.fault, StreamError)


def test_nothing_is_read_after_the_end():
    told = Streamed(story("a") + delta(content="b") + b"data: garbage\n\n")
    assert told.text() == "a"
    assert told.decoder.done
    assert told.decoder.fault is None


# --- tool calls in fragments --------------------------------------------------------------------
def call(index=None, call_id=None, name=None, arguments=None) -> dict:
    fragment = {"index": index, "id": call_id, "type": "function"}
    fragment["function"] = {"name": name, "arguments": arguments}
    return {key: value for key, value in fragment.items() if value is not None}


def calls(*fragments: dict) -> bytes:
    return delta(tool_calls=list(fragments))


@pytest.mark.parametrize(
    ("fragments", "told"),
    [
        pytest.param(
            [call(0, "c1", "f", ""), call(0, arguments='{"a"'), call(0, arguments=":1}")],
            [["c1", "f", '{"a":1}']],
            id="as_openai_does",
        ),
        pytest.param(
            [
                call(0, "c1", "f", ""),
                call(1, "c2", "g", ""),
                call(1, arguments="2"),
                call(0, arguments="1"),
            ],
            [["c1", "f", "1"], ["c2", "g", "2"]],
            id="two_calls_taking_turns",
        ),
        pytest.param(
            [call(0, "c1", "f", "1"), call(0, "c1", "f", "2")],
            [["c1", "f", "12"]],
            id="id_and_name_repeated",
        ),
        pytest.param(
            [call(0, "c1", "f", "{}"), call(0, "c2", "f", "{}")],
            [["c1", "f", "{}"], ["c2", "f", "{}"]],
            id="every_call_has_index_0",
        ),
        pytest.param(
            [call(0, "c1", "f", ""), call(0, "other", None, "1")],
            [["c1", "f", "1"]],
            id="a_new_id_in_each_fragment",
        ),
        pytest.param(
            [call(None, "c1", "f", "1"), call(None, None, None, "2"), call(None, "c2", "g", "3")],
            [["c1", "f", "12"], ["c2", "g", "3"]],
            id="no_index",
        ),
        pytest.param(
            [call(None, None, "f", "1"), call(None, None, "f", "2")],
            [["call_0", "f", "1"], ["call_1", "f", "2"]],
            id="neither_index_nor_id",
        ),
        pytest.param(
            [call(5, "c1", "f", "1"), call(9, "c2", "g", "2")],
            [["c1", "f", "1"], ["c2", "g", "2"]],
            id="indexes_with_gaps",
        ),
        pytest.param(
            [call(0, "c1"), call(0, None, "f"), call(0, arguments="1")],
            [["c1", "f", "1"]],
            id="the_name_comes_later",
        ),
        pytest.param([{"index": 0, "id": "c1", "function": None}], [["c1", None, ""]], id="bare"),
    ],
)  # fmt: skip
def test_fragments_find_their_call(fragments, told):
    assert Streamed(*(calls(one) for one in fragments)).calls() == told
    assert Streamed(b"".join(calls(one) for one in fragments)).calls() == told
    assert Streamed(calls(*fragments)).calls() == told


def test_fragments_of_one_read_are_one():
    told = Streamed(calls(call(0, "c1", "f", "a")) + calls(call(0, arguments="b")))
    assert told.deltas == [
        ChatDelta(tool_calls=(ToolCallDelta(index=0, id="c1", name="f", arguments_json="ab"),))
    ]


def test_choices_number_their_calls_apart():
    told = Streamed(
        delta(0, tool_calls=[call(0, "c1", "f")]), delta(1, tool_calls=[call(0, "c2", "g")])
    )
    assert [piece.tool_calls[0].id for piece in told.deltas] == ["c1", "c2"]


def test_too_many_tool_calls_are_malformed():
    told = Streamed(*(calls(call(None, f"c{number}", "f")) for number in range(1_100)))
    assert isinstance(told.decoder.fault, Malformed)


# --- hostile ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b'{"choices":[{"index":-1}]}',
        b'{"choices":[{"index":1e3}]}',
        b'{"choices":[{"index":1180591620717411303424}]}',
        b'{"choices":[{"index":128}]}',
        b'{"choices":[{"delta":{"content":1}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":-1}]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":1024}]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":{}}}]}}]}',
        b'{"choices":[{"finish_reason":7}]}',
        b'{"choices":[{"logprobs":{"content":[{"token":1}]}}]}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"delta":{"content":"\\udc00"}}]}',
        b'{"usage":' + b"[" * 100_000,
        b'{"usage":' + b"9" * 5_000 + b"}",
    ],
    ids=range(18),
)
def test_a_hostile_event_is_malformed(bad):
    told = Streamed(delta(content="a") + b"data: " + bad + b"\n\n" + delta(content="b"))
    assert told.text() == "a"
    assert isinstance(told.decoder.fault, Malformed)


WHOLE = b"".join(
    (
        b": hello\n\n",
        delta(role="assistant", content=""),
        delta(reasoning_content="thinking "),
        delta(content="Grüße, "),
        delta(1, content="世界"),
        event(
            {
                "choices": [
                    {
                        "index": 0,
                        "delta": {"content": "a"},
                        "logprobs": {"content": [{"token": "a", "logprob": -1.0}]},
                    }
                ]
            }
        ),
        calls(call(0, "c1", "f", '{"x')),
        calls(call(0, arguments='":1}'), call(1, "c2", "g", "{}")),
        delta(1, finish="stop"),
        delta(finish="tool_calls"),
        usage(7, 9),
        b"data: [DONE]\n\n",
    )
)


def test_a_stream_reads_the_same_byte_by_byte():
    whole = Streamed(WHOLE)
    assert whole.decoder.complete
    assert whole.calls() == [["c1", "f", '{"x":1}'], ["c2", "g", "{}"]]
    pieces = Streamed(*(WHOLE[at : at + 1] for at in range(len(WHOLE))))
    assert pieces.summary() == whole.summary()


@settings(deadline=None)
@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_a_stream_reads_the_same_at_random_cuts(cuts):
    bounds = [0, *sorted(cuts), len(WHOLE)]
    pieces = (WHOLE[low:high] for low, high in pairwise(bounds))
    assert Streamed(*pieces).summary() == Streamed(WHOLE).summary()


MUTATIONS = st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=8)


@settings(deadline=None)
@given(MUTATIONS, st.integers(1, 400))
def test_a_mutated_stream_ends_in_deltas_or_a_fault(mutations, size):
    stream = bytearray(WHOLE)
    for at, byte in mutations:
        stream[at] = byte
    told = Streamed(*(bytes(stream[at : at + size]) for at in range(0, len(stream), size)))
    assert told.decoder.fault is None or isinstance(told.decoder.fault, ProviderFault)
    assert isinstance(told.decoder.usage, Usage | None)


PLAIN = json.dumps(
    answer(
        "x",
        choices=[
            {
                "index": 0,
                "message": {"content": "x", "tool_calls": [call(None, "c", "f", "{}")]},
                "logprobs": {"content": [{"token": "a", "logprob": -1, "bytes": [97]}]},
                "finish_reason": "stop",
            }
        ],
    )
).encode()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 255)), max_size=8))
def test_a_mutated_answer_is_an_answer_or_a_fault(mutations):
    body = bytearray(PLAIN)
    for at, byte in mutations:
        body[at] = byte
    with contextlib.suppress(ProviderFault):
        assert decode_completion(bytes(body), FAULTS).choices


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
NAMES = st.sampled_from(
    [
        "choices",
        "index",
        "delta",
        "message",
        "content",
        "reasoning_details",
        "type",
        "text",
        "thinking",
        "stop_reason",
        "x_groq",
        "tool_calls",
        "function",
        "name",
        "id",
        "arguments",
        "finish_reason",
        "logprobs",
        "usage",
        "prompt_tokens",
        "error",
        "model",
    ]
)
SHAPED = st.recursive(
    JSON, lambda inner: st.dictionaries(NAMES, inner | st.lists(inner, max_size=2)), max_leaves=12
)


@settings(deadline=None)
@given(SHAPED)
def test_any_json_is_read_or_refused(value):
    told = Streamed(event(value))
    assert told.decoder.fault is None or isinstance(told.decoder.fault, ProviderFault)
    with contextlib.suppress(ProviderFault):
        decode_completion(json.dumps(value).encode(), FAULTS)
