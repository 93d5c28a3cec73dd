from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.providers import sse
from omni_grpc.providers.sse import EventTooLongError, SseParser


def parse(*pieces: bytes) -> list[bytes]:
    parser = SseParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.finish()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b"data: \n\n", [b""]),
        (b": hello\n\ndata: a\n\n: bye\n\n", [b"a"]),
        (b": hello\ndata: a\n: bye\n\n", [b"a"]),
        (b"event: x\nid: 7\nretry: 3\ndata: a\n\n", [b"a"]),
        (b"data: a\nevent: x\n\n", [b"a"]),
        (b"datum: a\n\ndatabase\n\n data: b\n\n", []),
        (b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: \xef\xbb\xbf\n\n", [b"\xef\xbb\xbf"]),
        (b"data: a\n\ndata: b", [b"a", b"b"]),
        (b"data: a\n\ndata: b\n", [b"a", b"b"]),
        (b"data: a\n\ndata: b\r", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b"", []),
        (b"garbage without end", []),
    ],
)
def test_events_are_the_same_however_they_are_cut(stream, events):
    assert parse(stream) == events
    assert parse(*(stream[at : at + 1] for at in range(len(stream)))) == events
    for at in range(len(stream)):
        assert parse(stream[:at], stream[at:]) == events


LINES = st.sampled_from(
    [
        b"data: {}",
        b"data:x",
        b"data",
        b": ping",
        b"event: e",
        b"",
        b"",
        b"",
        b"data: \xc3\xa4",
        b"z",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=30), st.lists(st.integers(0, 300), max_size=12))
def test_random_streams_are_the_same_at_random_cuts(lines, cuts):
    stream = b"".join(line + end for line, end in lines)
    bounds = [0, *sorted(cut for cut in cuts if cut <= len(stream)), len(stream)]
    pieces = [stream[low:high] for low, high in pairwise(bounds)]
    assert parse(*pieces) == parse(stream)


def test_an_event_is_given_as_soon_as_it_is_whole():
    parser = SseParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [b"a"]
    assert parser.feed(b"data: b\n\nda") == [b"b"]
    assert parser.feed(b"ta: c\n\n") == [b"c"]


@pytest.mark.parametrize("line", [b"data: ", b": ", b"data: x\n"])
def test_an_event_without_end_is_refused_at_the_bound(monkeypatch, line):
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 10_000)
    pieces = [line, *[b"x" if line.endswith(b" ") else line] * 20_000]
    with pytest.raises(EventTooLongError):
        parse(*pieces)


def test_many_events_are_not_one_long_one(monkeypatch):
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 100)
    parser = SseParser()
    assert len(parser.feed(b"data: 0123456789\n\n" * 20 + b"da")) == 20
    assert len(parser.feed(b"ta: 0123456789\n\n" * 20)) == 1
