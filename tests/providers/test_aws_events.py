"""AWS's event stream, cut anywhere, and broken in every way."""

import json
import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.providers.aws_events import AwsEventParser
from omni_grpc.providers.sse import EVENT_BYTES_MAX, BrokenFramingError, EventTooLongError
from omni_grpc.simulator.dialects.bedrock_frames import message

EMPTY = bytes.fromhex("00000010 00000000 05c248eb 7d98c8ff")
"""The format's own example: a message with neither headers nor payload."""


def event(name: str, payload: str, kind: str = "event") -> bytes:
    headers = {
        f":{kind}-type": name,
        ":content-type": "application/json",
        ":message-type": kind,
    }
    return message(headers, payload.encode())


STREAM = [
    event("messageStart", '{"role":"assistant"}'),
    event("contentBlockDelta", '{"delta":{"text":"H\u00e9"},"contentBlockIndex":0,"p":"abc"}'),
    EMPTY,
    event("metadata", '{"usage":{"inputTokens":1}}'),
    event("throttlingException", '{"message":"slow down"}', "exception"),
    message({":message-type": "error", ":error-code": "Internal", ":error-message": 'a "b"'}, b""),
]
TEXTS = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"delta": {"text": "H\u00e9"}, "contentBlockIndex": 0, "p": "abc"}},
    {"metadata": {"usage": {"inputTokens": 1}}},
    {"exception": "throttlingException", "details": {"message": "slow down"}},
    {"exception": "Internal", "details": {"message": 'a "b"'}},
]


def texts(events: list[bytes]) -> list[object]:
    return [json.loads(one) for one in events]


def test_the_simulator_writes_the_formats_own_example():
    assert message({}, b"") == EMPTY


def test_a_stream_in_one_piece_is_read():
    parser = AwsEventParser()
    assert texts(parser.feed(b"".join(STREAM))) == TEXTS
    assert parser.finish() == []


def test_a_stream_byte_by_byte_is_read():
    parser = AwsEventParser()
    found = [one for byte in b"".join(STREAM) for one in parser.feed(bytes([byte]))]
    assert texts(found) == TEXTS


@given(st.lists(st.integers(0, len(b"".join(STREAM))), max_size=8))
def test_a_stream_cut_anywhere_is_read(cuts):
    whole = b"".join(STREAM)
    bounds = [0, *sorted(cuts), len(whole)]
    parser = AwsEventParser()
    found: list[bytes] = []
    for start, end in pairwise(bounds):
        found += parser.feed(whole[start:end])
    assert texts(found) == TEXTS


def test_an_empty_payload_is_null():
    assert texts(AwsEventParser().feed(event("messageStop", ""))) == [{"messageStop": None}]


@pytest.mark.parametrize("place", [3, 4, 9, 20, -1])
def test_a_changed_byte_is_broken_framing(place):
    frame = bytearray(STREAM[0])
    frame[place] ^= 1
    with pytest.raises(BrokenFramingError):
        AwsEventParser().feed(bytes(frame) + STREAM[1])


def test_what_came_before_a_broken_message_is_returned_first():
    broken = STREAM[1][:-1] + bytes([STREAM[1][-1] ^ 1])
    parser = AwsEventParser()
    assert texts(parser.feed(STREAM[0] + broken + STREAM[3])) == TEXTS[:1]
    with pytest.raises(BrokenFramingError):
        parser.feed(b"")
    assert parser.finish() == []


def framed(length: int, head_length: int, rest: bytes = b"") -> bytes:
    prelude = struct.pack(">II", length, head_length)
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + rest
    return whole + struct.pack(">I", zlib.crc32(whole))


@pytest.mark.parametrize("length", [0, 1, 12, 15])
def test_a_message_shorter_than_its_frame_is_broken(length):
    with pytest.raises(BrokenFramingError):
        AwsEventParser().feed(framed(length, 0))


@pytest.mark.parametrize(
    "head",
    [
        b"\x05:nam",  # the name ends early
        b"\x01a\x63",  # no such type
        b"\x01a\x07\x00\x01\xff",  # a string that is no Unicode
        b"\x01a\x00\x01a\x00",  # one name twice
    ],
)
def test_headers_that_are_none_are_broken_framing(head):
    with pytest.raises(BrokenFramingError):
        AwsEventParser().feed(framed(16 + len(head), len(head), head))


def test_headers_longer_than_the_message_are_broken_framing():
    with pytest.raises(BrokenFramingError):
        AwsEventParser().feed(framed(20, 400, b"abcd"))


def test_a_message_beyond_the_bound_is_too_long_before_it_came():
    with pytest.raises(EventTooLongError):
        AwsEventParser().feed(framed(EVENT_BYTES_MAX + 1, 0)[:12])


def test_a_large_message_in_small_pieces_costs_no_time():
    frame = event("contentBlockDelta", json.dumps({"delta": {"text": "x" * 2_000_000}}))
    parser = AwsEventParser()
    found: list[bytes] = []
    for start in range(0, len(frame), 100):
        found += parser.feed(frame[start : start + 100])
    assert len(found) == 1


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_random_bytes_are_read_or_broken(pieces):
    parser = AwsEventParser()
    try:
        for piece in pieces:
            parser.feed(piece)
        parser.finish()
    except (BrokenFramingError, EventTooLongError):
        pass


@given(st.data())
def test_a_mutated_stream_is_read_or_broken(data):
    whole = bytearray(b"".join(STREAM))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    parser = AwsEventParser()
    try:
        parser.feed(bytes(whole[:40]))
        parser.feed(bytes(whole[40:]))
        parser.feed(b"")
        parser.finish()
    except (BrokenFramingError, EventTooLongError):
        pass
