"""`Idempotency-Key` and what a repeat is told, as HTTP clients see it."""

from datetime import UTC, datetime

import openai
import pytest
from raw_client import HELLO, RawClient, chat
from rest_rig import ScriptedChats, Service

from omni_grpc.billing import EntryKind, LedgerEntry
from omni_grpc.completion import Call
from omni_grpc.core import errors
from omni_grpc.core.chat import ChatCompletion, ChatRequest

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

ID_CHARS_MAX = 255


def fails_with(chats: ScriptedChats, error: errors.OmniError) -> None:
    async def complete(call: Call, request: ChatRequest) -> ChatCompletion:
        raise error

    chats.complete_script = complete


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("key", ["order-1", "x" * ID_CHARS_MAX, "a b~\"'\\%00 {}", "  trimmed "])
async def test_a_key_names_the_call(
    service: Service, raw: RawClient, key: str, stream: bool
) -> None:
    answer = await raw.ask(chat(stream=stream), headers={"idempotency-key": key})
    assert answer.status == 200
    assert service.chats.calls[0].request_id == key.strip()


@pytest.mark.parametrize("stream", [False, True])
async def test_without_a_key_a_call_has_no_name(
    service: Service, raw: RawClient, stream: bool
) -> None:
    await raw.ask(chat(stream=stream))
    assert service.chats.calls[0].request_id is None


@pytest.mark.parametrize("key", ["", "  ", "x" * (ID_CHARS_MAX + 1), "a\tb", "\xe9", "\x80"])
async def test_what_cannot_be_a_key_is_400_and_nothing_is_asked(
    service: Service, raw: RawClient, key: str
) -> None:
    answer = await raw.ask(chat(), headers={"idempotency-key": key})
    assert (answer.status, answer.error["param"]) == (400, "idempotency-key")
    assert answer.error["omni"]["reason"] == "FIELD_INVALID"
    assert service.chats.calls == []
    assert (await raw.ask(chat())).status == 200  # on the same connection


async def test_a_call_that_runs_says_when_to_come_again(service: Service, raw: RawClient) -> None:
    first = "01890000-0000-7000-8000-000000000000"
    fails_with(
        service.chats,
        errors.RequestInProgress("It runs.", retry_after_s=1.0, metadata={"call_id": first}),
    )
    answer = await raw.ask(chat())
    assert answer.status == 409
    assert answer.error["code"] == "request_in_progress"
    assert answer.headers["retry-after"] == "1"
    assert "x-should-retry" not in answer.headers
    assert answer.error["omni"]["call_id"] == first != answer.headers["x-request-id"]


@pytest.mark.parametrize("charged", [0, 42])
async def test_an_interrupted_call_always_says_what_it_cost(
    service: Service, raw: RawClient, charged: int
) -> None:
    error = errors.Interrupted("It ended early.", metadata={"call_id": "first"})
    error.charged_nanousd = charged
    fails_with(service.chats, error)
    answer = await raw.ask(chat())
    assert (answer.status, answer.headers["x-should-retry"]) == (409, "false")
    assert answer.error["omni"] == {
        "reason": "INTERRUPTED",
        "call_id": "first",
        "charged_nanousd": str(charged),
    }


async def test_the_sdk_comes_again_while_a_call_runs(
    service: Service, sdk: openai.AsyncOpenAI
) -> None:
    runs = [errors.RequestInProgress("It runs.", retry_after_s=0.01)] * 2

    async def complete(call: Call, request: ChatRequest) -> ChatCompletion:
        if runs:
            raise runs.pop()
        return await service.chats.say_hello(call, request)

    service.chats.complete_script = complete
    answer = await sdk.with_options(max_retries=2).chat.completions.create(
        model="sim/fast", messages=HELLO, extra_headers={"Idempotency-Key": "order-1"}
    )
    assert answer.choices[0].message.content == "Hello, world"
    assert [call.request_id for call in service.chats.calls] == ["order-1"] * 3


async def test_every_kind_of_entry_has_its_word(service: Service, raw: RawClient) -> None:
    service.ledger.entries_ += [
        LedgerEntry(position, kind, 1, 1, "", datetime.now(UTC))
        for position, kind in enumerate(EntryKind)
    ]
    shown = (await raw.get("/v1/transactions")).json["data"]
    assert {entry["kind"] for entry in shown} == {"grant", "charge", "refund", "expiry", "reversal"}
