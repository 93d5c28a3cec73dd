import asyncio
import itertools

import pytest
from raw_provider import HEAD_STREAM, LAST_CHUNK, Peer, answer, chunk, delta, plain, status, story

from omni_grpc.providers import (
    Overloaded,
    RateLimited,
    Rejected,
    Truncated,
    Unreachable,
)
from omni_grpc.providers.errors import TimedOut
from omni_grpc.providers.retries import Retries

SOON = Retries(count_max=2, first_s=0.001, pause_s_max=0.002)


def in_turn(*replies: bytes | None):
    """A script of all connections together: one reply a request, None resets the connection."""
    left = iter(replies)

    async def script(peer: Peer) -> None:
        while await peer.request() is not None:
            reply = next(left)
            if reply is None:
                peer.reset()
                return
            await peer.send(reply)

    return script


async def ask(provider, call, dispatched, *, streamed: bool) -> None:
    if streamed:
        stream = await provider.open_stream(call, dispatched)
        assert [deltas async for deltas in stream]
    else:
        assert (await provider.complete(call, dispatched)).choices


STREAM = HEAD_STREAM + chunk(story("a")) + LAST_CHUNK


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("code", [408, 409, 425, 429, 500, 502, 503, 529])
async def test_what_may_pass_is_asked_again_until_it_answers(
    start, call, dispatched, code, streamed
):
    reply = STREAM if streamed else plain(answer())
    script = in_turn(status(code, b"{}"), status(code, b"{}"), reply)
    provider, raw = await start(script, retries=SOON)
    await ask(provider, call(retries=True), dispatched, streamed=streamed)
    assert len(raw.requests) == 3
    assert len({request.body for request in raw.requests}) == 1
    assert dispatched.count == 1  # one attempt in the books


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_lost_connection_is_asked_again_where_nobody_bills_it(
    start, call, dispatched, streamed
):
    reply = STREAM if streamed else plain(answer())
    provider, raw = await start(in_turn(None, reply), retries=SOON)
    await ask(provider, call(retries=True), dispatched, streamed=streamed)
    assert len(raw.requests) == 2


async def test_a_lost_connection_is_not_asked_again_where_it_may_be_billed(start, call, dispatched):
    script = in_turn(None, plain(answer()))
    provider, raw = await start(script, retries=SOON, bills_after_cancel=True)
    with pytest.raises(Unreachable):
        await provider.complete(call(retries=True), dispatched)
    assert len(raw.requests) == 1


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422])
async def test_what_will_not_pass_is_asked_once(start, call, dispatched, code):
    provider, raw = await start(in_turn(status(code, b"{}"), plain(answer())), retries=SOON)
    with pytest.raises(Exception, match="p: "):
        await provider.complete(call(retries=True), dispatched)
    assert len(raw.requests) == 1


async def test_it_ends_with_the_last_fault_after_as_many_tries_as_are_set(start, call, dispatched):
    script = in_turn(*[status(503, b"{}")] * 2, status(500, b'{"error":{"message":"the last"}}'))
    provider, raw = await start(script, retries=SOON)
    with pytest.raises(Overloaded, match="the last"):
        await provider.complete(call(retries=True), dispatched)
    assert len(raw.requests) == 3


@pytest.mark.parametrize(("retries", "asked"), [(Retries(count_max=0), True), (SOON, False)])
async def test_it_is_asked_once_where_that_is_set_or_another_provider_comes_next(
    start, call, dispatched, retries, asked
):
    provider, raw = await start(in_turn(status(503, b"{}"), plain(answer())), retries=retries)
    with pytest.raises(Overloaded):
        await provider.complete(call(retries=asked), dispatched)
    assert len(raw.requests) == 1


async def test_the_providers_own_advice_is_waited_for(start, call, dispatched):
    script = in_turn(status(429, b"{}", "retry-after-ms: 120"), plain(answer()))
    provider, raw = await start(script, retries=SOON)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await provider.complete(call(retries=True), dispatched)
    assert loop.time() - began > 0.1  # it was advised to wait 0.12 s
    assert len(raw.requests) == 2


@pytest.mark.parametrize(("advice", "seconds_left"), [("3600", 30.0), ("2", 1.0)])
async def test_advice_that_is_too_long_for_the_call_ends_it_at_once(
    start, call, dispatched, advice, seconds_left
):
    script = in_turn(status(429, b"{}", f"retry-after: {advice}"), plain(answer()))
    provider, raw = await start(script, retries=SOON)
    with pytest.raises(RateLimited) as caught:
        await provider.complete(call(retries=True, seconds_left=seconds_left), dispatched)
    assert caught.value.retry_after_s == float(advice)
    assert len(raw.requests) == 1


async def test_what_has_begun_to_answer_is_never_asked_again(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(delta(content="a")))
        peer.writer.close()

    provider, raw = await start(script, retries=SOON)
    stream = await provider.open_stream(call(retries=True), dispatched)
    with pytest.raises(Truncated):
        async for _ in stream:
            pass
    assert len(raw.requests) == 1


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_call_that_is_left_in_a_pause_was_refused_and_is_not_sent_again(
    start, call, dispatched, streamed
):
    script = in_turn(status(429, b"{}", "retry-after: 10"), plain(answer()))
    provider, raw = await start(script, retries=SOON)
    asked = call(retries=True)
    one = (provider.open_stream if streamed else provider.complete)(asked, dispatched)

    async def run() -> None:
        await one

    task = asyncio.ensure_future(run())
    for _ in itertools.count():
        exchange = one._opening if streamed else one._exchange
        if exchange.dispatch.refused is not None:
            break
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(RateLimited):
        await one.cancel()
    assert len(raw.requests) == 1


def test_pauses_double_are_spread_and_stay_in_the_calls_time():
    retries = Retries(count_max=9, first_s=0.5, pause_s_max=8.0)
    fault = Overloaded("p", "p: it failed", dispatched=True)
    for tries in range(9):
        most = min(8.0, 0.5 * 2**tries)
        found = [retries.pause_s(fault, tries, 60.0, bills_on=True) for _ in range(200)]
        assert all(one is not None and 0 <= one <= most for one in found)
        assert max(found) > most / 2 > min(found)
    assert retries.pause_s(fault, 9, 60.0, bills_on=True) is None
    assert retries.pause_s(fault, 0, 0.01, bills_on=True) is None
    connecting = TimedOut("p", "p: late", wait="connect", dispatched=False)
    assert retries.pause_s(connecting, 0, 60.0, bills_on=True) is not None
    late = TimedOut("p", "p: late", wait="first_byte", dispatched=True)
    assert retries.pause_s(late, 0, 60.0, bills_on=False) is None
    refused = Rejected("p", "p: no", dispatched=True)
    assert retries.pause_s(refused, 0, 60.0, bills_on=False) is None
