import asyncio
import socket
import threading

import pytest
from raw_provider import (
    HEAD_JSON,
    HEAD_STREAM,
    LAST_CHUNK,
    Peer,
    RawProvider,
    answer,
    chunk,
    error,
    plain,
    status,
    story,
    until,
)

from omni_grpc.core.chat import Message
from omni_grpc.providers import (
    Malformed,
    Misconfigured,
    Overloaded,
    ProviderFault,
    RateLimited,
    Rejected,
    TimedOut,
    Timeouts,
    Truncated,
    Unreachable,
)


def replies(*answers: bytes):
    """A script: each request of the connection gets the next of the answers, then the end."""

    async def script(peer: Peer) -> None:
        for reply in answers:
            if await peer.request() is None:
                return
            await peer.send(reply)
        await peer.gone()

    return script


# --- what is sent -------------------------------------------------------------------------------
async def test_a_request_carries_the_key_the_call_id_and_asks_for_no_compression(
    start, call, dispatched
):
    provider, raw = await start(replies(plain(answer())))
    completion = await provider.complete(call(), dispatched)
    request = raw.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-test-0123456789abcdef"
    assert request.headers["x-client-request-id"] == "0198-call"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["content-type"] == "application/json"
    assert "cookie" not in request.headers
    assert request.json()["model"] == "m-1"
    assert completion.choices[0].answer.text == "Hello"
    assert dispatched.count == 1


async def test_a_large_request_is_sent_whole(start, call, dispatched):
    provider, raw = await start(replies(plain(answer())))
    text = "x" * 3_000_000
    await provider.complete(call(messages=(Message(role="user", content=text),)), dispatched)
    assert raw.requests[0].json()["messages"][0]["content"] == text
    assert dispatched.count == 1


async def test_the_dispatch_is_told_before_any_byte_arrives(start, call):
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain(answer()))

    provider, raw = await start(script)
    await provider.complete(call(), lambda: seen.append(len(raw.requests)))
    assert seen == [0]


# --- connections --------------------------------------------------------------------------------
async def test_calls_one_after_another_share_a_connection(start, call, dispatched):
    provider, raw = await start(replies(*[plain(answer())] * 3))
    for _ in range(3):
        await provider.complete(call(), dispatched)
    assert len(raw.peers) == 1


async def test_streams_one_after_another_share_a_connection(start, call, dispatched):
    body = HEAD_STREAM + chunk(story("a", "b")) + LAST_CHUNK
    provider, raw = await start(replies(body, body, plain(answer())))
    for _ in range(2):
        stream = await provider.open_stream(call(), dispatched)
        assert [delta async for deltas in stream for delta in deltas]
        assert stream.ended
        await stream.aclose()
    await provider.complete(call(), dispatched)
    assert len(raw.peers) == 1


async def test_a_stream_whose_body_ends_after_done_gives_its_connection_back(
    start, call, dispatched
):
    was_read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(story("a")))
        await was_read.wait()
        await peer.send(LAST_CHUNK)
        await peer.request()
        await peer.send(plain(answer()))
        await peer.gone()

    provider, raw = await start(script)
    stream = await provider.open_stream(call(), dispatched)
    response = stream._response
    assert [deltas async for deltas in stream]  # [DONE] is the end, nothing more is awaited
    was_read.set()
    await until(lambda: response.connection is None)
    await provider.complete(call(), dispatched)
    assert len(raw.peers) == 1


async def test_a_refused_call_gives_its_connection_back(start, call, dispatched):
    provider, raw = await start(replies(status(429, error("slow down")), plain(answer())))
    with pytest.raises(RateLimited):
        await provider.complete(call(), dispatched)
    await provider.complete(call(), dispatched)
    assert len(raw.peers) == 1


async def test_a_kept_connection_that_the_provider_closed_is_replaced_unseen(
    start, call, dispatched
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain(answer()))

    provider, raw = await start(script)
    for _ in range(5):
        await provider.complete(call(), dispatched)
        await until(raw.peers[-1].writer.is_closing)
    assert dispatched.count == 5
    assert [len(peer.requests) for peer in raw.peers] == [1] * 5


