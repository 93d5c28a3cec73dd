"""OpenAI's streamed answers in the domain's words."""

import pytest
from openai_streams import Streamed, call, calls
from raw_provider import delta, event, story, usage

from omni_grpc.core.chat import (
    ChatDelta,
    Logprobs,
    TokenLogprob,
    ToolCallDelta,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed, StreamError


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
