"""Answers whose provider counts nothing: the service counts them itself, whoever has left."""

from books import check_account, cost, settled
from gateway import Gateway, RestCall, SimulatorThread, Tenant, soon
from left_chats import marked, reached

LONG = "The quick brown fox jumps over the lazy dog. " * 9_000
"""Counting it takes a thread about a tenth of a second."""

TOKENS = 5_000


async def test_a_caller_who_leaves_while_its_answer_is_counted_pays_for_it_all_the_same(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    asked, mark = marked(f"tokens={TOKENS},burst,usage=none")
    body = {
        "model": "sim/fast",
        "messages": [{"role": "user", "content": LONG + asked}],
        "stream": True,
        "max_completion_tokens": TOKENS,
    }
    async with await RestCall.send(gateway, tenant.api_key, body) as call:
        assert (await call.head())[0] == 200
        async for event in call.events():
            if event["choices"] and event["choices"][0]["finish_reason"]:
                break
    record = await reached(simulator, mark, TOKENS)
    assert await soon(lambda: record.outcome != "running")
    (attempt,) = (await settled(gateway, tenant, record)).attempts
    assert (attempt.outcome, attempt.estimated) == ("answered", True)
    assert attempt.prompt_tokens == record.prompt_tokens > 80_000
    assert attempt.completion_tokens == TOKENS
    assert attempt.cost_nanousd == cost(record.prompt_tokens, TOKENS)
    await check_account(gateway, tenant, attempt.cost_nanousd)
