"""Chats carry a request id, and are sent again where that is safe: not for ever, not paid twice."""

import asyncio
import threading
import time
import uuid

import pytest
from client_fake_service import API_KEY, delta, fails, hangs, started, streams
from grpc import StatusCode
from omni_grpc_client import (
    AsyncOmni,
    Cancelled,
    Interrupted,
    Omni,
    ProviderUnavailable,
    RequestIdReused,
    RequestInProgress,
    Unavailable,
)
from omni_grpc_client.retrying import TOKENS_MAX, TOKENS_MIN, Retries, Throttle

MODEL = "openai/gpt-4o-mini"


async def whole(omni, **options):
    return await omni.chat(MODEL, "hi", **options)


async def streamed(omni, **options):
    async with omni.stream_chat(MODEL, "hi", **options) as stream:
        return await stream.result()


CHATS = pytest.mark.parametrize(
    ("method", "chat"), [("CompleteChat", whole), ("StreamChat", streamed)]
)

busy = fails(StatusCode.UNAVAILABLE, "BUSY")
running = fails(
    StatusCode.ABORTED, "REQUEST_IN_PROGRESS", metadata={"call_id": "call_0"}, retry_after_ms=20
)


@CHATS
async def test_each_chat_has_a_request_id_of_its_own_unless_one_is_named(
    omni, service, method, chat
):
    await chat(omni)
    await chat(omni)
    await chat(omni, request_id="mine")
    first, second, third = [one.request_id for one in service.requests(method)]
    assert uuid.UUID(first) != uuid.UUID(second)
    assert third == "mine"


@CHATS
async def test_a_chat_that_finds_the_service_busy_is_sent_again_unchanged(
    omni, service, method, chat
):
    service.script(method, busy, fails(StatusCode.UNAVAILABLE))
    assert (await chat(omni)).text == "Hello, you!"
    first, second, third = service.requests(method)
    assert first == second == third
    assert first.request_id


@CHATS
async def test_a_chat_is_given_up_when_the_service_stays_busy(omni, service, method, chat):
    service.script(method, *[busy] * 20)
    before = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await chat(omni)
    assert time.monotonic() - before > 2
    sent = service.requests(method)
    assert len(sent) == 6
    assert {one.request_id for one in sent} == {caught.value.request_id}


@CHATS
async def test_a_chat_whose_first_sending_runs_is_asked_for_until_it_ends(
    omni, service, method, chat
):
    service.script(method, fails(StatusCode.UNAVAILABLE), *[running] * 12)
    assert (await chat(omni)).text == "Hello, you!"
    assert len({one.request_id for one in service.requests(method)}) == 1
    assert len(service.requests(method)) == 14


@CHATS
async def test_the_pause_that_the_service_asks_for_is_kept(omni, service, method, chat):
    asked = {"retry_after_ms": 700}
    service.script(
        method,
        fails(StatusCode.ABORTED, "REQUEST_IN_PROGRESS", **asked),
        fails(StatusCode.UNAVAILABLE, "PROVIDER_UNAVAILABLE", **asked),
    )
    before = time.monotonic()
    await chat(omni)
    assert time.monotonic() - before >= 1.4


@CHATS
async def test_a_pause_beyond_the_time_of_the_call_is_not_begun(omni, service, method, chat):
    late = fails(StatusCode.ABORTED, "REQUEST_IN_PROGRESS", retry_after_ms=9_000)
    service.script(method, late)
    before = time.monotonic()
    with pytest.raises(RequestInProgress) as caught:
        await chat(omni, timeout=5)
    assert time.monotonic() - before < 4
    assert caught.value.retry_after_s == 9.0
    assert caught.value.request_id == service.requests(method)[0].request_id


@CHATS
async def test_a_pause_of_minutes_is_told_instead_of_kept(omni, service, method, chat):
    service.script(
        method, fails(StatusCode.UNAVAILABLE, "PROVIDER_UNAVAILABLE", retry_after_ms=90_000)
    )
    with pytest.raises(ProviderUnavailable) as caught:
        await chat(omni)
    assert caught.value.retry_after_s == 90.0
    assert len(service.requests(method)) == 1


@CHATS
async def test_every_try_has_the_time_that_is_left(omni, service, method, chat):
    service.script(method, fails(StatusCode.ABORTED, "REQUEST_IN_PROGRESS", retry_after_ms=1_500))
    await chat(omni, timeout=10)
    first, second = [one.time_remaining_s for one in service.seen]
    assert 1 <= first - second <= 8  # gRPC rounds a deadline up on its way
    assert first <= 11


