"""Providers that ignore the output limit: the answer is cut, and costs at most what was held."""

import uuid

import psycopg
import pytest
from books import check_account, cost, settled
from gateway import Gateway, RestCall, SimulatorThread, Tenant, soon
from left_chats import marked, reached
from omni_grpc_client import AsyncOmni

from omni_grpc.catalog.tokens import count_text
from omni_grpc.completion.streamed import COUNT_TOLERANCE, COUNT_TOLERANCE_TOKENS
from omni_grpc.simulator import CallRecord

LIMIT = 100
CUT_AT = int(LIMIT * COUNT_TOLERANCE + COUNT_TOLERANCE_TOKENS)
COUNTED_TOO_LATE = 256
"""Bytes that may come between two counts; each is a token at worst."""

LEFT_LATE = 8_000
"""Tokens, one a millisecond, that a busy machine may be late in leaving a provider of 20,000."""


async def _rest_stream(
    gateway: Gateway, tenant: Tenant, prompt: str, **fields: object
) -> tuple[dict[int, str], dict[int, str], bool]:
    """The texts and the finish reasons by choice, and whether it ended as an answer ends."""
    body = {
        "model": "sim/fast",
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "max_tokens": LIMIT,
    }
    texts: dict[int, str] = {}
    finishes: dict[int, str] = {}
    failed = False
    async with await RestCall.send(gateway, tenant.api_key, body | fields) as call:
        assert (await call.head())[0] == 200
        async for event in call.events():
            failed = failed or "error" in event
            for choice in event.get("choices", ()):
                index = choice["index"]
                texts[index] = texts.get(index, "") + (choice["delta"].get("content") or "")
                if choice["finish_reason"]:
                    assert index not in finishes
                    finishes[index] = choice["finish_reason"]
    return texts, finishes, not failed


def _posted(gateway: Gateway, record: CallRecord) -> tuple[int, int, int]:
    """What was charged, held and lost."""
    call_id = uuid.UUID(record.headers["x-client-request-id"])
    with psycopg.connect(gateway.database_url) as connection:
        row = connection.execute(
            "SELECT amount, held, loss FROM posting WHERE id = %s", [uuid.UUID(int=call_id.int + 1)]
        ).fetchone()
    assert row is not None
    return row


async def test_an_answer_past_its_limit_is_cut_and_costs_what_was_held(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    prompt, mark = marked("tokens=20000,delay_ms=1,no_limit")
    texts, finishes, is_whole = await _rest_stream(gateway, tenant, prompt)
    assert is_whole
    assert finishes == {0: "length"}
    assert CUT_AT < count_text(texts[0]) <= CUT_AT + COUNTED_TOO_LATE
    record = await reached(simulator, mark)
    assert await soon(lambda: record.outcome == "cancelled")
    (attempt,) = (await settled(gateway, tenant, record)).attempts
    assert (attempt.outcome, attempt.estimated) == ("answered", True)
    assert attempt.cost_nanousd == attempt.held_nanousd
    charged, held, loss = _posted(gateway, record)
    assert charged == held
    assert charged + loss == cost(attempt.prompt_tokens or 0, attempt.completion_tokens or 0)
    # What the provider had sent when it was left is all that it could bill.
    assert record.completion_tokens - (attempt.completion_tokens or 0) < LEFT_LATE
    await check_account(gateway, tenant, charged)


async def test_it_is_cut_over_grpc_too(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    prompt, mark = marked("tokens=20000,delay_ms=1,no_limit")
    async with (
        AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni,
        omni.stream_chat("sim/fast", prompt, max_output_tokens=LIMIT) as stream,
    ):
        answer = await stream.result()
    record = await reached(simulator, mark)
    assert answer.finish_reason == "length"
    assert answer.cost_nanousd == _posted(gateway, record)[1]
    await check_account(gateway, tenant, answer.cost_nanousd)


async def test_each_choice_that_is_cut_ends(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    prompt, _ = marked("tokens=20000,delay_ms=1,no_limit")
    texts, finishes, is_whole = await _rest_stream(gateway, tenant, prompt, n=3)
    assert is_whole
    assert finishes == {0: "length", 1: "length", 2: "length"}
    total = sum(count_text(text) for text in texts.values())
    most = int(3 * LIMIT * COUNT_TOLERANCE + COUNT_TOLERANCE_TOKENS) + COUNTED_TOO_LATE
    assert total <= most


async def test_an_answer_in_one_piece_past_its_limit_is_not_passed_over(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    """It comes in one read: nothing is left to cut, and the provider says what it used."""
    prompt, mark = marked("tokens=2000,burst,no_limit")
    _, finishes, is_whole = await _rest_stream(gateway, tenant, prompt)
    record = await reached(simulator, mark)
    charged, held, loss = _posted(gateway, record)
    assert (is_whole, len(finishes), charged) == (True, 1, held)
    assert loss > 0


@pytest.mark.parametrize("tokens", [LIMIT, CUT_AT])
async def test_an_answer_that_another_tokenizer_may_find_within_its_limit_is_not_cut(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, tokens: int
) -> None:
    prompt, mark = marked(f"tokens={tokens},no_limit")
    texts, finishes, _ = await _rest_stream(gateway, tenant, prompt)
    record = await reached(simulator, mark)
    assert (count_text(texts[0]), finishes) == (tokens, {0: "stop"})
    (attempt,) = (await settled(gateway, tenant, record)).attempts
    assert (attempt.completion_tokens, attempt.estimated) == (tokens, False)


async def test_a_plain_answer_past_its_limit_costs_what_was_held(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    prompt, mark = marked("tokens=2000,no_limit")
    body = {
        "model": "sim/fast",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": LIMIT,
    }
    async with await RestCall.send(gateway, tenant.api_key, body) as call:
        status, answer = await call.answer()
    assert (status, answer["usage"]["completion_tokens"]) == (200, 2_000)
    record = await reached(simulator, mark)
    charged, held, loss = _posted(gateway, record)
    assert (charged, loss) == (held, cost(record.prompt_tokens, 2_000) - held)
    await check_account(gateway, tenant, charged)
