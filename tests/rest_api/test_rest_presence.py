"""Clients that leave, stall or think long: the call stops at once, waits, or stays open."""

import asyncio
import logging
from collections.abc import AsyncIterator

import openai
import pytest
from raw_client import HELLO, RawClient, chat
from rest_rig import Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core.chat import Answer, ChatCompletion, ChatDelta, ChatRequest
from omni_grpc.rest_api import door, exchange

PLACES = ("before_the_start", "after_the_start", "between_deltas", "before_the_end")


def hang_at(service: Service, place: str) -> None:
    """Makes calls hang at one of their points until somebody ends them."""
    chats = service.chats

    async def complete(call: Call, request: ChatRequest) -> ChatCompletion:
        await chats.forever()
        return completion(call, Answer(text="x"))

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        if place == "before_the_start":
            await chats.forever()
        yield started(call)
        if place == "after_the_start":
            await chats.forever()
        yield (ChatDelta(text="Hel"),)
        if place == "between_deltas":
            await chats.forever()
        yield (ChatDelta(text="lo", finish_reason="stop"),)
        if place == "before_the_end":
            await chats.forever()
        yield completion(call)

    chats.complete_script = complete
    chats.stream_script = stream


async def ended_as_cancelled(service: Service) -> None:
    async with asyncio.timeout(20):
        await service.chats.cancelled.wait()
    assert await service.endings.next() == ["CANCELLED"]
    assert [meter.closed for meter in service.ledger.meters] == [True]
    assert service.gates.running == 0


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("place", ["plain", *PLACES])
async def test_a_client_that_leaves_cancels_the_call_at_once(
    service: Service, raw: RawClient, place: str, rudely: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hang_at(service, place)
    await raw.send(chat(stream=place != "plain"))
    await service.chats.reached.wait()
    raw.leave(rudely=rudely)
    await ended_as_cancelled(service)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_closing_the_sdks_stream_cancels_the_call(
    service: Service, sdk: openai.AsyncOpenAI
) -> None:
    hang_at(service, "between_deltas")
    stream = await sdk.chat.completions.create(model="sim/fast", messages=HELLO, stream=True)
    assert (await anext(stream)).choices[0].delta.content == "Hel"
    await stream.close()
    await ended_as_cancelled(service)


async def test_an_sdk_timeout_cancels_the_call(service: Service, sdk: openai.AsyncOpenAI) -> None:
    hang_at(service, "plain")
    with pytest.raises(openai.APITimeoutError):
        await sdk.with_options(timeout=0.5).chat.completions.create(
            model="sim/fast", messages=HELLO
        )
    await ended_as_cancelled(service)


@pytest.mark.parametrize("sent", [b"", b'{"model":'])
async def test_a_client_that_leaves_before_its_body_is_whole_reaches_nobody(
    service: Service, raw: RawClient, sent: bytes
) -> None:
    await raw.send(sent, length=100)
    async with asyncio.timeout(20):
        while service.gates.running == 0:
            await asyncio.sleep(0.001)
    raw.leave()
    assert await service.endings.next() == ["CANCELLED"]
    assert service.chats.calls == []
    assert service.ledger.meters[0].closed


async def test_a_client_that_leaves_after_its_answer_is_no_cancel(
    service: Service, raw: RawClient
) -> None:
    for stream in (False, True):
        await raw.ask(chat(stream=stream))
    raw.leave(rudely=True)
    await asyncio.sleep(0.02)
    assert await service.endings.next(2) == ["OK", "OK"]
    assert not service.chats.cancelled.is_set()


async def test_a_body_that_does_not_come_in_time_is_refused(
    service: Service, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "BODY_SECONDS_MAX", 0.05)
    monkeypatch.setattr(exchange, "DISCARD_SECONDS_MAX", 0.05)
    await raw.send(b'{"model":', length=100)
    answer = await raw.answer()
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert answer.headers["connection"] == "close"
    assert await raw.ended()
    assert service.ledger.meters[0].closed


async def test_a_reader_that_stalls_holds_the_stream_back_and_gets_everything(
    service: Service, raw: RawClient
) -> None:
    made = 0

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        nonlocal made
        yield started(call)
        for _ in range(1_000):
            made += 1
            yield (ChatDelta(text="x" * 20_000),)
        yield (ChatDelta(finish_reason="stop"),)
        yield completion(call)

    service.chats.stream_script = stream
    raw.writer.transport.pause_reading()
    await raw.send(chat(stream=True))
    before = -1
    async with asyncio.timeout(20):
        while made == 0 or made != before:
            before = made
            await asyncio.sleep(0.05)
    assert made < 900  # what the sockets hold, and no more
    raw.writer.transport.resume_reading()
    answer = await raw.answer()
    assert answer.body.count(b"x" * 20_000) == 1_000
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_a_reader_that_never_reads_is_ended_after_its_deadline(
    service: Service, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(exchange, "STREAM_ERROR_SECONDS_MAX", 0.05)

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        while True:
            yield (ChatDelta(text="x" * 20_000),)

    service.chats.stream_script = stream
    raw.writer.transport.pause_reading()
    await raw.send(chat(stream=True), headers={"x-omni-timeout-ms": "600"})
    assert await service.endings.next() == ["DEADLINE"]
    assert service.chats.cancelled.is_set()
    assert service.gates.running == 0


async def test_a_call_beyond_its_deadline_is_ended_with_what_it_cost(
    service: Service, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "GRACE_SECONDS", 0.0)
    hang_at(service, "plain")
    await raw.send(chat(), headers={"x-omni-timeout-ms": "600"})
    await service.chats.reached.wait()
    service.ledger.meters[0].charged_nanousd = 11
    answer = await raw.answer()
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert answer.error["omni"]["charged_nanousd"] == "11"


async def test_a_silent_stream_is_kept_open_by_comments() -> None:
    async with Service(ping_seconds=0.05) as service:
        raw = await RawClient.connect(service)
        hang_at(service, "between_deltas")
        await raw.send(chat(stream=True))
        await raw.head()
        assert b"Hel" in await raw.chunk()
        for _ in range(3):
            assert await raw.chunk() == b": ping\n\n"
        raw.leave()
        await ended_as_cancelled(service)


async def test_comments_stand_between_events_and_sdks_skip_them() -> None:
    async with (
        Service(ping_seconds=0.002) as service,
        openai.AsyncOpenAI(base_url=service.base_url, api_key="omni_test") as sdk,
    ):

        async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
            yield started(call)
            for _ in range(30):
                await asyncio.sleep(0.004)
                yield (ChatDelta(text="x"),)
            yield (ChatDelta(finish_reason="stop"),)
            yield completion(call)

        service.chats.stream_script = stream
        chunks = await sdk.chat.completions.create(model="sim/fast", messages=HELLO, stream=True)
        text = [chunk.choices[0].delta.content or "" async for chunk in chunks]
        assert "".join(text) == "x" * 30
        raw = await RawClient.connect(service)
        answer = await raw.ask(chat(stream=True))
        assert answer.events.count(": ping") > 3
        assert len(answer.chunks) == 31
        raw.leave()


async def test_a_fast_stream_leaves_turns_to_other_calls(service: Service) -> None:
    turns = 0

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        for _ in range(500):
            yield (ChatDelta(text="x"),)
        yield completion(call)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    service.chats.stream_script = stream
    raw = await RawClient.connect(service)
    counting = asyncio.create_task(count())
    await raw.send(chat(stream=True))
    await raw.answer()
    counting.cancel()
    raw.leave()
    assert turns > 400
