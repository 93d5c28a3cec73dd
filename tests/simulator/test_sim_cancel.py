"""A peer that goes: noticed at once, and what was sent is exactly what the log says."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from sim_raw import RawCall, ended, until

from omni_grpc.simulator import CallRecord, Simulator

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
NOTICE_MS_MAX = 5_000
"""Far above what it takes, since busy cores may be late themselves; far below any wait in play."""


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Runs a story on each event loop that the product may run on."""

    def run_one(story: Any) -> Any:
        async def told() -> Any:
            async with Simulator() as simulator:
                return await story(simulator)

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(told())

    return run_one


def test_a_half_closed_peer_gets_exactly_what_the_log_says_was_sent(run: Any) -> None:
    async def story(simulator: Simulator) -> list[tuple[int, int]]:
        rng = random.Random(11)

        async def one(number: int) -> tuple[int, int]:
            call = await RawCall.post(
                simulator,
                f"x-request-id: {number}\r\nx-sim: delay_ms=1,tokens=300\r\n",
                stream=True,
            )
            await call.read_some(rng.randrange(0, 20_000))
            call.writer.write_eof()
            await call.read_to_end()
            assert not call.was_reset
            return number, call.tokens

        read = dict(await asyncio.gather(*map(one, range(60))))
        records = await ended(simulator, 60)
        assert {record.outcome for record in records} == {"cancelled"}
        return [(read[int(r.request_id)], r.completion_tokens) for r in records]

    pairs = run(story)
    assert all(read == logged for read, logged in pairs), pairs
    assert len({logged for _, logged in pairs}) > 20


@pytest.mark.parametrize("model", ["fast", "reasoner", "refusal", "tools", "choices"])
def test_it_is_exact_for_every_kind_of_answer_and_at_every_event(run: Any, model: str) -> None:
    tool = {"type": "function", "function": {"name": "get_weather"}}
    schema = {"type": "object", "properties": {"naïve city": {"type": "string"}, "n": {}}}
    bodies: dict[str, Any] = {
        "tools": {
            "messages": [{"role": "user", "content": "call get_weather, call get_weather"}],
            "tools": [{**tool, "function": {"name": "get_weather", "parameters": schema}}],
        },
        "choices": {"n": 3},
    }
    name = "fast" if model in bodies else model

    async def story(simulator: Simulator) -> None:
        for position in (0, 1, 2, 3, 5, 8, 13, 21):
            simulator.clear_log()
            simulator.gates.close("g")
            call = await RawCall.post(
                simulator,
                f"x-sim: gate=g,gate_after={position}\r\n",
                model=name,
                stream=True,
                **bodies.get(model, {}),
            )
            await until(lambda: simulator.gates.waiting("g") == 1 or _all_ended(simulator))
            call.writer.write_eof()
            await call.read_to_end()
            (record,) = await ended(simulator)
            assert call.tokens == record.completion_tokens, position
            if record.planned_tokens >= position:
                assert record.outcome == "cancelled"
                assert record.completion_tokens >= position

    run(story)


def _all_ended(simulator: Simulator) -> bool:
    return bool(simulator.log) and all(r.outcome != "running" for r in simulator.log)


def test_a_slow_reader_that_half_closes_still_gets_all_that_was_counted(run: Any) -> None:
    async def story(simulator: Simulator) -> None:
        call = await RawCall.post(
            simulator, "x-sim: tokens=16000\r\n", stream=True, logprobs=True, top_logprobs=20
        )
        try:
            call.writer.transport.pause_reading()
            await until(lambda: bool(simulator.log))
            (record,) = simulator.log
            await until(StandsStill(record))
            assert 1_000 < record.completion_tokens < 16_000
            assert record.outcome == "running"
            call.writer.write_eof()
            await until(lambda: record.outcome == "cancelled")
            call.writer.transport.resume_reading()
            await call.read_to_end()
            assert call.tokens == record.completion_tokens
        finally:
            call.writer.transport.abort()

    run(story)


class StandsStill:
    """True once nothing was sent between 25 looks."""

    def __init__(self, record: CallRecord) -> None:
        self.record = record
        self.tokens = self.looks = 0

    def __call__(self) -> bool:
        moved = self.tokens != self.record.completion_tokens
        self.tokens, self.looks = self.record.completion_tokens, 0 if moved else self.looks + 1
        return self.tokens > 0 and self.looks >= 25


MOMENTS = {
    "at a gate": "gate=never",
    "before headers": "headers_ms=60000",
    "hanging before headers": "hang_after=request",
    "hanging after headers": "hang_after=headers",
    "hanging in the middle": "hang_after=3",
    "in a pause": "pause_after=3,pause_s=60",
    "in a pause with pings": "pause_after=3,pause_s=60,ping_ms=20000",
    "before the first token": "first_ms=60000",
    "between slow tokens": "delay_ms=60000",
    "at a gate in the middle": "gate=never,gate_after=3",
}


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_peer_that_goes_is_noticed_at_once_at_any_moment(
    run: Any, how: str, streamed: bool
) -> None:
    async def one(simulator: Simulator, sim: str) -> tuple[CallRecord, float]:
        call = await RawCall.post(
            simulator, f"x-sim: {sim}\r\nx-moment: {sim}\r\n", stream=streamed
        )
        mine: list[CallRecord] = []
        await until(lambda: bool(mine.extend(r for r in simulator.log if _is(r, sim)) or mine))
        record = mine[0]
        expected = 3 if streamed and "_after=3" in sim else 0
        await until(lambda: record.completion_tokens >= expected)
        left_ms = simulator._log.now_ms()
        if how == "reset":
            call.writer.transport.abort()
        elif how == "close":
            call.writer.close()
        else:
            call.writer.write_eof()
        await until(lambda: record.outcome != "running")
        call.writer.transport.abort()
        assert record.completion_tokens == expected
        return record, left_ms

    async def story(simulator: Simulator) -> None:
        simulator.gates.close("never")
        for record, left_ms in await asyncio.gather(
            *(one(simulator, sim) for sim in MOMENTS.values())
        ):
            assert record.outcome == "cancelled"
            assert record.ended_ms is not None
            assert record.notice_ms is not None
            assert record.ended_ms - left_ms < NOTICE_MS_MAX, record.headers
            assert record.notice_ms < NOTICE_MS_MAX

    run(story)


def _is(record: CallRecord, sim: str) -> bool:
    return record.headers.get("x-moment") == sim


def test_stopping_ends_calls_that_would_never_end(run: Any) -> None:
    async def story(simulator: Simulator) -> tuple[CallRecord, ...]:
        calls = [
            await RawCall.post(simulator, f"x-sim: {sim}\r\n", stream=True)
            for sim in ("hang_after=request", "hang_after=2", "pause_after=1,pause_s=600")
        ]
        await until(lambda: len(simulator.log) == 3)
        await simulator.stop()
        for call in calls:
            await call.read_to_end()
        return simulator.log

    assert [record.outcome for record in run(story)] == ["stopped"] * 3
