import asyncio
import random
import time

import pytest
from raw_provider import (
    HEAD_STREAM,
    LAST_CHUNK,
    Peer,
    answer,
    chunk,
    delta,
    plain,
    story,
    until,
)

from omni_grpc.core.chat import ChatDelta, Message
from omni_grpc.providers import ProviderAnswer, ProviderCompletion, ProviderStream

MOMENT_S = 2.0
"""Far longer than a close takes, and far shorter than any timeout in play."""


async def hangs(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def begins(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD_STREAM + chunk(delta(content="a")))
    await peer.gone()


def counting(sent: list[int], pause_s: float = 0.001):
    """A script: a token a millisecond, counted as it is written, until the client goes."""

    async def script(peer: Peer) -> None:
        if await peer.request() is None:
            return
        gone = asyncio.ensure_future(peer.gone())
        sent.append(0)
        peer.writer.write(HEAD_STREAM)
        while not gone.done() and sent[-1] < 2_000:
            peer.writer.write(chunk(delta(content="t")))
            sent[-1] += 1
            await asyncio.wait({gone}, timeout=pause_s)
        gone.cancel()

    return script


def text_of(deltas: tuple[ChatDelta, ...]) -> str:
    return "".join(piece.text for piece in deltas)


async def read_until_cancelled(stream: ProviderStream, texts: list[str]) -> None:
    """What completion does: read, and when the caller has gone, take what was sent."""
    try:
        await stream
        async for deltas in stream:  # not a comprehension: what came is kept when it is cancelled
            texts += [text_of(deltas)]
    except asyncio.CancelledError:
        texts.append(text_of(await stream.cancel()))
        raise


# --- before the answer ----------------------------------------------------------------------------
@pytest.mark.parametrize("streamed", [True, False])
async def test_cancelling_before_the_headers_closes_at_once(start, call, dispatched, streamed):
    provider, raw = await start(hangs)

    async def run() -> None:
        if streamed:
            await provider.open_stream(call(), dispatched)
        else:
            await provider.complete(call(), dispatched)

    task = asyncio.ensure_future(run())
    await until(lambda: raw.requests)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: raw.peers[0].gone_at)
    assert raw.peers[0].gone_at - began < MOMENT_S
    assert dispatched.count == 1


