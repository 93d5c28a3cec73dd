"""What the journal knows of a stream when its worker is killed: about a second less than all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from books import cost, settled
from gateway import Gateway, SimulatorThread, Tenant, soon
from left_chats import RestChat, marked, reached
from omni_grpc_client import AsyncOmni, AttemptRecord

from omni_grpc.completion.streamed import PROGRESS_SECONDS
from omni_grpc.completion.tally import QUICK_PROMPT_BYTES
from omni_grpc.simulator import CallRecord

TOKEN_S = 0.02
READ_TOKENS = 175
TOLD_LATE_TOKENS = int((PROGRESS_SECONDS + 2.0) / TOKEN_S)
"""A busy machine is late by as much more."""


@asynccontextmanager
async def _killed(
    gateway: Gateway, simulator: SimulatorThread, behaviour: str, *, read: int, text: str = "Go."
) -> AsyncIterator[tuple[Tenant, CallRecord]]:
    """A stream whose worker is killed once so many tokens were read, and started again."""
    await asyncio.to_thread(gateway.start)
    tenant = await asyncio.to_thread(gateway.tenant)
    prompt, mark = marked(behaviour)
    chat = await RestChat.send(gateway, tenant, f"{text} {prompt}", stream=True)
    if read:
        await chat.read(read)
    record = await reached(simulator, mark, read)
    if not read:
        name = record.id.encode()
        assert await soon(lambda: _stands_in(gateway.folder / "journal", name))
    assert gateway.process is not None
    gateway.process.kill()
    await asyncio.to_thread(gateway.process.wait)
    assert await soon(lambda: record.outcome == "cancelled")
    await chat.leave()
    gateway.grpc = gateway.rest = ""
    await asyncio.to_thread(gateway.start)
    yield tenant, record
    await asyncio.to_thread(gateway.stop)


def _stands_in(folder: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def _known(gateway: Gateway, tenant: Tenant, record: CallRecord) -> AttemptRecord:
    (attempt,) = (await settled(gateway, tenant, record)).attempts
    assert (attempt.outcome, attempt.estimated) == ("cancelled", True)
    assert attempt.provider_ref == record.id
    assert attempt.prompt_tokens == record.prompt_tokens
    assert attempt.cost_nanousd == cost(record.prompt_tokens, attempt.completion_tokens or 0)
    return attempt


async def test_a_killed_stream_is_charged_for_all_but_its_last_second(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    behaviour = f"tokens=900,delay_ms={TOKEN_S * 1000}"
    async with _killed(own_gateway, simulator, behaviour, read=READ_TOKENS) as (tenant, record):
        attempt = await _known(own_gateway, tenant, record)
    assert record.completion_tokens > TOLD_LATE_TOKENS
    known = attempt.completion_tokens or 0
    assert record.completion_tokens - TOLD_LATE_TOKENS <= known <= record.completion_tokens * 1.02


async def test_the_first_words_of_an_answer_are_known_at_once(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    async with _killed(own_gateway, simulator, "tokens=9,hang_after=5", read=1) as (tenant, record):
        attempt = await _known(own_gateway, tenant, record)
    assert 0 < (attempt.completion_tokens or 0) <= record.completion_tokens == 5


async def test_a_long_prompt_is_known_after_a_second(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    text = "The tide map of the old harbour. " * (QUICK_PROMPT_BYTES // 16)
    behaviour = f"tokens=900,delay_ms={TOKEN_S * 1000}"
    async with _killed(own_gateway, simulator, behaviour, read=READ_TOKENS, text=text) as (
        tenant,
        record,
    ):
        attempt = await _known(own_gateway, tenant, record)
    assert (attempt.completion_tokens or 0) >= record.completion_tokens - TOLD_LATE_TOKENS > 0


async def test_of_an_answer_that_has_not_begun_its_name_is_known(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    """Nobody knows what it cost, but its provider can be asked."""
    async with _killed(own_gateway, simulator, "first_ms=60000", read=0) as (tenant, record):
        call_id = record.headers["x-client-request-id"]
        async with AsyncOmni(own_gateway.grpc, api_key=tenant.api_key) as omni:
            async with asyncio.timeout(30):
                while (await omni.usage(call_id)).attempts[0].outcome != "unresolved":
                    await asyncio.sleep(0.05)
            (attempt,) = (await omni.usage(call_id)).attempts
            balance = await omni.balance()
    assert attempt.provider_ref == record.id
    assert balance.unresolved_nanousd == attempt.held_nanousd