async def test_a_close_that_the_loop_has_not_heard_of_is_found_before_a_byte_is_sent(
    connect, call, dispatched
):
    # The provider lives in a thread and closes while this loop stands still, so that the pool
    # still believes in the connection when the next call takes it.
    may_close, closed = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(plain(answer()))
                may_close.wait(5)
            closed.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        provider = await connect(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        await provider.complete(call(), dispatched)
        may_close.set()
        closed.wait(5)
        completion = await provider.complete(call(), dispatched)
        assert completion.choices[0].answer.text == "Hello"
        assert dispatched.count == 2


async def test_a_kept_connection_that_dies_under_a_request_is_reported_as_dispatched(
    start, call, dispatched
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain(answer()))
        await peer.request()
        peer.reset()

    provider, raw = await start(script)
    await provider.complete(call(), dispatched)
    with pytest.raises(Unreachable) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.dispatched is True
    assert dispatched.count == 2
    assert len(raw.requests) == 2  # not sent a second time on a fresh connection


async def test_more_calls_than_connections_wait_for_one(start, call, dispatched):
    provider, raw = await start(replies(*[plain(answer())] * 6), connections_max=2)
    await asyncio.gather(*(provider.complete(call(), dispatched) for _ in range(6)))
    assert len(raw.peers) == 2


async def test_redirects_are_not_followed(start, call, dispatched):
    async with RawProvider(replies(plain(answer()))) as elsewhere:
        moved = status(307, b"", f"Location: {elsewhere.url}/chat/completions")
        provider, _ = await start(replies(moved))
        with pytest.raises(Misconfigured) as caught:
            await provider.complete(call(), dispatched)
        assert caught.value.status == 307
        assert not elsewhere.peers


async def test_proxies_of_the_environment_are_not_used(start, call, dispatched, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    provider, _ = await start(replies(plain(answer())))
    assert (await provider.complete(call(), dispatched)).usage.prompt == 3


async def test_cookies_are_not_kept(start, call, dispatched):
    head = HEAD_JSON + b"Set-Cookie: a=b; Path=/\r\n"
    provider, raw = await start(replies(plain(answer(), head), plain(answer())))
    for _ in range(2):
        await provider.complete(call(), dispatched)
    assert "cookie" not in raw.requests[1].headers


# --- no answer ----------------------------------------------------------------------------------
async def test_a_refused_connection_is_unreachable_and_nothing_was_sent(connect, call, dispatched):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    provider = await connect(f"http://127.0.0.1:{port}/v1")
    with pytest.raises(Unreachable) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.dispatched is False
    assert dispatched.count == 0


async def test_an_unknown_name_is_unreachable(connect, call, dispatched):
    provider = await connect("http://no-such-host.invalid/v1")
    with pytest.raises(Unreachable, match="name could not be resolved") as caught:
        await provider.open_stream(call(), dispatched)
    assert caught.value.dispatched is False


async def test_a_server_without_tls_is_unreachable_by_https(start, connect, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.reader.read(100)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    _, raw = await start(script)
    provider = await connect(raw.url.replace("http:", "https:"))
    with pytest.raises(Unreachable) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.dispatched is False


@pytest.mark.parametrize("reset", [True, False])
async def test_a_connection_that_ends_before_the_answer_is_unreachable_and_was_sent(
    start, call, dispatched, reset
):
    async def script(peer: Peer) -> None:
        await peer.request()
        if reset:
            peer.reset()

    provider, _ = await start(script)
    with pytest.raises(Unreachable) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.dispatched is True
    assert dispatched.count == 1


@pytest.mark.parametrize(
    "reply", [b"hello there\r\n\r\n", b"\x00" * 50 + b"\r\n\r\n", b"HTTP/9.9 abc\r\n\r\n"]
)
async def test_what_is_no_http_is_malformed(start, call, dispatched, reply):
    provider, _ = await start(replies(reply))
    with pytest.raises(Malformed):
        await provider.complete(call(), dispatched)


# --- a plain answer that goes wrong ---------------------------------------------------------------
async def test_a_plain_answer_cut_short_is_truncated(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain(answer())[:-10])

    provider, _ = await start(script)
    with pytest.raises(Truncated) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.dispatched is True


async def test_a_plain_answer_without_a_length_that_is_cut_short_is_a_fault(
    start, call, dispatched
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_JSON + b"\r\n" + plain(answer()).partition(b"\r\n\r\n")[2][:-10])

    provider, _ = await start(script)
    with pytest.raises(Malformed):
        await provider.complete(call(), dispatched)


async def test_a_compressed_answer_is_malformed(start, call, dispatched):
    provider, _ = await start(
        replies(plain(b"\x1f\x8b....", HEAD_JSON + b"Content-Encoding: gzip\r\n"))
    )
    with pytest.raises(Malformed, match="compressed"):
        await provider.complete(call(), dispatched)


async def test_an_answer_in_many_pieces_is_read_whole(start, call, dispatched):
    text = "long " * 50_000

    async def script(peer: Peer) -> None:
        await peer.request()
        reply = plain(answer(text))
        for at in range(0, len(reply), 9_999):
            await peer.send(reply[at : at + 9_999])
        await peer.gone()

    provider, _ = await start(script)
    assert (await provider.complete(call(), dispatched)).choices[0].answer.text == text


# --- statuses -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Rejected), (413, Rejected), (422, Rejected), (451, Rejected),
        (401, Misconfigured), (402, Misconfigured), (403, Misconfigured), (404, Misconfigured),
        (405, Misconfigured), (302, Misconfigured),
        (429, RateLimited),
        (408, Overloaded), (409, Overloaded), (500, Overloaded), (502, Overloaded),
        (503, Overloaded), (504, Overloaded), (529, Overloaded), (599, Overloaded),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [True, False])
async def test_each_status_has_its_fault(start, call, dispatched, code, kind, streamed):
    body = error("This is why.", param="messages", code="some_code")
    provider, _ = await start(replies(status(code, body)))
    with pytest.raises(kind) as caught:
        await (provider.open_stream if streamed else provider.complete)(call(), dispatched)
    fault = caught.value
    assert type(fault) is kind
    assert (fault.provider, fault.status, fault.dispatched) == ("p", code, True)
    assert (fault.provider_message, fault.code) == ("This is why.", "some_code")
    assert fault.param == "messages"


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_without_a_body_is_malformed(start, call, dispatched, streamed):
    provider, raw = await start(replies(b"HTTP/1.1 204 No Content\r\n\r\n", plain(answer())))
    ask = provider.open_stream if streamed else provider.complete
    with pytest.raises(Malformed, match="no body"):
        await ask(call(), dispatched)
    await provider.complete(call(), dispatched)
    assert len(raw.peers) == 1


async def test_hints_before_the_answer_are_skipped(start, call, dispatched):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    provider, _ = await start(replies(hints + plain(answer())))
    assert await provider.complete(call(), dispatched)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_change_of_protocol_is_refused(start, call, dispatched, streamed):
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    provider, raw = await start(replies(head + b"hello"), Timeouts(between_bytes_s=0.1))
    ask = provider.open_stream if streamed else provider.complete
    with pytest.raises(ProviderFault):
        await ask(call(), dispatched)
    await until(lambda: raw.peers[0].gone_at)


async def test_an_error_whose_body_never_ends_is_told_by_its_status(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not peer.writer.is_closing():
            await peer.send(chunk(b"x" * 60_000))

    provider, _ = await start(script)
    with pytest.raises(Overloaded):
        await provider.complete(call(), dispatched)


# --- waits --------------------------------------------------------------------------------------
async def test_a_connection_that_is_not_made_in_time_times_out_unsent(
    connect, call, dispatched, silent_port
):
    provider = await connect(silent_port, Timeouts(connect_s=0.05))
    with pytest.raises(TimedOut) as caught:
        await provider.complete(call(), dispatched)
    assert (caught.value.wait, caught.value.dispatched) == ("connect", False)
    assert dispatched.count == 0


async def test_a_pool_that_stays_full_times_out_unsent(start, call, dispatched):
    provider, _ = await start(replies(), Timeouts(connect_s=0.5), connections_max=1)
    waiting = asyncio.ensure_future(provider.complete(call(), dispatched))
    await until(lambda: dispatched.count)
    with pytest.raises(TimedOut) as caught:
        await provider.complete(call(), dispatched)
    assert (caught.value.wait, caught.value.dispatched) == ("connect", False)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def hangs(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def test_a_stream_that_does_not_begin_times_out(start, call, dispatched):
    provider, raw = await start(hangs, Timeouts(first_byte_s=0.05))
    with pytest.raises(TimedOut) as caught:
        await provider.open_stream(call(), dispatched)
    assert (caught.value.wait, caught.value.dispatched) == ("first_byte", True)
    await until(lambda: raw.peers[0].gone_at)


async def test_a_plain_answer_is_awaited_beyond_the_first_bytes_wait(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.1)
        await peer.send(plain(answer()))

    provider, _ = await start(script, Timeouts(first_byte_s=0.02))
    assert await provider.complete(call(), dispatched)


@pytest.mark.parametrize("streamed", [True, False])
async def test_the_callers_deadline_ends_the_wait(start, call, dispatched, streamed):
    provider, raw = await start(hangs)
    ask = provider.open_stream if streamed else provider.complete
    with pytest.raises(TimedOut) as caught:
        await ask(call(seconds_left=0.5), dispatched)
    assert (caught.value.wait, caught.value.dispatched) == ("total", True)
    await until(lambda: raw.peers[0].gone_at)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_a_deadline_in_the_past_sends_nothing(start, call, dispatched, seconds):
    provider, raw = await start(replies(plain(answer())))
    with pytest.raises(TimedOut) as caught:
        await provider.complete(call(seconds_left=seconds), dispatched)
    assert (caught.value.wait, caught.value.dispatched) == ("total", False)
    assert dispatched.count == 0
    assert not raw.requests


async def test_silence_in_a_plain_body_times_out(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain(answer())[:-10])
        await peer.gone()

    provider, raw = await start(script, Timeouts(between_bytes_s=0.05))
    with pytest.raises(TimedOut) as caught:
        await provider.complete(call(), dispatched)
    assert (caught.value.wait, caught.value.dispatched) == ("between_bytes", True)
    await until(lambda: raw.peers[0].gone_at)


async def test_a_closed_registry_sends_nothing(start, call, dispatched):
    provider, _ = await start(replies(plain(answer())))
    await provider._upstream.close()
    with pytest.raises(Unreachable) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.dispatched is False
