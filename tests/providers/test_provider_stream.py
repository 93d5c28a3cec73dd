import asyncio

import pytest
from raw_provider import (
    DONE,
    HEAD_JSON,
    HEAD_STREAM,
    LAST_CHUNK,
    Peer,
    answer,
    chunk,
    delta,
    error,
    event,
    plain,
    story,
    until,
    usage,
)

from omni_grpc.core.chat import ChatDelta
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    Malformed,
    Overloaded,
    ProviderFault,
    RateLimited,
    StreamError,
    TimedOut,
    Timeouts,
    Truncated,
)

HEAD_UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def says(*pieces: bytes, reset: bool = False):
    """A script: writes the pieces as they are, then closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await peer.send(piece)
        if reset:
            await asyncio.sleep(0.01)
            peer.reset()

    return script


async def read(stream) -> tuple[list[ChatDelta], ProviderFault | None]:
    """All deltas, and the fault that ended the stream, if one did."""
    deltas: list[ChatDelta] = []
    try:
        async for batch in stream:
            assert batch
            deltas.extend(batch)
    except ProviderFault as fault:
        return deltas, fault
    return deltas, None


def text_of(deltas: list[ChatDelta]) -> str:
    return "".join(piece.text for piece in deltas)


# --- a right stream -----------------------------------------------------------------------------
async def test_a_stream_gives_its_deltas_and_then_its_facts(start, call, dispatched):
    provider, raw = await start(says(HEAD_STREAM, chunk(story("Hel", "lo")), LAST_CHUNK))
    stream = await provider.open_stream(call(), dispatched)
    assert not stream.ended
    deltas, fault = await read(stream)
    assert fault is None
    assert text_of(deltas) == "Hello"
    assert [piece.finish_reason for piece in deltas][-1] == "stop"
    assert stream.ended
    assert stream.usage == Usage(prompt=3, completion=2)
    assert stream.model == "m-1"
    body = raw.requests[0].json()
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert dispatched.count == 1


async def test_what_comes_in_one_read_is_one_delta(start, call, dispatched):
    body = story(*(f"w{number} " for number in range(500)))
    provider, _ = await start(says(HEAD_STREAM + chunk(body) + LAST_CHUNK))
    stream = await provider.open_stream(call(), dispatched)
    batches = [batch async for batch in stream]
    assert text_of([piece for batch in batches for piece in batch]) == "".join(
        f"w{number} " for number in range(500)
    )
    assert len(batches) <= 3
    assert all(len(batch) == 1 for batch in batches)


async def test_a_stream_that_ends_with_its_connection_is_whole(start, call, dispatched):
    provider, _ = await start(says(HEAD_UNTIL_CLOSE + story("a")))
    stream = await provider.open_stream(call(), dispatched)
    assert text_of((await read(stream))[0]) == "a"
    assert stream.ended


async def test_iterating_on_after_the_end_ends_at_once(start, call, dispatched):
    provider, _ = await start(says(HEAD_STREAM, chunk(story("a")), LAST_CHUNK))
    stream = await provider.open_stream(call(), dispatched)
    await read(stream)
    assert await read(stream) == ([], None)
    assert await stream.cancel() == ()
    await stream.aclose()


async def test_a_stream_is_sent_once_however_often_it_is_awaited(start, call, dispatched):
    provider, raw = await start(says(HEAD_STREAM, chunk(story("a")), LAST_CHUNK))
    stream = await provider.open_stream(call(), dispatched)
    with pytest.raises(RuntimeError, match="awaited once"):
        await stream
    await read(stream)
    with pytest.raises(RuntimeError, match="awaited once"):
        await stream
    assert len(raw.requests) == 1


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(usage(), id="usage_and_no_done"),
        pytest.param(usage() + b"data: [DONE]", id="done_without_line_end"),
        pytest.param(usage() + b"data: [DONE]\n", id="done_without_blank_line"),
        pytest.param(usage().rstrip(b"\n"), id="usage_without_line_end"),
        pytest.param(DONE, id="done_and_no_usage"),
    ],
)
@pytest.mark.parametrize("cut", [True, False])
async def test_the_end_is_believed_once_nothing_can_be_missing(start, call, dispatched, end, cut):
    body = delta(content="a") + delta(finish="stop") + end
    provider, _ = await start(says(HEAD_STREAM, chunk(body), b"" if cut else LAST_CHUNK))
    stream = await provider.open_stream(call(), dispatched)
    deltas, fault = await read(stream)
    assert fault is None
    assert text_of(deltas) == "a"
    assert stream.ended
    assert (stream.usage is None) == (b"usage" not in end)


# --- a stream that is cut -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(DONE, "", id="done_alone"),
        pytest.param(delta(content="a"), "a", id="no_finish"),
        pytest.param(delta(content="a") + DONE, "a", id="done_without_finish"),
        pytest.param(delta(content="a") + usage(), "a", id="usage_without_finish"),
        pytest.param(delta(content="a") + delta(finish="stop"), "a", id="finish_alone"),
        pytest.param(
            delta(content="a") + delta(1, content="b") + delta(finish="stop") + DONE,
            "ab",
            id="one_of_two_choices_unfinished",
        ),
        pytest.param(delta(content="a") + delta(content="b")[:-20], "a", id="half_an_event"),
    ],
)
@pytest.mark.parametrize("way", ["clean", "closed", "reset"])
async def test_a_stream_without_its_end_is_truncated(start, call, dispatched, body, text, way):
    script = says(
        HEAD_STREAM,
        chunk(body) if body else b"",
        LAST_CHUNK if way == "clean" else b"",
        reset=way == "reset",
    )
    provider, _ = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    deltas, fault = await read(stream)
    assert isinstance(fault, Truncated)
    assert fault.dispatched is True
    assert not stream.ended
    assert text_of(deltas) == text


async def test_a_stream_cut_inside_an_http_chunk_is_truncated(start, call, dispatched):
    whole = chunk(delta(content="a") + delta(content="b"))
    provider, _ = await start(says(HEAD_STREAM, whole[:-30]))
    stream = await provider.open_stream(call(), dispatched)
    deltas, fault = await read(stream)
    assert text_of(deltas) == "a"
    assert isinstance(fault, Truncated)


async def test_what_came_before_a_cut_is_read_by_a_reader_who_comes_late(start, call, dispatched):
    provider, raw = await start(says(HEAD_STREAM, chunk(delta(content="a") * 50)))
    stream = await provider.open_stream(call(), dispatched)
    await until(raw.peers[0].writer.is_closing)
    await asyncio.sleep(0.02)
    deltas, fault = await read(stream)
    assert text_of(deltas) == "a" * 50
    assert isinstance(fault, Truncated)


# --- a stream that goes wrong ---------------------------------------------------------------------
async def test_an_error_event_ends_the_stream_after_what_came_before(start, call, dispatched):
    body = delta(content="a") + event(error("Overloaded.", code="overloaded")) + delta(content="b")
    provider, _ = await start(says(HEAD_STREAM, chunk(body), LAST_CHUNK))
    stream = await provider.open_stream(call(), dispatched)
    deltas, fault = await read(stream)
    assert text_of(deltas) == "a"
    assert isinstance(fault, StreamError)
    assert (fault.provider_message, fault.code) == ("Overloaded.", "overloaded")
    assert not stream.ended
    assert await read(stream) == ([], None)


@pytest.mark.parametrize(
    "bad", [b"data: {oops\n\n", b"data: 17\n\n", b"data: [1]\n\n", b'data: {"choices":[7]}\n\n']
)
async def test_an_event_that_is_no_chunk_ends_the_stream(start, call, dispatched, bad):
    body = delta(content="a") + bad + delta(finish="stop") + usage() + DONE
    provider, _ = await start(says(HEAD_STREAM, chunk(body), LAST_CHUNK))
    stream = await provider.open_stream(call(), dispatched)
    deltas, fault = await read(stream)
    assert text_of(deltas) == "a"
    assert isinstance(fault, Malformed)


async def test_an_event_without_end_is_refused_at_the_bound(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")) + chunk(b"data: "))
        while not peer.writer.is_closing():
            await peer.send(chunk(b"x" * 60_000))

    provider, _ = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    deltas, fault = await read(stream)
    assert text_of(deltas) == "a"
    assert isinstance(fault, Malformed)


async def test_a_plain_error_with_a_status_of_success_is_a_fault(start, call, dispatched):
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(plain(error("slow down", code=429)))

    provider, _ = await start(script)
    with pytest.raises(RateLimited, match="slow down"):
        await provider.open_stream(call(), dispatched)
    with pytest.raises(RateLimited, match="slow down"):
        await provider.complete(call(), dispatched)


async def test_an_error_object_of_no_known_status_is_the_providers_failure(start, call, dispatched):
    provider, _ = await start(says(plain(error("broken", code="odd"))))
    with pytest.raises(Overloaded, match="broken"):
        await provider.complete(call(), dispatched)


async def test_a_plain_answer_to_a_streamed_request_is_malformed(start, call, dispatched):
    provider, _ = await start(says(plain(answer(), HEAD_JSON)))
    with pytest.raises(Malformed, match="plain JSON"):
        await provider.open_stream(call(), dispatched)


# --- waits --------------------------------------------------------------------------------------
async def falls_silent(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD_STREAM + chunk(delta(content="a")))
    await peer.gone()


async def test_silence_in_a_stream_times_out(start, call, dispatched):
    provider, raw = await start(falls_silent, Timeouts(between_bytes_s=0.05))
    stream = await provider.open_stream(call(), dispatched)
    deltas, fault = await read(stream)
    assert text_of(deltas) == "a"
    assert isinstance(fault, TimedOut)
    assert (fault.wait, fault.dispatched) == ("between_bytes", True)
    await until(lambda: raw.peers[0].gone_at)


async def test_a_stream_ends_with_the_callers_deadline(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM)
        while not peer.writer.is_closing():
            await peer.send(chunk(delta(content="a")))
            await asyncio.sleep(0.005)

    provider, _ = await start(script)
    stream = await provider.open_stream(call(seconds_left=0.5), dispatched)
    deltas, fault = await read(stream)
    assert len(text_of(deltas)) > 3
    assert isinstance(fault, TimedOut)
    assert fault.wait == "total"


async def test_a_slow_reader_is_not_the_providers_silence(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await asyncio.sleep(0.15)
        await peer.send(chunk(story("b")) + LAST_CHUNK)

    provider, _ = await start(script, Timeouts(between_bytes_s=0.1))
    stream = await provider.open_stream(call(), dispatched)
    first = await anext(stream)
    await asyncio.sleep(0.25)
    deltas, fault = await read(stream)
    assert fault is None
    assert text_of([*first, *deltas]) == "ab"


async def test_comments_keep_a_stream_alive(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM)
        for _ in range(20):
            await peer.send(chunk(b": thinking\n\n"))
            await asyncio.sleep(0.03)
        await peer.send(chunk(story("a")) + LAST_CHUNK)

    provider, _ = await start(script, Timeouts(between_bytes_s=0.5))
    stream = await provider.open_stream(call(), dispatched)
    deltas, fault = await read(stream)
    assert (text_of(deltas), fault) == ("a", None)


async def test_a_reader_who_stops_holds_the_provider_back(start, call, dispatched):
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(HEAD_STREAM)
        while sent < 64_000_000 and not peer.writer.is_closing():
            await peer.send(chunk(delta(content="a" * 10_000)))
            sent += 10_000

    provider, _ = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    await anext(stream)
    last = -1
    while sent != last:
        last = sent
        await asyncio.sleep(0.05)
    assert sent < 32_000_000
    await stream.aclose()
