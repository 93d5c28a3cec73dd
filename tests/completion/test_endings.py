"""What goes on after a call: bounded, stopped by a lost lease, and never without an end."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from omni_grpc.completion.call import Call
from omni_grpc.completion.endings import DRAIN_SECONDS_MAX, DRAINS_AT_ONCE_MAX, Endings
from omni_grpc.completion.stops import LeaseStop
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import new_call_id


class Held:
    """A hold that notes its end."""

    model = "sim/fast"

    def __init__(self, *, was_dispatched: bool = True) -> None:
        self.was_dispatched = was_dispatched
        self.ends: list[str] = []

    @property
    def final(self) -> bool:
        return bool(self.ends)

    def hand_over(self) -> None: ...

    def void(self, outcome: object) -> None:
        self.ends.append("void")

    def leave_unresolved(self) -> None:
        self.ends.append("unresolved")


@pytest.fixture
async def lease() -> LeaseStop:
    return LeaseStop(Call(id=new_call_id(), create_time=0, due=0.0))


def hanging() -> "asyncio.Task[None]":
    return asyncio.create_task(asyncio.sleep(60))


async def test_a_reading_that_ends_by_itself_is_whole(lease: LeaseStop) -> None:
    endings = Endings(lease_s=60)
    assert await endings.read_on(asyncio.create_task(asyncio.sleep(0.01)), lease)


async def test_a_reading_takes_no_longer_than_half_a_lease(lease: LeaseStop) -> None:
    began = time.monotonic()
    assert not await Endings(lease_s=0.2).read_on(hanging(), lease)
    assert 0.09 < time.monotonic() - began < 20
    assert Endings(lease_s=3_600).drain_s == DRAIN_SECONDS_MAX


async def test_a_lost_lease_ends_a_reading(lease: LeaseStop) -> None:
    task = asyncio.create_task(Endings(lease_s=60).read_on(hanging(), lease))
    await asyncio.sleep(0.01)
    lease()
    assert not await asyncio.wait_for(task, 20)


async def test_a_lease_that_was_lost_before_a_reading_ends_it_too(lease: LeaseStop) -> None:
    async def run() -> LeaseStop:
        lost = LeaseStop(Call(id=new_call_id(), create_time=0, due=0.0))
        lost()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(1)
        asyncio.current_task().uncancel()
        return lost

    lost = await asyncio.create_task(run())
    assert not await asyncio.wait_for(Endings(lease_s=60).read_on(hanging(), lost), 20)


async def test_a_lost_lease_stops_the_call_while_it_runs_and_says_why() -> None:
    call = Call(id=new_call_id(), create_time=0, due=0.0)

    async def run() -> None:
        lease = LeaseStop(call)
        asyncio.get_running_loop().call_soon(lease)
        await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(run())
    assert isinstance(call.cancelled_by, LedgerUnavailable)


async def test_only_so_many_are_read_on_at_once(lease: LeaseStop) -> None:
    endings = Endings(lease_s=60)
    reads = [
        asyncio.create_task(endings.read_on(hanging(), lease)) for _ in range(DRAINS_AT_ONCE_MAX)
    ]
    await asyncio.sleep(0)
    assert not endings.has_room
    await endings.close(0)
    assert not any(await asyncio.gather(*reads))


@pytest.mark.parametrize(("was_dispatched", "end"), [(True, "unresolved"), (False, "void")])
async def test_an_ending_that_fails_leaves_no_hold_open(was_dispatched: bool, end: str) -> None:
    async def fail() -> None:
        raise RuntimeError("a fault of ours")

    held = Held(was_dispatched=was_dispatched)
    await Endings(lease_s=60).start(held, fail())  # type: ignore[arg-type]  # as much of one
    assert held.ends == [end]


async def test_closing_waits_for_endings_and_cuts_readings(lease: LeaseStop) -> None:
    endings = Endings(lease_s=60)
    order: list[str] = []

    async def quick() -> None:
        await asyncio.sleep(0.05)
        order.append("quick")

    async def slow() -> None:
        order.append(f"whole: {await endings.read_on(hanging(), lease)}")

    def start(work: Coroutine[Any, Any, None]) -> None:
        endings.start(Held(), work)  # type: ignore[arg-type]  # as much of one

    start(quick())
    start(slow())
    began = time.monotonic()
    await endings.close(0.5)
    assert time.monotonic() - began < 20
    assert order == ["quick", "whole: False"]
    assert not endings.has_room
