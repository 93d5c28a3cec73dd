import asyncio
import threading

import pytest
from client_fake_service import API_KEY, answers, completion, delta, fails, hangs, started, streams
from grpc import StatusCode
from omni.router.v1 import router_service_pb2 as router_pb
from omni_grpc_client import AsyncOmni, Cancelled, Deadline, Omni

MODEL = "openai/gpt-4o-mini"


async def test_cancelling_the_task_cancels_the_chat(service):
    service.script("CompleteChat", hangs)
    async with AsyncOmni(service.target, api_key=API_KEY) as omni:
        task = asyncio.create_task(omni.chat(MODEL, "hi"))
        await service.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.cancelled.wait()


async def test_cancelling_the_task_cancels_the_stream(service):
    service.script("StreamChat", streams(started(), then=hangs))

    async def read(omni: AsyncOmni) -> None:
        async with omni.stream_chat(MODEL, "hi") as stream:
            await stream.result()

    async with AsyncOmni(service.target, api_key=API_KEY) as omni:
        task = asyncio.create_task(read(omni))
        await service.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.cancelled.wait()


async def test_cancelling_the_task_while_a_stream_starts_cancels_it(service):
    service.script("StreamChat", hangs)

    async def enter(omni: AsyncOmni) -> None:
        async with omni.stream_chat(MODEL, "hi"):
            pytest.fail("the stream must not start")

    async with AsyncOmni(service.target, api_key=API_KEY) as omni:
        task = asyncio.create_task(enter(omni))
        await service.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.cancelled.wait()


async def test_a_timeout_of_asyncio_works_around_a_call(service):
    service.script("CompleteChat", hangs)

    async def ask(omni: AsyncOmni) -> None:
        async with asyncio.timeout(None) as limit:
            asking = asyncio.create_task(omni.chat(MODEL, "hi"))
            await service.arrived.wait()
            limit.reschedule(asyncio.get_running_loop().time())
            await asking

    async with AsyncOmni(service.target, api_key=API_KEY) as omni:
        with pytest.raises(TimeoutError):
            await ask(omni)
        await service.cancelled.wait()


async def test_cancelling_a_stream_from_another_task_does_not_cancel_the_reader(service):
    service.script("StreamChat", streams(started(), delta("x"), then=hangs))
    async with (
        AsyncOmni(service.target, api_key=API_KEY) as omni,
        omni.stream_chat(MODEL, "hi") as stream,
    ):
        await anext(stream)
        asyncio.get_running_loop().call_soon(stream.cancel)
        with pytest.raises(Cancelled):
            await stream.result()
        assert stream.answer.text == "x"
    assert asyncio.current_task().cancelling() == 0


async def test_cancelling_a_stream_from_another_thread_ends_its_reader(service):
    service.script("StreamChat", streams(started(), delta("x"), then=hangs))

    def read() -> None:
        with (
            Omni(service.target, api_key=API_KEY) as omni,
            omni.stream_chat(MODEL, "hi") as stream,
        ):
            threading.Timer(0.02, stream.cancel).start()
            with pytest.raises(Cancelled):
                stream.result()

    await asyncio.to_thread(read)
    await service.cancelled.wait()


async def test_closing_the_client_ends_what_runs_without_cancelling_its_tasks(service):
    service.script("CompleteChat", hangs)
    service.script("StreamChat", streams(started(), then=hangs))
    omni = AsyncOmni(service.target, api_key=API_KEY)
    stream = await omni.stream_chat(MODEL, "hi").__aenter__()
    running = [
        asyncio.create_task(omni.chat(MODEL, "hi")),
        asyncio.create_task(stream.result()),
    ]
    while len(service.seen) < 2:  # both run at the service
        service.arrived.clear()
        await service.arrived.wait()
    await omni.close()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert [type(error) for error in ended] == [Cancelled, Cancelled]


async def test_a_service_that_cancels_a_call_as_it_stops_is_asked_again(omni, service):
    # What gRPC makes of a call that came in between a server's stop and its goodbye.
    done = router_pb.CompleteChatResponse(completion=completion())
    service.script("CompleteChat", fails(StatusCode.CANCELLED), answers(done))
    assert (await omni.chat(MODEL, "hi")).call_id == done.completion.call_id
    first, second = service.requests("CompleteChat")
    assert first.request_id == second.request_id


async def test_closing_the_client_ends_what_its_threads_wait_for(service):
    service.script("CompleteChat", hangs)
    service.script("StreamChat", streams(started(), then=hangs))
    omni = Omni(service.target, api_key=API_KEY)
    stream = await asyncio.to_thread(omni.stream_chat(MODEL, "hi").__enter__)
    running = [
        asyncio.create_task(asyncio.to_thread(omni.chat, MODEL, "hi")),
        asyncio.create_task(asyncio.to_thread(stream.result)),
    ]
    while len(service.seen) < 2:  # both run at the service
        service.arrived.clear()
        await service.arrived.wait()
    omni.close()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert [type(error) for error in ended] == [Cancelled, Cancelled]


async def test_a_chat_ends_at_its_timeout(omni, service):
    service.script("CompleteChat", hangs)
    await omni.balance()  # connected: the time is the chat's
    with pytest.raises(Deadline) as caught:
        await omni.chat(MODEL, "hi", timeout=1)
    assert caught.value.reason is None
    assert caught.value.charged_nanousd is None
    await service.cancelled.wait()


async def test_a_stream_ends_at_its_timeout(omni, service):
    service.script("StreamChat", streams(started(), then=hangs))
    await omni.balance()
    async with omni.stream_chat(MODEL, "hi", timeout=1) as stream:
        with pytest.raises(Deadline) as caught:
            await stream.result()
    assert caught.value.call_id == "call_1"
    await service.cancelled.wait()


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_timeout_in_the_past_ends_the_call_before_it_is_sent(omni, service, seconds):
    with pytest.raises(Deadline) as caught:
        await omni.balance(timeout=seconds)
    assert caught.value.charged_nanousd == 0
    assert service.seen == []


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")])
async def test_a_timeout_that_is_no_finite_number_is_refused(omni, seconds):
    with pytest.raises(ValueError, match="finite"):
        await omni.balance(timeout=seconds)


async def test_a_closed_client_says_so(open_client, service):
    async with open_client(service.target) as omni:
        await omni.balance()
    with pytest.raises(RuntimeError, match="closed"):
        await omni.balance()
    await omni.close()
