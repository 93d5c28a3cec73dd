"""A process that stood still: what came meanwhile lies unread when its timers run, and is not late.

The loop is blocked past the times in play while the provider's bytes are in the socket already, so
nothing here depends on how fast the machine is.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from raw_provider import (
    HEAD_STREAM,
    LAST_CHUNK,
    Peer,
    RawProvider,
    answer,
    chunk,
    delta,
    plain,
    story,
    until,
)

from omni_grpc.core.chat import ChatDelta
from omni_grpc.providers import ProviderStream, TimedOut, Timeouts

TIME_S = 0.4
"""What a wait may take here: enough for a slow machine to begin in."""

STALL_S = 2 * TIME_S


def text_of(deltas: tuple[ChatDelta, ...]) -> str:
    return "".join(piece.text for piece in deltas)


async def read_until_cancelled(stream: ProviderStream, texts: list[str]) -> None:
    try:
        async for deltas in stream:  # not a comprehension: what came is kept when it is cancelled
            texts += [text_of(deltas)]
    finally:
        texts.append(text_of(await stream.cancel()))


def stand_still() -> None:
    time.sleep(STALL_S)


def stalls(peer: Peer, data: bytes) -> None:
    """The provider has written, and this process stands still before it could read that."""
    sock = peer.writer.get_extra_info("socket")
    assert os.write(sock.fileno(), data) == len(data)  # a transport might write it later
    stand_still()


def begins(*then: Callable[[Peer], Awaitable[None]]) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await peer.gone()
        for step in then:
            await step(peer)

    return script


async def goes_on(peer: Peer) -> None:
    """As a provider that had written this before it heard that we left."""
    await peer.send(chunk(delta(content="c")))


async def test_a_stream_whose_times_are_all_over_tells_what_was_sent(start, call, dispatched):
    provider, raw = await start(begins(goes_on))
    stream = await provider.open_stream(call(seconds_left=TIME_S), dispatched)
    texts = [text_of(await anext(stream))]
    reading = asyncio.ensure_future(read_until_cancelled(stream, texts))
    # The call's own time is over a little before its provider's: after the stall both are.
    asyncio.get_running_loop().call_later(TIME_S / 2, reading.cancel)
    await asyncio.sleep(0)
    stalls(raw.peers[0], chunk(delta(content="b")))
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert "".join(texts) == "abc"


async def test_a_stream_that_was_told_late_can_still_be_stopped(start, call, dispatched):
    provider, _ = await start(begins(goes_on))
    stream = await provider.open_stream(call(seconds_left=TIME_S), dispatched)
    assert text_of(await anext(stream)) == "a"
    await until(lambda: stream._late)  # nobody was reading
    assert text_of(await stream.cancel()) == "c"


async def test_a_plain_answer_that_came_in_a_stall_is_not_late(start, call, dispatched):
    async def hangs(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    provider, raw = await start(hangs)

    async def run() -> None:
        found = await provider.complete(call(seconds_left=TIME_S), dispatched)
        assert found.usage is not None

    running = asyncio.ensure_future(run())
    await until(lambda: raw.requests)
    stalls(raw.peers[0], plain(answer()))
    await running


async def test_silence_is_late_after_a_stall_too(start, call, dispatched):
    provider, _ = await start(begins(), Timeouts(between_bytes_s=TIME_S))
    stream = await provider.open_stream(call(), dispatched)
    await anext(stream)
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    stand_still()
    with pytest.raises(TimedOut):
        await reading


# --- a process that is stopped by a signal --------------------------------------------------------
CLIENT = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from provider_calls import Dispatched, make_call, make_spec, KEY
from pydantic import SecretStr
from omni_grpc.providers import Providers, ProviderFault, ProviderSettings, Timeouts

async def main():
    url, way, time_s = sys.argv[2:5]
    settings = {"p": ProviderSettings(base_url=url, api_key=SecretStr(KEY))}
    times = Timeouts(between_bytes_s=float(time_s))
    providers = Providers(settings, specs=(make_spec(times),))
    await providers.open()
    stream = await providers.get("p").open_stream(make_call(), Dispatched())
    texts = list(await anext(stream))
    try:
        if way == "cancelled":
            texts += await stream.cancel()
        else:
            async for deltas in stream:
                texts += deltas
    except ProviderFault as fault:
        print(fault)
    print("".join(delta.text for delta in texts), stream.ended)
    await providers.close()

if sys.argv[5] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["read", "cancelled"])
async def test_what_came_while_the_process_was_stopped_is_told(way):
    """Its wait for sockets ends without a look at them, and its timers run first."""
    clients: list[asyncio.subprocess.Process] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        await (peer.gone() if way == "cancelled" else asyncio.sleep(TIME_S / 2))
        clients[0].send_signal(signal.SIGSTOP)
        stalls(peer, chunk(story("b")) + LAST_CHUNK)
        clients[0].send_signal(signal.SIGCONT)
        await peer.gone()

    async with RawProvider(script) as raw:
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        place = str(Path(__file__).parent)
        clients.append(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", CLIENT, place, raw.url, way, str(TIME_S), loop),
                stdout=subprocess.PIPE,
            )
        )
        told, _ = await asyncio.wait_for(clients[0].communicate(), 20)
    assert told == b"ab True\n"
