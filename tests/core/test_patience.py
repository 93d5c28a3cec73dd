import asyncio
import time

import pytest

from omni_grpc.core.patience import Patience


def _in(seconds: float) -> Patience:
    return Patience(asyncio.get_running_loop().time() + seconds)


async def _moved(patience: Patience, when: float) -> None:
    patience.reschedule(when)
    await asyncio.sleep(10)


async def _moved_again_and_again(patience: Patience) -> None:
    when = patience.when
    for _ in range(1_000):
        await asyncio.sleep(0.001)
        patience.reschedule(when)


async def _two_turns() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def _failing() -> None:
    await asyncio.sleep(0)
    raise KeyError


async def test_what_is_over_in_time_is_left_alone() -> None:
    with _in(10) as patience:
        await asyncio.sleep(0)
    assert not patience.expired


async def test_at_its_time_the_block_ends_with_timeout_error() -> None:
    patience = _in(0.01)
    with pytest.raises(TimeoutError), patience:
        await asyncio.sleep(10)
    assert patience.expired
    await asyncio.sleep(0)  # the task is not left cancelled


async def test_it_can_be_moved_both_ways() -> None:
    loop = asyncio.get_running_loop()
    with _in(0.01) as patience:
        patience.reschedule(loop.time() + 10)
        await asyncio.sleep(0.03)
        assert not patience.expired
        inner = _in(10)
        with pytest.raises(TimeoutError), inner:
            await _moved(inner, loop.time())


async def test_moving_it_within_what_is_over_does_not_put_it_off() -> None:
    with pytest.raises(TimeoutError), _in(0.01) as patience:
        await _moved_again_and_again(patience)


async def test_what_is_over_before_it_begins_is_not_looked_at_twice() -> None:
    with pytest.raises(TimeoutError), _in(0):
        await _two_turns()


async def test_what_comes_while_the_loop_stands_still_is_in_time() -> None:
    with _in(0.01) as patience:
        time.sleep(0.03)  # noqa: ASYNC251 - it is the loop that stands still
        await _two_turns()
    assert not patience.expired


async def test_a_cancellation_by_others_stays_one() -> None:
    async def work() -> None:
        with _in(10):
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_block_is_not_hidden() -> None:
    with pytest.raises(KeyError), _in(0.01):
        await _failing()
