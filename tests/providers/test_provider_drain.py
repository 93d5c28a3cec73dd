"""Reading on for a caller who left, where cancelling does not stop the provider's bill."""

import asyncio

import pytest
from raw_provider import (
    HEAD_STREAM,
    LAST_CHUNK,
    Peer,
    answer,
    chunk,
    delta,
    plain,
    status,
    story,
    until,
)

from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.providers import Overloaded, ProviderStream, Truncated


async def cancelled(stream: ProviderStream, texts: list[str], when) -> None:
    """Opens and reads a stream until a condition holds, and is cancelled then."""

    async def read() -> None:
        await stream
        async for deltas in stream:
            texts.extend(piece.text for piece in deltas)

    task = asyncio.ensure_future(read())
    await until(when)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def drained(stream: ProviderStream) -> str:
    return "".join([piece.text async for deltas in stream.drain() for piece in deltas])


async def test_a_stream_is_read_on_from_where_it_was_left(start, call, dispatched):
    was_left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await was_left.wait()
        await peer.send(chunk(delta(content="b")))
        await asyncio.sleep(0.05)
        await peer.send(chunk(story("c")) + LAST_CHUNK)
        await peer.gone()

    provider, raw = await start(script, bills_after_cancel=True)
    stream = provider.open_stream(call(), dispatched)
    texts: list[str] = []
    await cancelled(stream, texts, lambda: texts)
    was_left.set()
    assert await drained(stream) == "bc"
    assert stream.ended
    assert stream.usage is not None
    assert await stream.cancel() == ()
    assert len(raw.requests) == dispatched.count == 1


async def test_an_opening_that_was_left_goes_on(start, call, dispatched, impatient):
    was_left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await was_left.wait()
        await asyncio.sleep(0.4)  # longer than an opening is kept for nobody
        await peer.send(HEAD_STREAM + chunk(story("a", "b")) + LAST_CHUNK)
        await peer.gone()

    provider, raw = await start(script, bills_after_cancel=True)
    stream = provider.open_stream(call(), dispatched)
    await cancelled(stream, [], lambda: raw.requests)
    was_left.set()
    assert await drained(stream) == "ab"
    assert stream.ended


async def test_an_opening_that_was_left_and_nobody_takes_up_is_closed(
    start, call, dispatched, impatient
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    provider, raw = await start(script, bills_after_cancel=True)
    stream = provider.open_stream(call(), dispatched)
    await cancelled(stream, [], lambda: raw.requests)
    await until(lambda: raw.peers[0].gone_at)


async def test_what_was_left_before_it_was_sent_is_never_sent(
    connect, call, dispatched, silent_port
):
    provider = await connect(silent_port, bills_after_cancel=True)
    stream = provider.open_stream(call(), dispatched)
    await cancelled(stream, [], lambda: stream._opening is not None)
    assert await stream.cancel() == ()
    assert dispatched.count == 0


async def test_a_drain_that_is_cancelled_leaves_the_stream_to_be_stopped(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await peer.gone()
        await peer.send(chunk(delta(content="z")))

    provider, raw = await start(script, bills_after_cancel=True)
    stream = provider.open_stream(call(), dispatched)
    texts: list[str] = []
    await cancelled(stream, texts, lambda: texts)
    reading = asyncio.ensure_future(drained(stream))
    await asyncio.sleep(0.05)
    assert not raw.peers[0].gone_at
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    (last,) = await stream.cancel()
    assert last.text == "z"
    await until(lambda: raw.peers[0].gone_at)


async def test_a_drain_that_is_cancelled_while_opening_leaves_nothing_open(
    start, call, dispatched, impatient
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    provider, raw = await start(script, bills_after_cancel=True)
    stream = provider.open_stream(call(), dispatched)
    await cancelled(stream, [], lambda: raw.requests)
    reading = asyncio.ensure_future(drained(stream))
    await asyncio.sleep(0.4)
    assert not raw.peers[0].gone_at
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await stream.cancel() == ()
    await until(lambda: raw.peers[0].gone_at)


async def test_a_refusal_is_found_by_whoever_reads_on(start, call, dispatched):
    was_left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await was_left.wait()
        await peer.send(status(503))
        await peer.gone()

    provider, raw = await start(script, bills_after_cancel=True)
    stream = provider.open_stream(call(), dispatched)
    await cancelled(stream, [], lambda: raw.requests)
    was_left.set()
    with pytest.raises(Overloaded):
        await drained(stream)
    assert await stream.cancel() == ()


async def test_an_answer_that_breaks_off_says_so_to_whoever_reads_on(start, call, dispatched):
    was_left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await was_left.wait()
        await peer.send(chunk(delta(content="b")))

    provider, _ = await start(script, bills_after_cancel=True)
    stream = provider.open_stream(call(), dispatched)
    texts: list[str] = []
    await cancelled(stream, texts, lambda: texts)
    was_left.set()
    rest = stream.drain()
    assert [piece.text for piece in await anext(rest)] == ["b"]
    with pytest.raises(Truncated):
        await anext(rest)


# --- what may not be sent -------------------------------------------------------------------------
@pytest.mark.parametrize("streamed", [True, False])
async def test_nothing_is_sent_where_whoever_is_told_of_it_refuses(start, call, streamed):
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(plain(answer()))

    def refuses() -> None:
        raise LedgerUnavailable("The journal is full.")

    provider, raw = await start(script)

    async def ask() -> None:
        if streamed:
            await provider.open_stream(call(), refuses)
        else:
            await provider.complete(call(), refuses)

    for _ in range(3):
        with pytest.raises(LedgerUnavailable, match="journal is full"):
            await ask()
    await asyncio.sleep(0.02)
    assert not raw.requests
