import asyncio
import re

import httpx
import msgspec
import openai
import pytest
from sim_raw import HELLO, RawCall, ended, until

from omni_grpc.simulator import CallRecord, Simulator, SimulatorOptions
from omni_grpc.simulator import run as run_simulator
from omni_grpc.simulator.gates import CLOSED_GATES_MAX
from omni_grpc.simulator.log import CallLog


async def test_a_gate_holds_calls_back_until_it_is_opened(
    simulator: Simulator, client: openai.AsyncOpenAI
) -> None:
    async with httpx.AsyncClient(base_url=simulator.origin) as admin:
        closed = await admin.post("/sim/gate/two/close")
        assert closed.json() == {"name": "two", "closed": True, "waiting": 0}
        calls = [
            asyncio.ensure_future(
                client.chat.completions.create(
                    model="fast", messages=HELLO, metadata={"sim": "gate=two"}
                )
            )
            for _ in range(50)
        ]
        await until(lambda: simulator.gates.waiting("two") == 50)
        assert (await admin.get("/sim/gate/two")).json()["waiting"] == 50
        other = await client.chat.completions.create(model="fast", messages=HELLO)
        assert other.choices[0].message.content
        assert not any(call.done() for call in calls)
        opened = await admin.post("/sim/gate/two/open")
        assert opened.json() == {"name": "two", "closed": False, "waiting": 0}
        assert len(await asyncio.gather(*calls)) == 50
        assert (await admin.post("/sim/gate/two/paint")).status_code == 404


async def test_a_gate_is_open_until_it_is_closed(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="fast", messages=HELLO, extra_headers={"x-sim": "gate=nobody"}
    )
    assert answer.choices[0].message.content


async def test_who_waited_passes_even_if_the_gate_is_closed_again_at_once(
    simulator: Simulator,
) -> None:
    simulator.gates.close("door")
    call = await RawCall.post(simulator, "connection: close\r\nx-sim: gate=door\r\n")
    await until(lambda: simulator.gates.waiting("door") == 1)
    assert simulator.gates.open("door") == 1
    simulator.gates.close("door")
    await call.read_to_end()
    assert call.status == 200


async def test_closed_gates_are_bounded(simulator: Simulator) -> None:
    for number in range(CLOSED_GATES_MAX):
        assert simulator.gates.close(f"g{number}")
    assert not simulator.gates.close("one-more")
    assert simulator.gates.close("g0")
    async with httpx.AsyncClient(base_url=simulator.origin) as admin:
        assert (await admin.post("/sim/gate/one-more/close")).status_code == 429
    simulator.gates.open_all()
    assert simulator.gates.close("one-more")


async def test_the_log_is_served_in_order_and_can_be_cleared(simulator: Simulator) -> None:
    for number in range(3):
        call = await RawCall.post(
            simulator,
            f"connection: close\r\nx-request-id: req-{number}\r\nauthorization: Bearer sk-1\r\n"
            f"x-api-key: sk-2\r\nx-trace: {'t' * 500}\r\n",
            max_tokens=number + 1,
            stream=number == 1,
        )
        await call.read_to_end()
    await ended(simulator, 3)
    async with httpx.AsyncClient(base_url=simulator.origin) as admin:
        text = (await admin.get("/sim/log")).content
        records = msgspec.json.decode(text, type=list[CallRecord])
        assert records == list(simulator.log)
        assert [r.request_id for r in records] == ["req-0", "req-1", "req-2"]
        assert [r.stream for r in records] == [False, True, False]
        assert [(r.max_tokens, r.completion_tokens) for r in records] == [(1, 1), (2, 2), (3, 3)]
        assert b"sk-" not in text
        assert len(records[0].headers["x-trace"]) == 256
        assert HELLO[0]["content"].encode() not in text
        after = msgspec.json.decode((await admin.get("/sim/log?after=2")).content)
        assert [record["call"] for record in after] == [3]
        assert (await admin.get("/sim/log?after=x")).status_code == 400
        assert (await admin.delete("/sim/log")).status_code == 204
        assert (await admin.get("/sim/log")).json() == []
    call = await RawCall.post(simulator, "connection: close\r\n")
    await call.read_to_end()
    assert [record.call for record in simulator.log] == [4]


def test_the_log_is_bounded() -> None:
    log = CallLog(records_max=3)
    for _ in range(5):
        log.open({})
    assert [record.call for record in log.after(0)] == [3, 4, 5]


def test_the_log_may_grow_while_it_is_looked_at() -> None:
    """As it does for tests, whose simulator runs in another thread."""
    log = CallLog()

    class Since(int):
        """A number that a call comes in while another is compared with it."""

        def __lt__(self, other: int) -> bool:
            log.open({})
            return int(self) < other

    log.open({})
    log.open({})
    assert [record.call for record in log.after(Since(0))] == [1, 2]
    assert len(log.after(0)) == 4


async def test_the_prompt_is_logged_by_its_count(
    simulator: Simulator, client: openai.AsyncOpenAI
) -> None:
    for _ in range(2):
        answer = await client.chat.completions.create(model="cached", messages=HELLO)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    record = simulator.log[-1]
    assert record.prompt_tokens == answer.usage.prompt_tokens
    assert record.cached_tokens == answer.usage.prompt_tokens_details.cached_tokens


async def test_each_call_can_be_told_on_a_line() -> None:
    lines: list[str] = []
    async with Simulator(on_line=lines.append) as simulator:
        call = await RawCall.post(simulator, "connection: close\r\n", stream=True)
        await call.read_to_end()
        await until(lambda: bool(lines))
    assert re.fullmatch(r"#1 fast stream 200 finished  \d+ in, 40 of 40 out  \d+ ms", lines[0])


async def test_it_starts_once_and_stops_twice() -> None:
    simulator = Simulator()
    url = await simulator.start()
    assert url == simulator.base_url == f"{simulator.origin}/v1"
    with pytest.raises(RuntimeError):
        await simulator.start()
    await simulator.stop()
    await simulator.stop()
    assert await simulator.start()
    await simulator.stop()


async def test_the_command_serves_until_it_is_told_to_stop() -> None:
    said: list[str] = []
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        run_simulator(SimulatorOptions(port=0, key="sk-1"), said.append, ready.set_result)
    )
    url = await asyncio.wait_for(ready, 10)
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-1", max_retries=0) as client:
        answer = await client.chat.completions.create(model="sim/fast", messages=HELLO)
    assert answer.choices[0].message.content
    assert url in said[0]
    assert "sk-1" not in said[0]
    await until(lambda: len(said) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