async def test_an_opening_that_was_cancelled_and_left_alone_closes_its_connection(
    start, call, dispatched, impatient
):
    async def ignores_the_half_close(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        await peer.send(HEAD_STREAM)
        while not peer.writer.is_closing():
            await peer.send(chunk(delta(content="a" * 100)))
            await asyncio.sleep(0.001)

    provider, raw = await start(ignores_the_half_close)
    stream = provider.open_stream(call(), dispatched)

    async def run() -> None:
        await stream

    opening = asyncio.ensure_future(run())
    await until(lambda: raw.requests)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(raw.peers[0].writer.is_closing)


async def test_cancelling_while_connecting_sends_nothing(connect, call, dispatched, silent_port):
    provider = await connect(silent_port)
    stream = provider.open_stream(call(), dispatched)

    async def run() -> None:
        await stream

    task = asyncio.ensure_future(run())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await stream.cancel() == ()
    assert dispatched.count == 0


async def test_cancelling_in_the_middle_of_a_large_request_stops_it(start, call, dispatched):
    received = 0

    async def reads_slowly(peer: Peer) -> None:
        nonlocal received
        while data := await peer.reader.read(4096):
            received += len(data)
            await asyncio.sleep(0.002)
        await peer.gone()

    provider, raw = await start(reads_slowly)
    request = call(messages=(Message(role="user", content="x" * 9_000_000),))
    stream = provider.open_stream(request, dispatched)

    async def run() -> None:
        await stream

    task = asyncio.ensure_future(run())
    await until(lambda: received)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await stream.cancel() == ()
    assert dispatched.count == 1
    raw.peers[0].reset()
    assert received < 9_000_000


async def test_a_stream_that_was_never_opened_can_be_ended(start, call, dispatched):
    provider, raw = await start(hangs)
    stream = provider.open_stream(call(), dispatched)
    with pytest.raises(RuntimeError, match="awaited before"):
        await anext(stream)
    assert await stream.cancel() == ()
    await stream.aclose()
    assert not raw.peers


# --- in the middle of a stream --------------------------------------------------------------------
@pytest.mark.parametrize("way", ["aclose", "cancel"])
async def test_ending_a_stream_early_closes_its_connection_at_once(start, call, dispatched, way):
    provider, raw = await start(begins)
    stream = await provider.open_stream(call(), dispatched)
    await anext(stream)
    began = time.monotonic()
    await getattr(stream, way)()
    await until(lambda: raw.peers[0].gone_at)
    assert raw.peers[0].gone_at - began < MOMENT_S
    assert not stream.ended
    assert [deltas async for deltas in stream] == []
    await getattr(stream, way)()


async def test_a_cancelled_stream_tells_every_token_that_was_sent(start, call, dispatched):
    sent: list[int] = []
    provider, _ = await start(counting(sent))
    chance = random.Random(4)
    for turn in range(100):
        texts: list[str] = []
        stream = provider.open_stream(call(), dispatched)
        task = asyncio.ensure_future(read_until_cancelled(stream, texts))
        await until(lambda turn=turn: len(sent) > turn)
        await asyncio.sleep(chance.random() * 0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len("".join(texts)) == sent[turn]
    assert sum(sent) > 100


async def test_a_stream_cancelled_while_it_opens_tells_every_token_that_was_sent(
    start, call, dispatched
):
    sent: list[int] = []
    provider, raw = await start(counting(sent, 0.0001))
    chance = random.Random(5)
    told_unopened = turns = 0
    while turns < 100 or (told_unopened == 0 and turns < 3_000):
        turns += 1
        texts: list[str] = []
        began = sum(sent)
        stream = provider.open_stream(call(), dispatched)
        task = asyncio.ensure_future(read_until_cancelled(stream, texts))
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        opened = stream._response is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: all(peer.writer.is_closing() for peer in raw.peers))
        written = sum(sent) - began
        assert len("".join(texts)) == written
        told_unopened += bool(written and not opened)
    assert told_unopened  # the case that this test is about came up


async def test_what_waits_unread_is_told_by_cancel(start, call, dispatched):
    was_read, was_sent = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await was_read.wait()
        await peer.send(chunk(delta(content="b")) + chunk(delta(content="c")))
        was_sent.set()
        await peer.gone()
        await peer.send(chunk(delta(content="d")))

    provider, _ = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    assert text_of(await anext(stream)) == "a"
    was_read.set()
    await was_sent.wait()
    await asyncio.sleep(0.05)  # it comes into our buffers, or is read from the socket
    assert text_of(await stream.cancel()) == "bcd"
    assert not stream.ended


async def test_a_stream_that_ended_meanwhile_is_whole_after_cancel(start, call, dispatched):
    was_read, was_sent = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await was_read.wait()
        await peer.send(chunk(story("b")) + LAST_CHUNK)
        was_sent.set()
        await peer.gone()

    provider, _ = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    await anext(stream)
    was_read.set()
    await was_sent.wait()
    await asyncio.sleep(0.05)
    assert text_of(await stream.cancel()) == "b"
    assert stream.ended
    assert stream.usage is not None


async def test_a_provider_that_goes_on_after_the_half_close_is_cut_off(
    start, call, dispatched, impatient
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM)
        while not peer.writer.is_closing():
            await peer.send(chunk(delta(content="a")))
            await asyncio.sleep(0.005)

    provider, raw = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    await anext(stream)
    assert len(text_of(await stream.cancel())) > 1
    await until(raw.peers[0].writer.is_closing)


async def test_a_cancel_that_is_cancelled_closes_the_connection(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await peer.gone()
        while not peer.writer.is_closing():
            await peer.send(chunk(b": \n\n"))
            await asyncio.sleep(0.005)

    provider, raw = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    await anext(stream)
    task = asyncio.ensure_future(stream.cancel())
    await until(lambda: raw.peers[0].gone_at)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(raw.peers[0].writer.is_closing)


async def test_closing_a_stream_that_ended_leaves_its_connection_to_the_next_call(
    start, call, dispatched
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(story("a")) + LAST_CHUNK)
        await peer.request()
        await asyncio.sleep(0.03)
        await peer.send(plain(answer()))

    provider, raw = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    assert [deltas async for deltas in stream]
    running = asyncio.ensure_future(provider.complete(call(), dispatched))
    await until(lambda: dispatched.count == 2)
    await stream.aclose()
    await stream.cancel()
    assert await running
    assert len(raw.peers) == 1


async def test_leaving_a_stream_that_waits_whole_unread_leaves_its_connection_to_the_next_call(
    start, call, dispatched
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(story("left")) + LAST_CHUNK)
        await peer.request()
        await asyncio.sleep(0.05)
        await peer.send(plain(answer()))

    provider, raw = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    await until(lambda: stream._response.connection is None)  # its end came, and nobody read it
    running = asyncio.ensure_future(_awaited(provider.complete(call(), dispatched)))
    await until(lambda: len(raw.requests) == 2)
    assert text_of(await stream.cancel()) == "left"
    assert await running
    assert len(raw.peers) == 1


async def test_a_connection_that_we_closed_by_half_serves_no_other_call(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        if len(raw.peers) > 1:
            await peer.send(plain(answer()))
            return
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await peer.gone()
        await peer.send(chunk(story("b")) + LAST_CHUNK)
        await asyncio.sleep(10)  # it keeps its own half open

    provider, raw = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    await anext(stream)
    assert text_of(await stream.cancel()) == "b"
    assert await provider.complete(call(), dispatched)
    assert len(raw.peers) == 2


# --- plain answers --------------------------------------------------------------------------------
async def test_a_plain_answer_that_comes_while_it_is_left_is_told_by_cancel(
    start, call, dispatched
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        await peer.send(plain(answer()))

    provider, raw = await start(script)
    asked = provider.complete(call(), dispatched)
    running = asyncio.ensure_future(_awaited(asked))
    await until(lambda: raw.requests)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    found = await asked.cancel()
    assert found is not None
    assert found.usage is not None
    await until(raw.peers[0].writer.is_closing)


async def test_a_plain_answer_that_was_there_already_is_told_and_its_connection_stays(
    start, call, dispatched
):
    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(plain(answer()))

    provider, raw = await start(script)
    asked = provider.complete(call(), dispatched)
    running = asyncio.ensure_future(_awaited(asked))
    while asked._exchange.found is None:  # the caller's own wait is over a moment later
        await asyncio.sleep(0)
    assert running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asked.cancel() == await provider.complete(call(), dispatched)
    assert len(raw.peers) == 1


async def test_a_plain_answer_that_does_not_come_is_not_awaited_long(start, call, dispatched):
    provider, raw = await start(hangs)
    asked = provider.complete(call(), dispatched)
    assert await asked.cancel() is None  # before it was sent
    asked = provider.complete(call(), dispatched)
    running = asyncio.ensure_future(_awaited(asked))
    await until(lambda: raw.requests)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asked.cancel() is None
    await until(lambda: raw.peers[0].gone_at)


async def _awaited(asked: ProviderAnswer) -> ProviderCompletion:
    return await asked
