"""OpenAI's dialect, however its bytes come and whatever they are."""

import contextlib
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_streams import FAULTS, Streamed, call, calls
from raw_provider import answer, delta, event, usage

from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed, ProviderFault
from omni_grpc.providers.openai.decode import decode_completion


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


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_a_stream_reads_the_same_at_random_cuts(cuts):
    bounds = [0, *sorted(cuts), len(WHOLE)]
    pieces = (WHOLE[low:high] for low, high in pairwise(bounds))
    assert Streamed(*pieces).summary() == Streamed(WHOLE).summary()


MUTATIONS = st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=8)


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


@given(SHAPED)
def test_any_json_is_read_or_refused(value):
    told = Streamed(event(value))
    assert told.decoder.fault is None or isinstance(told.decoder.fault, ProviderFault)
    with contextlib.suppress(ProviderFault):
        decode_completion(json.dumps(value).encode(), FAULTS)
