"""Anthropic's dialect, however its bytes come and whatever they are."""

import contextlib
import json
from itertools import pairwise

from anthropic_streams import FAULTS, WHOLE, Streamed, message, text, thinking, tool
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.usage import Usage
from omni_grpc.providers import ProviderFault
from omni_grpc.providers.anthropic.decode import decode_message


# --- however it comes ---------------------------------------------------------------------------
def test_a_stream_reads_the_same_byte_by_byte():
    pieces = Streamed(*(WHOLE[at : at + 1] for at in range(len(WHOLE))))
    assert pieces.summary() == Streamed(WHOLE).summary()


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_a_stream_reads_the_same_at_random_cuts(cuts):
    bounds = [0, *sorted(cuts), len(WHOLE)]
    pieces = (WHOLE[low:high] for low, high in pairwise(bounds))
    assert Streamed(*pieces).summary() == Streamed(WHOLE).summary()


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


@given(st.lists(SHAPED, max_size=8))
def test_any_json_is_deltas_or_a_fault(values):
    told = Streamed(*(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values))
    assert told.decoder.fault is None or isinstance(told.decoder.fault, ProviderFault)
    assert isinstance(told.decoder.usage, Usage | None)
    for value in values:
        with contextlib.suppress(ProviderFault):
            decode_message(json.dumps(value).encode(), FAULTS)
            decode_message(json.dumps({"content": [value]}).encode(), FAULTS)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_deltas_or_a_fault(values):
    told = Streamed(*(b"data: " + value + b"\n\n" for value in values))
    assert told.decoder.fault is None or isinstance(told.decoder.fault, ProviderFault)
    for value in values:
        with contextlib.suppress(ProviderFault):
            decode_message(value, FAULTS)
