"""Failures in Anthropic's form; clients that leave, stall or think long."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from messages_client import COUNT, HELLO, MESSAGES, ask, body, events_of
from raw_client import RawClient
from rest_rig import KEY, Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core import errors
from omni_grpc.core.chat import Answer, ChatCompletion, ChatDelta, ChatRequest

SOON: dict[str, Any] = {"retry_after_s": 1.5}


def failing(service: Service, error: Exception, *, after_start: bool = False) -> None:
    async def complete(call: Call, request: ChatRequest) -> ChatCompletion:
        raise error

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        if after_start:
            yield started(call)
            yield (ChatDelta(text="Hel"),)
        raise error

    service.chats.complete_script, service.chats.stream_script = complete, stream


CASES: list[tuple[errors.OmniError, int, str, type[anthropic.APIStatusError]]] = [
    (errors.FieldInvalid("no"), 400, "invalid_request_error", anthropic.BadRequestError),
    (errors.ProviderRejected("no"), 400, "invalid_request_error", anthropic.BadRequestError),
    (errors.NoCapableModel("no"), 400, "invalid_request_error", anthropic.BadRequestError),
    (errors.ScopeMissing("no"), 403, "permission_error", anthropic.PermissionDeniedError),
    (errors.ModelNotFound("no"), 404, "not_found_error", anthropic.NotFoundError),
    (errors.CreditsExhausted("no"), 402, "billing_error", anthropic.PaymentRequiredError),
    (errors.CreditsHeld("no", **SOON), 429, "rate_limit_error", anthropic.RateLimitError),
    (errors.RequestIdReused("no"), 409, "invalid_request_error", anthropic.ConflictError),
    (errors.Interrupted("no"), 409, "api_error", anthropic.ConflictError),
    (errors.TooLarge("no"), 413, "request_too_large", anthropic.ContentTooLargeError),
    (errors.Internal("no"), 500, "api_error", anthropic.InternalServerError),
    (errors.Busy("no", **SOON), 529, "overloaded_error", anthropic.OverloadedError),
    (errors.ProviderUnavailable("no"), 529, "overloaded_error", anthropic.OverloadedError),
    (errors.LedgerUnavailable("no"), 529, "overloaded_error", anthropic.OverloadedError),
    (errors.Deadline("no"), 504, "timeout_error", anthropic.GatewayTimeoutError),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "status", "kind", "exception"), CASES)
async def test_failures_are_the_sdks_own_exceptions(
    service: Service,
    error: errors.OmniError,
    status: int,
    kind: str,
    exception: type[anthropic.APIStatusError],
    stream: bool,
) -> None:
    failing(service, error)
    async with anthropic.AsyncAnthropic(base_url=service.origin, api_key=KEY, max_retries=0) as sdk:
        with pytest.raises(exception) as caught:
            await sdk.messages.create(model="sim/fast", max_tokens=9, messages=HELLO, stream=stream)
    found = caught.value
    assert type(found) is exception
    assert (found.status_code, found.type, found.api_message) == (status, kind, "no")
    assert found.body == {
        "type": "error",
        "error": {"type": kind, "message": "no", "omni": {"reason": error.reason} | (
            {"charged_nanousd": "0"} if isinstance(error, errors.Interrupted) else {}
        )},
        "request_id": found.request_id,
    }  # fmt: skip
    headers = found.response.headers
    assert headers["x-request-id"] == found.request_id
    assert headers.get("retry-after") == ("2" if error.retry_after_s else None)
    retryable = {None: None, True: "true", False: "false"}[error.retryable]
    assert headers.get("x-should-retry") == retryable


async def test_failures_of_the_gates_have_the_form_too(service: Service, raw: RawClient) -> None:
    service.keys.away = True
    for path in (MESSAGES, COUNT):
        away = await ask(raw, path=path)
        assert (away.status, away.json["error"]["type"]) == (529, "overloaded_error")
    service.keys.away = False
    closed = await ask(raw, key="nonsense")
    assert (closed.status, closed.json["error"]["type"]) == (401, "authentication_error")
    method = await raw.get(MESSAGES)
    assert (method.status, method.json["error"]["type"]) == (405, "invalid_request_error")
    assert method.headers["allow"] == "POST"
    assert method.headers["request-id"] == method.json["request_id"]
    failing(service, RuntimeError("a secret"))
    broken = await ask(raw)
    assert (broken.status, broken.json["error"]["type"]) == (500, "api_error")
    assert b"a secret" not in broken.body
    for text in (b"", b"{", b"[]", b'{"model": 1}', b"\xff"):
        answer = await ask(raw, text)
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")


async def test_a_prompt_that_is_too_long_is_told_in_anthropics_words(
    service: Service, raw: RawClient
) -> None:
    failing(service, errors.ContextTooLong("It has more tokens than the window."))
    error = (await ask(raw)).json["error"]
    assert error["message"] == "prompt is too long: It has more tokens than the window."
    assert error["omni"]["reason"] == "CONTEXT_TOO_LONG"


async def test_a_stream_that_breaks_ends_with_an_error_event(
    service: Service, raw: RawClient
) -> None:
    broken = errors.Interrupted("The answer broke off.")
    broken.charged_nanousd = 12
    failing(service, broken, after_start=True)
    answer = await ask(raw, body(stream=True))
    assert answer.status == 200
    *_, last = events_of(answer.events)
    assert last == {
        "type": "error",
        "error": {
            "type": "api_error",
            "message": "The answer broke off.",
            "omni": {"reason": "INTERRUPTED", "charged_nanousd": "12"},
        },
        "request_id": answer.headers["request-id"],
    }
    texts: list[str] = []

    async def read(sdk: anthropic.AsyncAnthropic) -> None:
        async with sdk.messages.stream(model="sim/fast", max_tokens=9, messages=HELLO) as stream:
            async for text in stream.text_stream:
                texts.append(text)  # noqa: PERF401 - what came before the failure counts

    async with anthropic.AsyncAnthropic(base_url=service.origin, api_key=KEY) as sdk:
        with pytest.raises(anthropic.APIStatusError, match="broke off") as caught:
            await read(sdk)
    assert texts == ["Hel"]
    assert caught.value.type == "api_error"


# --- presence ---------------------------------------------------------------------------------
def hanging(service: Service) -> None:
    async def complete(call: Call, request: ChatRequest) -> ChatCompletion:
        await service.chats.forever()
        return completion(call, Answer(text="x"))

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (ChatDelta(text="Hel"),)
        await service.chats.forever()
        yield completion(call)

    service.chats.complete_script, service.chats.stream_script = complete, stream


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_call_at_once(
    service: Service, raw: RawClient, stream: bool, rudely: bool
) -> None:
    hanging(service)
    await raw.send(body(stream=stream), path=MESSAGES)
    await service.chats.reached.wait()
    raw.leave(rudely=rudely)
    async with asyncio.timeout(20):
        await service.chats.cancelled.wait()
    assert await service.endings.next() == ["CANCELLED"]
    assert [meter.closed for meter in service.ledger.meters] == [True]
    assert service.gates.running == 0


async def test_a_silent_stream_is_kept_open_by_ping_events() -> None:
    async with Service(ping_seconds=0.05) as service:
        raw = await RawClient.connect(service)
        hanging(service)
        await raw.send(body(stream=True), path=MESSAGES)
        await raw.head()
        assert b"Hel" in await raw.chunk()
        for _ in range(3):
            assert await raw.chunk() == b'event: ping\ndata: {"type":"ping"}\n\n'
        raw.leave()
        assert await service.endings.next() == ["CANCELLED"]


async def test_the_sdk_skips_pings() -> None:
    async with (
        Service(ping_seconds=0.002) as service,
        anthropic.AsyncAnthropic(base_url=service.origin, api_key=KEY) as sdk,
    ):

        async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
            yield started(call)
            for _ in range(20):
                await asyncio.sleep(0.004)
                yield (ChatDelta(text="x"),)
            yield completion(call)

        service.chats.stream_script = stream
        async with sdk.messages.stream(model="sim/fast", max_tokens=9, messages=HELLO) as found:
            assert await found.get_final_text() == "x" * 20


async def test_the_callers_own_name_of_a_call_is_passed_on(
    service: Service, raw: RawClient
) -> None:
    await ask(raw, headers={"idempotency-key": "mine"})
    await ask(raw)
    assert [call.request_id for call in service.chats.calls] == ["mine", None]
    wrong = await ask(raw, headers={"idempotency-key": "é"})
    assert wrong.status == 400
    assert json.loads(wrong.body)["error"]["omni"]["field"] == "idempotency-key"
