"""OpenAI's whole answers, and its counts, in the domain's words."""

import json

import pytest
from openai_streams import FAULTS, message, plain
from raw_provider import answer

from omni_grpc.core.chat import (
    Logprobs,
    TokenLogprob,
    ToolCall,
    TopLogprob,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed
from omni_grpc.providers.openai.decode import decode_completion
from omni_grpc.providers.openai.wire import finish_reason_of, usage_of


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
