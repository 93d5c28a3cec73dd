"""The sums of agents' runs: a step counts once, also for two who tell of it at the same moment."""

import asyncio

import psycopg
from usage_rig import give_credits, paid_call

from omni_grpc.completion import AgentRunStore
from omni_grpc.core.ids import OrgId, call_id_of, new_call_id
from omni_grpc.storage import Database

ORG = OrgId(7)
_WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def test_a_step_counts_once_and_keeps_its_first_cost(database: Database) -> None:
    store = AgentRunStore(database)
    first, second = new_call_id(), new_call_id()
    assert await store.add_step(ORG, "run", first, 5, None) == (1, 0, 5, None)
    assert await store.add_step(ORG, "run", second, 7, -2) == (2, 0, 12, -2)
    assert await store.add_step(ORG, "run", first, 99, 99) == (2, 0, 12, -2)
    assert await store.add_step(OrgId(8), "run", first, 1, 1) == (1, 0, 1, 1)


async def test_a_repeat_that_comes_while_its_step_is_written_is_told_of_it(
    database: Database, url: str
) -> None:
    store, call = AgentRunStore(database), new_call_id()
    async with await psycopg.AsyncConnection.connect(url) as writing:
        await writing.execute(
            "INSERT INTO agent_step (org_id, run_id, call_id, cost_nanousd, saved_nanousd) "
            "VALUES (%s, 'raced', %s, 5, 3)",
            (ORG, call),
        )
        repeat = asyncio.create_task(store.add_step(ORG, "raced", call, 5, 3))
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as looking:
            async with asyncio.timeout(10):
                while (await (await looking.execute(_WAITS)).fetchone()) == (0,):
                    await asyncio.sleep(0.005)
        await writing.commit()
    assert await repeat == (1, 0, 5, 3)


async def test_a_step_without_an_answer_counts_what_it_was_charged_until_it_is_answered(
    database: Database, sql: psycopg.Connection
) -> None:
    store = AgentRunStore(database)
    give_credits(sql)
    charged, answered = call_id_of(paid_call(sql, 30)), new_call_id()
    for call in (charged, new_call_id(), answered):  # the second was charged nothing
        await store.begin_step(ORG, "left", call)
    assert await store.add_step(ORG, "left", answered, 5, 1) == (1, 1, 35, 1)
    await store.begin_step(ORG, "left", answered)  # of a repeat
    assert await store.add_step(ORG, "left", charged, 30, None) == (2, 0, 35, 1)
