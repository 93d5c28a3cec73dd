"""Failures as OpenAI's clients understand them: status, object, headers, exception class."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
import structlog
from raw_client import HELLO, RawClient, chat
from rest_rig import BILLING_KEY, KEY, ScriptedChats, Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core import errors
from omni_grpc.core.chat import Answer, ChatCompletion, ChatDelta, ChatRequest
from omni_grpc.core.errors import OmniError

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


def fails_with(chats: ScriptedChats, error: BaseException) -> None:
    async def complete(call: Call, request: ChatRequest) -> ChatCompletion:
        raise error

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        raise error
        yield ()

    chats.complete_script = complete
    chats.stream_script = stream


def breaks_with(chats: ScriptedChats, error: BaseException) -> None:
    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (ChatDelta(text="Hel"),)
        raise error

    chats.stream_script = stream


def every_error(base: type[OmniError] = OmniError) -> list[type[OmniError]]:
    found = [] if base is OmniError else [base]
    for child in base.__subclasses__():
        found += every_error(child)
    return [error for error in found if error.__module__ == errors.__name__]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
async def test_every_error_of_the_table_has_its_status_and_object(
    service: Service, raw: RawClient, kind: type[OmniError], stream: bool
) -> None:
    error = kind("It went wrong; do it again.", metadata={"needed_nanousd": "5"})
    error.charged_nanousd = 7
    fails_with(service.chats, error)
    answer = await raw.ask(chat(stream=stream))
    assert answer.status == kind.http_status
    assert answer.error == {
        "message": "It went wrong; do it again.",
        "type": kind.openai_type,
        "param": None,
        "code": kind.openai_code,
        "omni": {"reason": kind.reason, "needed_nanousd": "5", "charged_nanousd": "7"},
    }
    says = {None: None, True: "true", False: "false"}[kind.retryable]
    assert answer.headers.get("x-should-retry") == says
    assert "retry-after" not in answer.headers
    assert (await service.endings.next())[0] == kind.reason
    assert service.ledger.meters[0].closed
    assert answer.headers["x-request-id"] == str(service.chats.calls[0].id)


async def test_retry_advice_is_in_whole_seconds_and_in_milliseconds(
    service: Service, raw: RawClient
) -> None:
    fails_with(service.chats, errors.CreditsHeld("Held.", retry_after_s=0.25))
    answer = await raw.ask(chat())
    assert answer.status == 429
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["retry-after-ms"] == "250"


async def test_a_field_is_named_as_openai_names_it(service: Service, raw: RawClient) -> None:
    fails_with(service.chats, errors.FieldInvalid("Too many.", field="max_output_token_count"))
    assert (await raw.ask(chat())).error["param"] == "max_completion_tokens"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_of_ours_tells_the_id_and_nothing_else(
    service: Service, raw: RawClient, stream: bool
) -> None:
    fails_with(service.chats, ZeroDivisionError("secret detail"))
    with structlog.testing.capture_logs() as logs:
        answer = await raw.ask(chat(stream=stream))
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert b"Zero" not in answer.body
    assert answer.error["type"] == "server_error"
    assert [(log["event"], log["call_id"]) for log in logs] == [
        ("call_failed", answer.headers["x-request-id"])
    ]
    assert logs[0]["exc_info"]


async def test_a_stream_that_breaks_ends_with_an_error_event_and_no_done(
    service: Service, raw: RawClient
) -> None:
    failed = errors.Interrupted("The answer broke off.")
    failed.charged_nanousd = 9
    breaks_with(service.chats, failed)
    answer = await raw.ask(chat(stream=True))
    assert answer.status == 200
    *_, last = answer.chunks
    assert last["error"]["message"] == "The answer broke off."
    assert last["error"]["code"] == "interrupted"
    assert last["error"]["param"] is None
    assert last["error"]["omni"] == {"reason": "INTERRUPTED", "charged_nanousd": "9"}
    assert b"[DONE]" not in answer.body
    assert (await service.endings.next())[0] == "INTERRUPTED"
    service.chats.stream_script = service.chats.stream_hello
    assert (await raw.ask(chat(stream=True))).body.endswith(b"data: [DONE]\n\n")


async def test_a_fault_of_ours_in_a_stream_is_an_event_too(
    service: Service, raw: RawClient
) -> None:
    breaks_with(service.chats, ZeroDivisionError("secret detail"))
    answer = await raw.ask(chat(stream=True))
    assert answer.chunks[-1]["error"]["code"] == "internal"
    assert b"secret" not in answer.body


async def test_a_call_that_the_service_cancelled_says_why(service: Service, raw: RawClient) -> None:
    async def lose_the_ledger(call: Call, request: ChatRequest) -> ChatCompletion:
        call.cancelled_by = errors.LedgerUnavailable("The ledger was away.")
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(5)
        return completion(call)

    service.chats.complete_script = lose_the_ledger
    answer = await raw.ask(chat())
    assert (answer.status, answer.error["code"]) == (503, "ledger_unavailable")
    assert (await service.endings.next())[0] == "LEDGER_UNAVAILABLE"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_stops_ends_its_calls_with_what_they_cost(
    service: Service, raw: RawClient, stream: bool
) -> None:
    async def complete(call: Call, request: ChatRequest) -> ChatCompletion:
        await service.chats.forever()
        return completion(call)

    async def say_a_little(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        await service.chats.forever()

    service.chats.complete_script = complete
    service.chats.stream_script = say_a_little
    await raw.send(chat(stream=stream))
    await service.chats.reached.wait()
    service.ledger.meters[0].charged_nanousd = 5
    await service.app.cut_short(5)
    assert await service.endings.next() == ["INTERRUPTED"]
    assert service.ledger.meters[0].closed
    answer = await raw.answer()
    error = answer.chunks[-1]["error"] if stream else answer.error
    assert (answer.status, error["code"]) == (200 if stream else 409, "interrupted")
    assert error["omni"]["charged_nanousd"] == "5"
    assert stream or answer.headers["x-should-retry"] == "false"


# --- the gates --------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/balance"])
async def test_no_key_and_a_wrong_key_are_401(raw: RawClient, path: str) -> None:
    method = "POST" if "chat" in path else "GET"
    for key in (None, "wrong", ""):
        answer = await raw.ask(chat(), method=method, path=path, key=key)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_keys_come_as_bearer_or_in_a_header_of_their_own(raw: RawClient) -> None:
    for headers in (
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY}"},
        {"authorization": KEY},
        {"x-api-key": KEY},
        {"authorization": "Basic dTpw", "x-api-key": KEY},
    ):
        assert (await raw.ask(chat(), key=None, headers=headers)).status == 200


async def test_a_key_without_the_scope_is_403(raw: RawClient) -> None:
    answer = await raw.ask(chat(), key=BILLING_KEY)
    assert (answer.status, answer.error["type"]) == (403, "permission_error")
    assert answer.error["omni"] == {"reason": "SCOPE_MISSING", "scope": "inference"}
    assert (await raw.get("/v1/models", key=BILLING_KEY)).status == 403
    assert (await raw.get("/v1/balance", key=BILLING_KEY)).status == 200


async def test_keys_that_cannot_be_checked_are_not_wrong(service: Service, raw: RawClient) -> None:
    service.keys.away = True
    answer = await raw.ask(chat())
    assert (answer.status, answer.headers["retry-after-ms"]) == (503, "1000")


@pytest.mark.parametrize("value", ["0", "-5", "-0"])
async def test_a_deadline_in_the_past_is_504(raw: RawClient, value: str) -> None:
    answer = await raw.ask(chat(), headers={"x-omni-timeout-ms": value})
    assert (answer.status, answer.error["type"]) == (504, "timeout_error")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("value", ["soon", "1.5", "", "9" * 16, "--5", "\xb2"])
async def test_a_deadline_that_is_no_number_is_400(raw: RawClient, value: str) -> None:
    answer = await raw.ask(chat(), headers={"x-omni-timeout-ms": value})
    assert (answer.status, answer.error["param"]) == (400, "x-omni-timeout-ms")


async def test_a_deadline_shortens_the_call(service: Service, raw: RawClient) -> None:
    await raw.ask(chat(), headers={"x-omni-timeout-ms": "1500"})
    await raw.ask(chat(), headers={"x-omni-timeout-ms": "999999999"})
    await raw.ask(chat())
    first, second, third = (call.due for call in service.chats.calls)
    assert first + 500 < second <= third


async def test_a_full_server_is_busy_and_recovers(service: Service, raw: RawClient) -> None:
    clients = [await RawClient.connect(service) for _ in range(8)]

    async def wait(call: Call, request: ChatRequest) -> ChatCompletion:
        await service.chats.forever()
        return completion(call, Answer(text="x"))

    service.chats.complete_script = wait
    for client in clients:
        await client.send(chat())
    async with asyncio.timeout(20):
        while service.gates.running < 8:
            await asyncio.sleep(0.001)
    answer = await raw.ask(chat())
    assert (answer.status, answer.error["code"]) == (503, "overloaded")
    assert answer.headers["retry-after-ms"] == "500"
    for client in clients:
        client.leave()
    assert set(await service.endings.next(9)) == {"BUSY", "CANCELLED"}
    service.chats.complete_script = service.chats.say_hello
    assert (await raw.ask(chat())).status == 200


# --- the official SDK -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ApiKeyInvalid("x"), openai.AuthenticationError),
        (errors.ScopeMissing("x"), openai.PermissionDeniedError),
        (errors.FieldInvalid("x", field="n"), openai.BadRequestError),
        (errors.ModelNotFound("x"), openai.NotFoundError),
        (errors.CreditsExhausted("x"), openai.APIStatusError),
        (errors.RequestIdReused("x"), openai.ConflictError),
        (errors.TooLarge("x"), openai.APIStatusError),
        (errors.CreditsHeld("x", retry_after_s=0.01), openai.RateLimitError),
        (errors.Busy("x"), openai.InternalServerError),
        (errors.Deadline("x"), openai.InternalServerError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OmniError) else "",
)
async def test_the_sdk_raises_the_right_exception(
    service: Service, sdk: openai.AsyncOpenAI, error: OmniError, expected: type[Exception]
) -> None:
    fails_with(service.chats, error)
    for stream in (False, True):
        with pytest.raises(expected) as raised:
            await sdk.chat.completions.create(model="sim/fast", messages=HELLO, stream=stream)
        found = raised.value
        assert isinstance(found, openai.APIStatusError)
        assert found.status_code == error.http_status
        assert (found.code, found.type) == (error.openai_code, error.openai_type)
        assert found.param == error.field
        assert found.request_id == str(service.chats.calls[-1].id)
        assert found.body["omni"]["reason"] == error.reason


async def test_the_sdk_raises_what_breaks_a_stream(
    service: Service, sdk: openai.AsyncOpenAI
) -> None:
    breaks_with(service.chats, errors.Interrupted("The answer broke off."))
    chunks = await sdk.chat.completions.create(model="sim/fast", messages=HELLO, stream=True)
    assert (await anext(chunks)).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match="broke off"):
        await anext(chunks)


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (errors.Busy("x", retry_after_s=0.01), 3),
        (errors.CreditsHeld("x", retry_after_s=0.01), 3),
        (errors.CreditsExhausted("x"), 1),
        (errors.Interrupted("x"), 1),
        (errors.Deadline("x"), 1),
        (errors.RequestIdReused("x"), 1),
        (errors.FieldInvalid("x"), 1),
        (errors.Busy("x", retry_after_s=3_600), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OmniError) else str(value),
)
async def test_the_sdk_repeats_what_may_be_repeated_and_nothing_else(
    service: Service, sdk: openai.AsyncOpenAI, error: OmniError, calls: int
) -> None:
    fails_with(service.chats, error)
    with pytest.raises(openai.APIStatusError):
        await sdk.with_options(max_retries=2).chat.completions.create(
            model="sim/fast", messages=HELLO
        )
    assert len(service.chats.calls) == calls