@CHATS
@pytest.mark.parametrize(
    ("code", "reason", "cls"),
    [
        (StatusCode.ABORTED, "INTERRUPTED", Interrupted),
        (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", RequestIdReused),
    ],
)
async def test_what_a_repeat_cannot_mend_is_not_repeated(
    omni, service, method, chat, code, reason, cls
):
    facts = {"charged_nanousd": "42", "call_id": "call_0"}
    service.script(method, fails(code, reason, metadata=facts))
    with pytest.raises(cls) as caught:
        await chat(omni)
    assert len(service.requests(method)) == 1
    assert (caught.value.charged_nanousd, caught.value.call_id) == (42, "call_0")
    assert caught.value.request_id == service.requests(method)[0].request_id


@CHATS
async def test_a_service_that_forbids_a_repeat_is_obeyed(omni, service, method, chat):
    async def behave(_, context) -> None:
        pushback = (("grpc-retry-pushback-ms", "-1"),)
        await context.abort(StatusCode.UNAVAILABLE, "no", trailing_metadata=pushback)

    service.script(method, behave)
    with pytest.raises(Unavailable) as caught:
        await chat(omni)
    assert caught.value.retry_forbidden
    assert len(service.requests(method)) == 1


async def test_a_stream_is_never_sent_again_after_its_first_event(omni, service):
    service.script("StreamChat", streams(started(), delta("Hel"), then=busy))
    with pytest.raises(Unavailable) as caught:
        async with omni.stream_chat(MODEL, "hi") as stream:
            await stream.result()
    assert stream.answer.text == "Hel"
    assert len(service.requests("StreamChat")) == 1
    assert caught.value.request_id == stream.request_id
    assert stream.request_id == service.requests("StreamChat")[0].request_id


async def test_a_stream_can_be_repeated_by_its_request_id(omni, service):
    service.script("StreamChat", streams(started(), then=fails(StatusCode.UNAVAILABLE)))
    with pytest.raises(Unavailable) as caught:
        await streamed(omni)
    await whole(omni, request_id=caught.value.request_id)
    assert service.requests("CompleteChat")[0].request_id == caught.value.request_id


# --- leaving in a pause -----------------------------------------------------------------------
waits = fails(StatusCode.UNAVAILABLE, "BUSY", retry_after_ms=20_000)


async def pausing(omni) -> None:
    """Waits until a call of this client has failed and waits for its next try."""
    async with asyncio.timeout(10):
        while omni._wire.throttle._tokens == TOKENS_MAX:
            await asyncio.sleep(0.005)


@CHATS
async def test_a_cancelled_task_stops_the_tries(service, method, chat):
    service.script(method, waits)
    async with AsyncOmni(service.target, api_key=API_KEY) as omni:
        call = asyncio.create_task(chat(omni))
        await pausing(omni)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert len(service.requests(method)) == 1


async def test_a_thread_that_cancels_a_stream_ends_its_pause(service):
    service.script("StreamChat", waits)
    with Omni(service.target, api_key=API_KEY) as omni:
        stream = omni.stream_chat(MODEL, "hi")
        entering = asyncio.create_task(asyncio.to_thread(stream.__enter__))
        await pausing(omni)
        stream.cancel()
        with pytest.raises(Cancelled) as caught:
            await entering
    assert caught.value.request_id == stream.request_id
    assert len(service.requests("StreamChat")) == 1


async def test_a_client_that_is_closed_ends_the_pauses_of_its_threads(service):
    service.script("CompleteChat", waits)
    omni = Omni(service.target, api_key=API_KEY)
    call = asyncio.create_task(asyncio.to_thread(omni.chat, MODEL, "hi"))
    await pausing(omni)
    omni.close()
    with pytest.raises(Cancelled):
        await call


@CHATS
async def test_a_client_that_is_closed_sends_nothing_after_a_pause(service, method, chat):
    service.script(method, fails(StatusCode.UNAVAILABLE, "BUSY", retry_after_ms=300), hangs)
    omni = AsyncOmni(service.target, api_key=API_KEY)
    call = asyncio.create_task(chat(omni))
    await pausing(omni)
    await omni.close()
    with pytest.raises(Cancelled):
        await call
    assert len(service.requests(method)) == 1


# --- how often --------------------------------------------------------------------------------
def test_after_many_failures_only_first_tries_go_out_until_some_succeed():
    throttle = Throttle()
    failures = 0
    while Retries(throttle, 60.0).pause_s(Unavailable("no")) is not None:
        failures += 1
    assert failures == TOKENS_MAX - TOKENS_MIN - 1
    for _ in range(4):
        Retries(throttle, 60.0).succeeded()
    assert Retries(throttle, 60.0).pause_s(Unavailable("no")) is not None


def test_a_call_that_still_runs_is_no_failure_of_the_service():
    throttle = Throttle()
    retries = Retries(throttle, 600.0)
    assert [retries.pause_s(RequestInProgress("runs", retry_after_s=2.0)) for _ in range(99)] == [
        2.0
    ] * 99
    assert retries.pause_s(RequestInProgress("runs")) == 1.0
    assert throttle.failed()


def test_pauses_grow_and_differ():
    tries = [Retries(Throttle(), 60.0) for _ in range(20)]
    pauses = [[one.pause_s(Unavailable("no")) for _ in range(6)] for one in tries]
    for found in pauses:
        assert found[-1] is None
        assert found[:-1] == sorted(found[:-1])
        assert 3.1 * 0.8 <= sum(found[:-1]) <= 3.1 * 1.2
    assert len({found[0] for found in pauses}) > 1


def test_the_throttle_is_shared_by_threads():
    throttle = Throttle()
    threads = [
        threading.Thread(target=lambda: [throttle.succeeded() for _ in range(100)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert throttle.failed()
